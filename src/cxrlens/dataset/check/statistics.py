"""Statistics of a whole image that say nothing about where something is in it."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxrlens.inputs.readers import Pixels

Floats = npt.NDArray[np.float64]

PERCENTILES: Final = (0.1, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.9)
_BINS = 16
_BORDER = 0.02  # share of the shorter side
_CENTRE = 512  # side of the part in which noise and edges are measured, at the stored resolution

GLOBAL_STATISTICS: Final = (
    *("mean", "standard deviation", "minimum", "maximum"),
    *(f"percentile {percentile:g}" for percentile in PERCENTILES),
    *("border brightness", "border standard deviation"),
    *("edges", "noise", "entropy"),
    *(f"share of values in bin {number} of {_BINS}" for number in range(1, _BINS + 1)),
)


def global_statistics(pixels: Pixels) -> Floats:
    """The values of `GLOBAL_STATISTICS` of an image [h, w] in [0, 1], float64.

    Mean, percentiles, entropy (bits) and shares come from the histogram of 256 levels, minimum and maximum from the
    pixels. The border is a frame of 2 % of the shorter side. Edges are the median absolute difference of neighbours,
    noise is that of a pixel and the mean of its four neighbours; both are measured in the central 512 x 512 pixels,
    since resampling would change them. Medians, since a mean or a standard deviation would see the edge of an object.
    """
    levels = np.rint(pixels * np.float32(255)).astype(np.uint8)
    shares = np.array(Image.fromarray(levels).histogram(), dtype=np.float64) / levels.size
    values = np.arange(256) / 255
    mean = shares @ values
    border = _border(pixels)
    return np.array(
        [
            *(mean, np.sqrt(shares @ (values - mean) ** 2), pixels.min(), pixels.max()),
            *percentiles(shares),
            *(border.mean(), border.std()),
            *_texture(pixels),
            -(shares[shares > 0] * np.log2(shares[shares > 0])).sum(),
            *shares.reshape(_BINS, -1).sum(axis=1),
        ]
    )


def percentiles(shares: Floats) -> Floats:
    """The `PERCENTILES` of a histogram [256] that sums to 1: the lowest level with at least that share at or below."""
    found: Floats = np.searchsorted(np.cumsum(shares), np.array(PERCENTILES) / 100 - 1e-12) / 255
    return found


def statistic(table: Floats, name: str) -> Floats:
    """The column [n] of one of the `GLOBAL_STATISTICS` in a table [n, statistics]."""
    column: Floats = table[:, GLOBAL_STATISTICS.index(name)]
    return column


def _border(pixels: Pixels) -> Pixels:
    width = max(1, round(_BORDER * min(pixels.shape)))
    inner = np.ones(pixels.shape, dtype=bool)
    inner[width:-width, width:-width] = False
    return pixels[inner]


def _texture(pixels: Pixels) -> tuple[float, float]:
    """Edges and noise; zeros where the image is too small to tell."""
    top, left = (max(0, (size - _CENTRE) // 2) for size in pixels.shape)
    part = pixels[top : top + _CENTRE, left : left + _CENTRE]
    if min(part.shape) < 3:
        return 0.0, 0.0
    edges = np.median(np.abs(np.concatenate([np.diff(part, axis=0).ravel(), np.diff(part, axis=1).ravel()])))
    around = (part[:-2, 1:-1] + part[2:, 1:-1] + part[1:-1, :-2] + part[1:-1, 2:]) / 4
    noise = part[1:-1, 1:-1] - around
    return float(edges), float(np.median(np.abs(noise)))
