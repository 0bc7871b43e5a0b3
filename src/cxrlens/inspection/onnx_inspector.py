"""A model that was exported as ONNX, run by onnxruntime or OpenVINO; torch is not needed, and not imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrlens.errors import UsageError
from cxrlens.inspection.inspector import GreyBatch, MapChoice, inspected
from cxrlens.inspection.model_facts import ModelIdentity
from cxrlens.inspection.result import ImageResult, InputMap
from cxrlens.models.card import ModelCard
from cxrlens.models.onnx_file import OnnxModel, read_onnx
from cxrlens.models.onnx_sessions import GraphRuntime
from cxrlens.saliency.recorded_resize import NO_RESIZE, RecordedResize


class OnnxInspector:
    """An `Inspector` by `OnnxModel`.

    Args:
        identity: of the model; by default what it was exported from.
        method: of the maps, one of the file's; by default its first.
        with_maps: False for an inspector that makes no maps at all.
    """

    def __init__(
        self,
        model: OnnxModel,
        identity: ModelIdentity | None = None,
        *,
        method: str | None = None,
        with_maps: bool = True,
    ) -> None:
        self.model = model
        self.identity = identity or ModelIdentity(model.info.source)
        self.method = (method or model.info.method) if with_maps else ""
        self.layers = model.info.layers if with_maps else ""
        self.resize = RecordedResize(model.info.grid, model.info.interpolation) if with_maps else NO_RESIZE

    @property
    def name(self) -> str:
        """The model's `GraphRuntime`."""
        return self.model.runtime

    @property
    def precision(self) -> str:
        """See `GraphSession`."""
        return self.model.precision

    @property
    def card(self) -> ModelCard:
        return self.model.card

    def inspect(
        self,
        grey: GreyBatch,
        stored: Sequence[tuple[int, int]],
        *,
        maps: MapChoice = "all",
        remarks: Sequence[Sequence[str]] | None = None,
        assess_any: bool = False,
    ) -> list[ImageResult]:
        """See `Inspector.inspect`. Where a map costs little or is made anyway, "flagged" makes and drops others."""
        return inspected(
            lambda: self._results(grey, stored, maps=False),
            lambda places: self._results(grey[places], [stored[place] for place in places], maps=True),
            len(grey),
            maps=maps if self.method else "none",
            apart=self.layers != "last" and self.model.makes_maps_apart,
            remarks=remarks,
            assess_any=assess_any,
        )

    def _results(self, grey: GreyBatch, stored: Sequence[tuple[int, int]], *, maps: bool) -> list[ImageResult]:
        found = self.model.run(grey, maps=maps, method=self.method or None)
        results = []
        probabilities = np.where(np.isfinite(found.logits).all(1), found.probability, np.nan)
        for index, probability in enumerate(probabilities.tolist()):
            whole = []
            if found.maps is not None and found.flat is not None:
                flat = bool(found.flat[index])
                whole = [InputMap(self.method, self.layers, found.maps[index], flat, self.resize)]
            results.append(
                ImageResult.of(probability, self.card, self.identity, stored[index], whole, grey=grey[index, 0])
            )
        return results


def load_onnx(
    path: Path,
    *,
    method: str | None = None,
    with_maps: bool = True,
    runtime: GraphRuntime = "onnx",
    precision: str = "f32",
    device: str = "auto",
) -> OnnxInspector:
    """The inspector of a file that ``cxrlens export`` wrote.

    Args:
        method: see `OnnxInspector`; likewise ``with_maps``.

    Raises:
        UsageError: when it cannot be used, see `read_onnx`, or gives no maps of the method.
    """
    model = read_onnx(path, runtime=runtime, precision=precision, device=device)
    if method not in (None, *model.info.methods):
        raise UsageError(
            f"{path}: gives maps of {' and '.join(model.info.methods)} alone; leave --method out, or export the model "
            f"with --method {method}"
        )
    return OnnxInspector(model, ModelIdentity.of_file(path), method=method, with_maps=with_maps)
