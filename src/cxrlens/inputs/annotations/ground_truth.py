"""The annotated objects of an image: as a mask of the image at the network's scale, and one by one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.annotations.masks import AnnotatedObject, MaskPart, mask_parts, read_mask
from cxrlens.inputs.annotations.shapes import BoolMask, rasterize
from cxrlens.inputs.annotations.table import clip_to_image
from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.origin import Origin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import stream_size

log = logging.getLogger(__name__)


def object_mask(item: Item, height: int, width: int, preprocessing: Preprocessing) -> BoolMask:
    """The union of an item's objects; ``height`` x ``width`` is the stored image.

    The mask covers the image as the network sees it, without padding: `Geometry.without_padding`.

    Raises:
        UnreadableImageError: when the item has a mask that cannot be read or has another size.
    """
    shapes, remarks = clip_to_image(item.shapes or (), height=height, width=width, name=item.name)
    for remark in remarks:
        log.warning("%s", remark)
    geometry = preprocessing.geometry(height, width).without_padding()
    moved = [geometry.forward_shape(shape) for shape in shapes]
    union = rasterize(moved, height=geometry.out_height, width=geometry.out_width)
    if item.mask is not None:
        union |= geometry.forward_mask(read_mask(item.mask, height=height, width=width))
    return union


def object_masks(items: Iterable[Item], preprocessing: Preprocessing) -> Iterator[BoolMask]:
    """The masks of the items that have objects, all stretched to the size of the network's input.

    Only the size of each file is read, and unreadable ones are left out.
    """
    stretched = preprocessing.model_copy(update={"resize": "stretch"})
    for item in items:
        if item.has_object:
            try:
                height, width = _size(item.origin)
                mask = object_mask(item, height, width, stretched)
            except UnreadableImageError:
                continue
            yield mask


def annotated_objects(item: Item) -> tuple[AnnotatedObject, ...]:
    """The objects of an item in pixels of the stored image: its shapes, and the connected parts of its mask.

    Raises:
        UnreadableImageError: when the item has a mask and it or the image cannot be read.
    """
    shapes = item.shapes or ()
    return shapes if item.mask is None else (*shapes, *masked_objects(item, *_size(item.origin)))


def masked_objects(item: Item, height: int, width: int) -> tuple[MaskPart, ...]:
    """The connected parts of an item's mask, none without a mask; ``height`` x ``width`` is the stored image.

    Raises:
        UnreadableImageError: when the mask cannot be read or has another size.
    """
    return () if item.mask is None else mask_parts(read_mask(item.mask, height=height, width=width))


def _size(origin: Origin) -> tuple[int, int]:
    with origin.open() as stream:
        return stream_size(stream, str(origin))
