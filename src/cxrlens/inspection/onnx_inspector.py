"""A model that was exported as ONNX, run by onnxruntime; torch is not needed, and not imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrlens.inspection.inspector import GreyBatch, MapChoice
from cxrlens.inspection.model_facts import ModelIdentity
from cxrlens.inspection.result import ImageResult, InputMap, with_remarks
from cxrlens.models.card import ModelCard
from cxrlens.models.onnx_file import OnnxModel, read_onnx


class OnnxInspector:
    """An `Inspector` by `OnnxModel`.

    onnxruntime takes the images of a batch one by one where a sum could be ordered otherwise, so that the result of
    one does not depend on the others.

    Args:
        identity: of the model; by default what it was exported from.
        with_maps: False for an inspector that makes no maps at all.
    """

    name = "onnx"

    def __init__(self, model: OnnxModel, identity: ModelIdentity | None = None, *, with_maps: bool = True) -> None:
        self.model = model
        self.identity = identity or ModelIdentity(model.info.source)
        self.method = model.info.method if with_maps else ""
        self.layers = model.info.layers if with_maps else ""

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
    ) -> list[ImageResult]:
        """See `Inspector.inspect`. Maps cost no further pass, so "flagged" makes and drops the others."""
        found = self.model.run(grey, maps=bool(self.method) and maps != "none")
        results = []
        probabilities = np.where(np.isfinite(found.logits).all(1), found.probability, np.nan)
        for index, probability in enumerate(probabilities.tolist()):
            whole = []
            if found.maps is not None and found.flat is not None:
                whole = [InputMap(self.method, self.layers, found.maps[index], bool(found.flat[index]))]
            results.append(ImageResult.of(probability, self.card, self.identity, stored[index], whole))
        results = with_remarks(results, remarks)
        return [result if maps == "all" or result.is_flagged else result.with_maps() for result in results]


def load_onnx(path: Path, *, with_maps: bool = True) -> OnnxInspector:
    """The inspector of a file that ``cxrlens export`` wrote.

    Raises:
        UsageError: when it cannot be used, see `read_onnx`.
    """
    return OnnxInspector(read_onnx(path), ModelIdentity.of_file(path), with_maps=with_maps)
