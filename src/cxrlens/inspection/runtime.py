"""What screening asks of whatever runs the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cxrlens.inputs.readers import Pixels
from cxrlens.models.card import ModelCard

GreyBatch: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Seen:
    """What a model sees in one image.

    Attributes:
        probability: of *affected*, in [0, 1].
        map: float32 [h, w] in [0, 1], the picture at the network's scale without padding; None where none was made.
        flat: whether the map is constant.
        peak: (row, column) of its highest point in pixels of the stored image; None where flat, or without a map.
    """

    probability: float
    map: Pixels | None = None
    flat: bool = False
    peak: tuple[int, int] | None = None


class Runtime(Protocol):
    """A model that sees batches of prepared images.

    The same batch gives the same numbers; another batch may give an image others in their last digits.

    Attributes:
        name: "torch" or "onnx".
        card: of the model.
        method: id of its maps, "" where it makes none; likewise ``layers``.
    """

    name: str

    @property
    def card(self) -> ModelCard: ...

    @property
    def method(self) -> str: ...

    @property
    def layers(self) -> str: ...

    def prepare(self, pixels: npt.NDArray[Any], stored: tuple[int, int]) -> GreyBatch:
        """Pixels [H, W] of an image of the stored (height, width) -> float32 [1, h, w], see `Preprocessing.resized`."""
        ...

    def see(
        self, grey: GreyBatch, stored: Sequence[tuple[int, int]], *, maps: Literal["all", "flagged", "none"] = "all"
    ) -> list[Seen]:
        """What is seen in grey images [N, 1, h, w] of the stored (height, width) each.

        Args:
            maps: for which images; "flagged" are those that are affected or to be reviewed.
        """
        ...


def is_flagged(card: ModelCard, probability: float) -> bool:
    """Whether a reader should look at an image: it is affected, or to be reviewed."""
    return card.decision(probability) == "affected" or card.triage(probability) == "review"
