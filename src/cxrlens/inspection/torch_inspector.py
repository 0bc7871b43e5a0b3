"""A model file run by torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cxrlens.inspection.inspector import GreyBatch, MapChoice, inspected
from cxrlens.inspection.model_facts import ModelIdentity
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.inspection.result import ImageResult
from cxrlens.models.card import ModelCard
from cxrlens.saliency.explain import Row
from cxrlens.saliency.fusion import DEFAULT_FUSION, Fusion
from cxrlens.saliency.recorded_resize import NO_RESIZE


class TorchInspector:
    """An `Inspector` by `QualityModel`.

    Args:
        row: the method and layers of the maps; None for an inspector that makes none.
        fusion: how the maps of layers become one of the input's size.
        seed: of methods that draw random numbers.

    Attributes:
        resize: of the maps, as it is done.
    """

    name = "torch"

    def __init__(self, model: QualityModel, row: Row | None, fusion: Fusion = DEFAULT_FUSION, *, seed: int = 0) -> None:
        self.model = model
        self.row = row
        self.fusion = fusion
        self.seed = seed
        self.resize = NO_RESIZE
        if row is not None:  # a network's first pass finds out how its gradient is made, which shows in last digits
            size = model.preprocessing.height, model.preprocessing.width
            (blank,) = self._explained(torch.zeros(1, 1, *size), [size])
            self.resize = blank.resize

    @property
    def precision(self) -> str:
        """In which the network multiplies."""
        return self.model.precision

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
        assess_any: bool = False,
    ) -> list[ImageResult]:
        """See `Inspector.inspect`. A map at the last layer costs no further pass: "flagged" makes and drops others."""
        images = torch.from_numpy(grey)
        return inspected(
            lambda: list(self.model.inspect(images, stored)),
            lambda places: self._explained(images[places], [stored[place] for place in places]),
            len(grey),
            maps=maps if self.row else "none",
            apart=self.layers != "last",
            remarks=remarks,
            assess_any=assess_any,
        )

    def _explained(self, images: Tensor, stored: Sequence[tuple[int, int]]) -> list[ImageResult]:
        rows = [self.row] if self.row else []
        return list(self.model.inspect(images, stored, rows, fusion=self.fusion, seed=self.seed))
