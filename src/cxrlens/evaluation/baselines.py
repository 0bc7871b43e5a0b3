"""Points that know nothing of the network: every Pointing Game score stands beside them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from cxrlens.inputs.annotations.shapes import BoolMask
from cxrlens.inputs.geometry import Geometry

FloatMap: TypeAlias = npt.NDArray[np.float32]

_SMOOTHING = 0.01  # sigma of the brightest-pixel baseline's blur, as a share of the map's longer side

BASELINES = {
    "centre": "the middle of the picture",
    "mean_annotation": "the most often annotated place of the training images",
    "random": "a uniformly random pixel, its expected score",
    "brightest": "the brightest pixel of the blurred picture",
}


def centre_map(height: int, width: int) -> FloatMap:
    """A map [height, width] whose arg-max is the middle pixel."""
    rows, columns = np.ogrid[:height, :width]
    return -np.hypot(rows - (height - 1) // 2, columns - (width - 1) // 2).astype(np.float32)


def mean_annotation_map(masks: Iterable[BoolMask]) -> FloatMap | None:
    """The share of images whose annotation covers a pixel, [H, W] in [0, 1]; None without any mask.

    It is blurred a little, so that the arg-max does not hang on one image's edge.
    """
    total: npt.NDArray[np.float64] | None = None
    count = 0
    for mask in masks:
        total = mask.astype(np.float64) if total is None else total + mask
        count += 1
    if total is None:
        return None
    return gaussian_filter(total / count, _SMOOTHING * max(total.shape)).astype(np.float32)


def fitted(map_: FloatMap, height: int, width: int) -> FloatMap:
    """The map stretched to [height, width], so that it speaks of the same place as a share of the sides."""
    if map_.shape == (height, width):
        return map_
    return Geometry.stretch(height, width, *map_.shape).backward_map(map_)


def brightest_map(image: FloatMap) -> FloatMap:
    """The blurred image [H, W] itself as a map (sigma 1 % of the longer side)."""
    return gaussian_filter(image, _SMOOTHING * max(image.shape))


def random_hit_probability(distances: npt.NDArray[np.float64], tolerance: float) -> float:
    """Expected hit of a uniformly random pixel: the mean over all pixels, not a sample of them."""
    return float((distances < tolerance).mean())
