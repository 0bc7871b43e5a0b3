"""The annotated objects of an image as a mask at the network's input size."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from cxrlens.data.annotation_csv import clip_to_image
from cxrlens.data.annotations import BoolMask, rasterize
from cxrlens.data.layouts import Item
from cxrlens.data.preprocessing import Preprocessing
from cxrlens.data.readers import image_size
from cxrlens.errors import UnreadableImageError

log = logging.getLogger(__name__)


def object_mask(item: Item, height: int, width: int, preprocessing: Preprocessing) -> BoolMask:
    """The union of an item's objects at the network's input size; ``height`` x ``width`` is the stored image."""
    shapes, remarks = clip_to_image(item.shapes or (), height=height, width=width, name=item.name)
    for remark in remarks:
        log.warning("%s", remark)
    forward = preprocessing.geometry(height, width).forward_shape
    return rasterize([forward(shape) for shape in shapes], height=preprocessing.height, width=preprocessing.width)


def object_masks(items: Iterable[Item], preprocessing: Preprocessing) -> Iterator[BoolMask]:
    """The masks of the items that have objects; only the size of each file is read, unreadable ones are left out."""
    for item in items:
        if item.shapes:
            try:
                height, width = image_size(item.path)
            except UnreadableImageError:
                continue
            yield object_mask(item, height, width, preprocessing)
