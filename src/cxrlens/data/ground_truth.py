"""The annotated objects of an image as a mask of the picture at the network's scale."""

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
    """The union of an item's objects; ``height`` x ``width`` is the stored image.

    The mask covers the picture as the network sees it, without padding: `Geometry.without_padding`.
    """
    shapes, remarks = clip_to_image(item.shapes or (), height=height, width=width, name=item.name)
    for remark in remarks:
        log.warning("%s", remark)
    geometry = preprocessing.geometry(height, width).without_padding()
    moved = [geometry.forward_shape(shape) for shape in shapes]
    return rasterize(moved, height=geometry.out_height, width=geometry.out_width)


def object_masks(items: Iterable[Item], preprocessing: Preprocessing) -> Iterator[BoolMask]:
    """The masks of the items that have objects, all stretched to the size of the network's input.

    Only the size of each file is read, and unreadable ones are left out.
    """
    stretched = preprocessing.model_copy(update={"resize": "stretch"})
    for item in items:
        if item.shapes:
            try:
                height, width = image_size(item.path)
            except UnreadableImageError:
                continue
            yield object_mask(item, height, width, stretched)
