"""Groups of images that a score is also reported for: by the size of their objects and by the kind of their shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cxrlens.errors import ArgumentError
from cxrlens.inputs.annotations.masks import AnnotatedObject, MaskPart
from cxrlens.inputs.annotations.shapes import BoolMask, Ellipse, Polygon, Rectangle

SIZES = ("small", "medium", "large")
SHAPE_TYPES = {Rectangle: "rectangle", Ellipse: "ellipse", Polygon: "polygon", MaskPart: "mask"}
MIXED = "mixed"
NONE = ""  # of an image without an object


def object_area(mask: BoolMask) -> float:
    """Share of the image that the union of its objects covers, in [0, 1]; the mean of the mask [H, W]."""
    return float(mask.mean())


def size_terciles(areas: npt.ArrayLike) -> npt.NDArray[np.str_]:
    """The third of the data set that each image's object area falls into, [n]: "small", "medium" or "large".

    The thresholds are the 1/3 and 2/3 quantiles (linear between data) of the areas given; an area up to the first is
    small, one up to the second medium. Images of one area therefore share a group, and with many ties a group may be
    smaller or empty. An image without an object (area 0 or NaN) belongs to no group, is labelled "" and does not move
    the thresholds.

    Args:
        areas: [n], share of the image covered by the union of its objects.

    Raises:
        ArgumentError: when areas is not one-dimensional, or one is negative or infinite.
    """
    sizes = np.asarray(areas, dtype=np.float64)
    if sizes.ndim != 1 or (sizes < 0).any() or np.isinf(sizes).any():
        raise ArgumentError("areas should be finite numbers of 0 or more of the shape [n]")
    labels = np.full(sizes.shape, NONE, dtype=f"<U{max(map(len, SIZES))}")
    present = sizes > 0
    if present.any():
        thresholds = np.quantile(sizes[present], [1 / 3, 2 / 3])
        labels[present] = np.array(SIZES)[np.searchsorted(thresholds, sizes[present])]
    return labels


def shape_type(shapes: Sequence[AnnotatedObject]) -> str:
    """ "rectangle", "ellipse", "polygon" or "mask" when all objects of an image are; else "mixed"; "" without any."""
    kinds = {SHAPE_TYPES[type(shape)] for shape in shapes}
    if len(kinds) > 1:
        return MIXED
    return kinds.pop() if kinds else NONE
