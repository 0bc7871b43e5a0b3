"""A model that was exported as ONNX, run by onnxruntime; torch is not needed, and not imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cxrlens.evaluation.pointing_game import find_peak
from cxrlens.inputs.geometry import Geometry
from cxrlens.inputs.readers import Pixels
from cxrlens.inspection.runtime import GreyBatch, Seen, is_flagged
from cxrlens.models.card import ModelCard
from cxrlens.models.onnx_file import OnnxModel, read_onnx


class OnnxRuntime:
    """What `cxrlens.inspection.runtime.Runtime` asks of a model, by `OnnxModel`.

    onnxruntime takes the images of a batch one by one where a sum could be ordered otherwise, so that what is seen in
    one does not depend on the others.

    Args:
        with_maps: whether maps are made at all.
    """

    name = "onnx"

    def __init__(self, model: OnnxModel, *, with_maps: bool = True) -> None:
        self.model = model
        self.method = model.info.method if with_maps else ""
        self.layers = model.info.layers if with_maps else ""

    @property
    def card(self) -> ModelCard:
        return self.model.card

    def prepare(self, pixels: npt.NDArray[Any], stored: tuple[int, int]) -> GreyBatch:
        """See `Runtime.prepare`."""
        return self.card.preprocessing.resized(pixels, stored)

    def see(
        self, grey: GreyBatch, stored: Sequence[tuple[int, int]], *, maps: Literal["all", "flagged", "none"] = "all"
    ) -> list[Seen]:
        """See `Runtime.see`. Maps cost no further pass, so "flagged" makes and drops the others."""
        found = self.model.run(grey, maps=bool(self.method) and maps != "none")
        seen = []
        for index, probability in enumerate(found.probability.tolist()):
            unwanted = maps == "flagged" and not is_flagged(self.card, probability)
            if found.maps is None or found.flat is None or unwanted:
                seen.append(Seen(probability))
                continue
            geometry = self.card.preprocessing.geometry(*stored[index])
            map_, flat = cut_to_picture(found.maps[index], bool(found.flat[index]), geometry)
            if flat:
                seen.append(Seen(probability, map_, flat=True))
                continue
            peak = find_peak(map_, seed=0)
            place = geometry.without_padding().backward_pixel(peak.row, peak.column)
            seen.append(Seen(probability, map_, peak=place))
        return seen


def load_onnx(path: Path, *, with_maps: bool = True) -> OnnxRuntime:
    """The runtime of a file that ``cxrlens export`` wrote.

    Raises:
        UsageError: when it cannot be used, see `read_onnx`.
    """
    return OnnxRuntime(read_onnx(path), with_maps=with_maps)


def cut_to_picture(map_: Pixels, flat: bool, geometry: Geometry) -> tuple[Pixels, bool]:
    """A map [H, W] of the whole input for the picture alone, [h, w], and whether it is flat there.

    As `cxrlens.inspection.quality_model.cut_to_picture` does with tensors: scaled to [0, 1] again by its range on the
    picture.
    """
    if not geometry.is_padded:
        return map_, flat
    part = geometry.cut(map_)
    low, high = part.min(), part.max()
    if high - low <= 4 * np.finfo(np.float32).eps * max(abs(low), abs(high)):
        return np.zeros_like(part), True
    return (part - low) / (high - low), flat
