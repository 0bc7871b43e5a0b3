"""A model file run by torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxrlens.evaluation.pointing_game import find_peak
from cxrlens.inspection.quality_model import QualityModel, picture_maps
from cxrlens.inspection.runtime import GreyBatch, Seen, is_flagged
from cxrlens.models.card import ModelCard
from cxrlens.saliency.explain import DEFAULT_FUSION, Fusion, Row, RowMaps


class TorchRuntime:
    """What `cxrlens.inspection.runtime.Runtime` asks of a model, by `QualityModel`.

    Args:
        row: the method and layers of the maps; None for a runtime that makes none.
        fusion: how maps of several layers become one.
        seed: of methods that draw random numbers.
    """

    name = "torch"

    def __init__(
        self,
        model: QualityModel,
        row: Row | None,
        fusion: Fusion = DEFAULT_FUSION,
        *,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.row = row
        self.fusion = fusion
        self.seed = seed
        if (
            row is not None
        ):  # the first pass of a network finds out how its gradient is made, which shows in last digits
            size = model.preprocessing.height, model.preprocessing.width
            self._explained(torch.zeros(1, 1, *size))

    @property
    def card(self) -> ModelCard:
        return self.model.card

    @property
    def method(self) -> str:
        """Id of the maps, "" where none are made."""
        return self.row.method if self.row else ""

    @property
    def layers(self) -> str:
        """Layers of the maps, likewise."""
        return self.row.layers if self.row else ""

    def prepare(self, pixels: npt.NDArray[Any], stored: tuple[int, int]) -> GreyBatch:
        """See `Runtime.prepare`."""
        found: GreyBatch = self.model.preprocessing.resized(pixels, stored)
        return found

    def see(
        self, grey: GreyBatch, stored: Sequence[tuple[int, int]], *, maps: Literal["all", "flagged", "none"] = "all"
    ) -> list[Seen]:
        """See `Runtime.see`. A map at the last layer costs no further pass, so "flagged" makes and drops the others."""
        images = torch.from_numpy(grey)
        if self.row is not None and (maps == "all" or (maps == "flagged" and self.row.layers == "last")):
            result = self._explained(images)
            return [
                self._seen(probability, result, index, stored[index])
                if maps == "all" or is_flagged(self.card, probability)
                else Seen(probability)
                for index, probability in enumerate(self._probabilities(result.logits))
            ]
        seen = [Seen(probability) for probability in self._probabilities(self.model.logits(images))]
        flagged = [index for index, one in enumerate(seen) if is_flagged(self.card, one.probability)]
        if self.row is not None and maps == "flagged" and flagged:
            result = self._explained(images[flagged])
            for place, index in enumerate(flagged):
                seen[index] = self._seen(seen[index].probability, result, place, stored[index])
        return seen

    def _explained(self, images: Tensor) -> RowMaps:
        assert self.row is not None
        return self.model.explain_rows(images, [self.row], fusion=self.fusion, seed=self.seed)

    def _probabilities(self, logits: Tensor) -> list[float]:
        found: list[float] = self.model.probability_of(logits).tolist()
        return found

    def _seen(self, probability: float, result: RowMaps, index: int, stored: tuple[int, int]) -> Seen:
        assert self.row is not None
        geometry = self.model.preprocessing.geometry(*stored)
        maps, flat = picture_maps(result, index, geometry)
        map_ = np.ascontiguousarray(maps[self.row])
        if flat[self.row]:
            return Seen(probability, map_, flat=True)
        peak = find_peak(map_, seed=0)
        return Seen(probability, map_, peak=geometry.without_padding().backward_pixel(peak.row, peak.column))
