"""A model file run by torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cxrlens.inspection.inspector import GreyBatch, MapChoice
from cxrlens.inspection.model_facts import ModelIdentity
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.inspection.result import ImageResult, with_remarks
from cxrlens.models.card import ModelCard
from cxrlens.saliency.explain import DEFAULT_FUSION, Fusion, Row


class TorchInspector:
    """An `Inspector` by `QualityModel`.

    Args:
        row: the method and layers of the maps; None for an inspector that makes none.
        fusion: how maps of several layers become one.
        seed: of methods that draw random numbers.
    """

    name = "torch"

    def __init__(self, model: QualityModel, row: Row | None, fusion: Fusion = DEFAULT_FUSION, *, seed: int = 0) -> None:
        self.model = model
        self.row = row
        self.fusion = fusion
        self.seed = seed
        if row is not None:  # a network's first pass finds out how its gradient is made, which shows in last digits
            size = model.preprocessing.height, model.preprocessing.width
            self._explained(torch.zeros(1, 1, *size), [size])

    @property
    def card(self) -> ModelCard:
        return self.model.card

    @property
    def identity(self) -> ModelIdentity:
        return self.model.identity

    @property
    def method(self) -> str:
        """Id of the maps, "" where none are made."""
        return self.row.method if self.row else ""

    @property
    def layers(self) -> str:
        """Layers of the maps, likewise."""
        return self.row.layers if self.row else ""

    def inspect(
        self,
        grey: GreyBatch,
        stored: Sequence[tuple[int, int]],
        *,
        maps: MapChoice = "all",
        remarks: Sequence[Sequence[str]] | None = None,
    ) -> list[ImageResult]:
        """See `Inspector.inspect`. A map at the last layer costs no further pass: "flagged" makes and drops others."""
        images = torch.from_numpy(grey)
        if maps == "all" or (maps == "flagged" and self.layers == "last"):
            results = with_remarks(self._explained(images, stored), remarks)
            return [result if maps == "all" or result.is_flagged else result.with_maps() for result in results]
        results = with_remarks(self.model.inspect(images, stored), remarks)
        flagged = [index for index, result in enumerate(results) if result.is_flagged]
        if self.row is not None and maps == "flagged" and flagged:
            explained = self._explained(images[flagged], [stored[index] for index in flagged])
            for index, result in zip(flagged, explained, strict=True):
                results[index] = results[index].with_maps(*result.explanations)
        return results

    def _explained(self, images: Tensor, stored: Sequence[tuple[int, int]]) -> list[ImageResult]:
        rows = [self.row] if self.row else []
        return list(self.model.inspect(images, stored, rows, fusion=self.fusion, seed=self.seed))
