"""The images on which a model errs most, with small pictures of them."""

from __future__ import annotations

import heapq
import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from torch import Tensor

from cxrlens.inputs.dataset.layouts import CLASS_NAMES, Item
from cxrlens.inputs.readers import Pixels
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.report.html import data_address

MOST = 24
_SIDE = 240  # pixels of a picture's longer side
_QUALITY = 75


@dataclass(frozen=True, order=True)
class WrongImage:
    """An image that was decided wrongly.

    Attributes:
        margin: of the probability from the threshold; the larger, the surer was the model.
        place: in the split, from 0, negative: of equal margins the first image is the larger.
        item: the image.
        probability: of affected.
        picture: JPEG of it as the network is shown it.
    """

    margin: float
    place: int
    item: Item = field(compare=False)
    probability: float = field(compare=False)
    picture: bytes = field(compare=False, repr=False)

    @property
    def label(self) -> str:
        """Name of its class."""
        return CLASS_NAMES[int(self.item.label or 0)]

    @property
    def address(self) -> str:
        """The picture as a ``data:`` address."""
        return data_address(self.picture, "image/jpeg")


class WrongImages:
    """Keeps the wrong decisions that a model was surest of, of all images that it is shown one after another."""

    def __init__(self, model: QualityModel, most: int = MOST) -> None:
        self._model = model
        self._most = most
        self._kept: list[WrongImage] = []
        self._seen = 0

    def add(self, item: Item, grey: Pixels, logits: Tensor) -> None:
        """See an image [h, w] in [0, 1] with its logits [2]."""
        place, self._seen = -self._seen, self._seen + 1
        probability = float(self._model.probability_of(logits[None])[0])
        if self._model.decision(probability) == CLASS_NAMES[int(item.label or 0)]:
            return
        margin = abs(probability - self._model.card.threshold)
        if len(self._kept) == self._most and (margin, place) < (self._kept[0].margin, self._kept[0].place):
            return
        new = WrongImage(margin, place, item, probability, small_jpeg(grey))
        (heapq.heappush if len(self._kept) < self._most else heapq.heapreplace)(self._kept, new)

    def surest_first(self) -> list[WrongImage]:
        """Those that were kept."""
        return sorted(self._kept, reverse=True)


def small_jpeg(grey: Pixels) -> bytes:
    """A small JPEG of an image [h, w] in [0, 1], aspect kept."""
    image = Image.fromarray(np.clip(np.rint(255 * grey), 0, 255).astype(np.uint8))
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
