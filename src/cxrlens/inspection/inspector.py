"""An inspector: a model that makes results of batches of prepared images, whatever runs its network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cxrlens.inspection.model_facts import ModelIdentity
from cxrlens.inspection.result import ImageResult
from cxrlens.models.card import ModelCard

GreyBatch: TypeAlias = npt.NDArray[np.float32]
MapChoice: TypeAlias = Literal["all", "flagged", "none"]
"""The images that maps are made of; "flagged" are those that are affected, to be reviewed or remarked on."""


class Inspector(Protocol):
    """A model that inspects batches of prepared images.

    The same batch gives the same numbers; another batch may give an image others in their last digits.

    Attributes:
        name: of what runs the network, "torch" or "onnx".
        card: of the model.
        identity: of the model.
        method: id of its maps, "" where it makes none; likewise ``layers``.
    """

    name: str

    @property
    def card(self) -> ModelCard: ...

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def method(self) -> str: ...

    @property
    def layers(self) -> str: ...

    def inspect(
        self,
        grey: GreyBatch,
        stored: Sequence[tuple[int, int]],
        *,
        maps: MapChoice = "all",
        remarks: Sequence[Sequence[str]] | None = None,
    ) -> list[ImageResult]:
        """The results of grey images [N, 1, h, w] in [0, 1] at the input size, of the stored (height, width) each.

        Args:
            remarks: on each image, see `Radiograph.remarks`; by default none.
        """
        ...
