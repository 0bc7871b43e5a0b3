"""An inspector: a model that makes results of batches of prepared images, whatever runs its network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cxrlens.inspection.model_facts import ModelIdentity
from cxrlens.inspection.result import ImageResult, with_remarks
from cxrlens.models.card import ModelCard
from cxrlens.saliency.recorded_resize import RecordedResize

GreyBatch: TypeAlias = npt.NDArray[np.float32]
MapChoice: TypeAlias = Literal["all", "flagged", "none"]
"""The images that maps are made of; "flagged" are those that are affected, to be reviewed or remarked on. Of those that
cannot be judged none are made."""


class RecordedModel(Protocol):
    """What is recorded of a model at work.

    Attributes:
        name: of what runs the network, "torch", "onnx" or "openvino".
        precision: in which it multiplies, "f32", "bf16" or "int8" (maps of which are in "f32").
        card: of the model.
        identity: of the model.
        method: id of its maps, "" where it makes none; likewise ``layers``.
        resize: of its maps.
    """

    @property
    def name(self) -> str: ...

    @property
    def precision(self) -> str: ...

    @property
    def card(self) -> ModelCard: ...

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def method(self) -> str: ...

    @property
    def layers(self) -> str: ...

    @property
    def resize(self) -> RecordedResize: ...


class Inspector(RecordedModel, Protocol):
    """A model that inspects batches of prepared images.

    The same batch gives the same numbers; another batch may give an image others in their last digits.
    """

    def inspect(
        self,
        grey: GreyBatch,
        stored: Sequence[tuple[int, int]],
        *,
        maps: MapChoice = "all",
        remarks: Sequence[Sequence[str]] | None = None,
        assess_any: bool = False,
    ) -> list[ImageResult]:
        """The results of grey images [N, 1, h, w] in [0, 1] at the input size, of the stored (height, width) each.

        Args:
            remarks: on each image, see `Radiograph.remarks`; by default none.
            assess_any: judge images that by their remarks cannot be, see `ImageResult.with_remarks`.
        """
        ...


def inspected(
    plain: Callable[[], list[ImageResult]],
    explained: Callable[[list[int]], list[ImageResult]],
    count: int,
    *,
    maps: MapChoice,
    apart: bool,
    remarks: Sequence[Sequence[str]] | None,
    assess_any: bool = False,
) -> list[ImageResult]:
    """The results of so many images, with the maps that are asked for.

    Args:
        plain: gives those of all images, without maps.
        explained: gives those of the images at some places, with maps.
        apart: maps cost more than they save when all are made and some dropped: those of the flagged are made alone.
        remarks: see `Inspector.inspect`; likewise ``assess_any``.
    """
    if maps == "all" or (maps == "flagged" and not apart):
        results = with_remarks(explained(list(range(count))), remarks, assess_any=assess_any)
        return [result if maps == "all" or result.is_flagged else result.with_maps() for result in results]
    results = with_remarks(plain(), remarks, assess_any=assess_any)
    places = enumerate(results) if maps == "flagged" else ()
    flagged = [place for place, result in places if result.is_flagged and not result.not_assessed]
    for place, result in zip(flagged, explained(flagged) if flagged else (), strict=True):
        results[place] = results[place].with_maps(*result.explanations)
    return results
