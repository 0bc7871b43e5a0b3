"""A model file run by torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxrlens.evaluation.pointing_game import find_peak
from cxrlens.models.card import ModelCard
from cxrlens.quality_model import QualityModel, picture_maps
from cxrlens.saliency.explain import DEFAULT_FUSION, Fusion, Row, RowMaps
from cxrlens.screening.runtime import GreyBatch, Seen, is_flagged


class TorchRuntime:
    """What `cxrlens.screening.runtime.Runtime` asks of a model, by `QualityModel`.

    Args:
        row: the method and layers of the maps; None for a runtime that makes none.
        fusion: how maps of several layers become one.
        batch_size: the size of most batches. On a CPU a batch of one, on other devices any batch of another size may
            give numbers that differ in their last digits; such batches are filled up, so that what is seen in an image
            does not depend on how many others come with it.
        seed: of methods that draw random numbers.
    """

    name = "torch"

    def __init__(
        self,
        model: QualityModel,
        row: Row | None,
        fusion: Fusion = DEFAULT_FUSION,
        *,
        batch_size: int = 1,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.row = row
        self.fusion = fusion
        self.seed = seed
        self._at_least = batch_size if model.device.type != "cpu" or batch_size == 1 else 2

    @property
    def card(self) -> ModelCard:
        return self.model.card

    def prepare(self, pixels: npt.NDArray[Any], stored: tuple[int, int]) -> GreyBatch:
        """See `Runtime.prepare`."""
        found: GreyBatch = self.model.preprocessing.resized(pixels, stored)
        return found

    def see(
        self, grey: GreyBatch, stored: Sequence[tuple[int, int]], *, maps: Literal["all", "flagged", "none"] = "all"
    ) -> list[Seen]:
        """See `Runtime.see`. A map at the last layer costs no further pass, so "flagged" makes and drops the others."""
        images = torch.from_numpy(grey)
        if self.row is None or maps == "none":
            return [Seen(probability) for probability in self._probabilities(self._logits(images))]
        if maps == "all" or self.row.layers == "last":
            result = self._explained(images)
            probabilities = self._probabilities(result.logits[: len(stored)])
            wanted = [maps == "all" or is_flagged(self.card, probability) for probability in probabilities]
            return [
                self._seen(probability, result, index, stored[index]) if wanted[index] else Seen(probability)
                for index, probability in enumerate(probabilities)
            ]
        probabilities = self._probabilities(self._logits(images))
        flagged = [index for index, probability in enumerate(probabilities) if is_flagged(self.card, probability)]
        seen = [Seen(probability) for probability in probabilities]
        if flagged:
            result = self._explained(images[flagged])
            for place, index in enumerate(flagged):
                seen[index] = self._seen(probabilities[index], result, place, stored[index])
        return seen

    def _logits(self, images: Tensor) -> Tensor:
        return self.model.logits(self._filled(images))[: len(images)]

    def _explained(self, images: Tensor) -> RowMaps:
        assert self.row is not None
        return self.model.explain_rows(self._filled(images), [self.row], fusion=self.fusion, seed=self.seed)

    def _filled(self, images: Tensor) -> Tensor:
        missing = self._at_least - len(images)
        return images if missing <= 0 else torch.cat([images, images[-1:].expand(missing, -1, -1, -1)])

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
