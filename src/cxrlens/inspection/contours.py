"""Outlines of what a map marks, as polygons that can be drawn over the stored image."""

from __future__ import annotations

from typing import TypeAlias

import contourpy
import numpy as np
import numpy.typing as npt
import shapely
from matplotlib.path import Path as Line

from cxrlens.inputs.geometry import Geometry
from cxrlens.inputs.readers import Pixels

Polygon: TypeAlias = tuple[tuple[float, float], ...]
_Points: TypeAlias = npt.NDArray[np.float64]

TOLERANCE = 0.5
"""Distance that a polygon may keep from the true outline, in pixels of the map."""

MOST = 50
"""Polygons that are kept of a map; maps of pixels, unlike those of layers, fall to pieces."""


def half_maximum_contours(map_: Pixels, geometry: Geometry) -> tuple[Polygon, ...]:
    """Closed polygons around what exceeds half the maximum of a map [h, w]; a hole in it is a polygon too.

    They do not cross themselves, their last point is the first, and they stay within the image. The largest come
    first, and at most `MOST` are given. A map without a positive value has none.

    Args:
        geometry: leads from the stored image to the map, see `Geometry.without_padding`.

    Returns:
        For each polygon its points (x, y) in pixels of the stored image, to a tenth of a pixel.
    """
    highest = float(map_.max())
    if not highest > 0:
        return ()
    part, corner = _around(map_, map_ > highest / 2)
    # The ring of zeros closes what meets the border; half the maximum is crossed within half a pixel of it.
    lines: list[_Points] = contourpy.contour_generator(z=np.pad(part, 1)).lines(highest / 2)  # type: ignore[assignment]
    largest = sorted((line for line in lines if len(line) > 3), key=_area, reverse=True)[:MOST]
    polygons = []
    for line in largest:
        points = _simplified(line) + corner - 1
        x, y = geometry.backward_point(points[:, 0], points[:, 1])
        polygons.append(tuple(zip(x.round(1).tolist(), y.round(1).tolist(), strict=True)))
    return tuple(polygons)


def _around(map_: Pixels, marked: npt.NDArray[np.bool_]) -> tuple[Pixels, _Points]:
    """The part of a map in which its outlines lie: what is marked with a pixel around it; and its corner (x, y)."""
    (top, bottom), (left, right) = (np.flatnonzero(marked.any(axis))[[0, -1]] for axis in (1, 0))
    top, left = max(top - 1, 0), max(left - 1, 0)
    return map_[top : bottom + 2, left : right + 2], np.array([left, top], dtype=np.float64)


def _area(ring: _Points) -> float:
    x, y = (ring - ring[0]).T
    return abs(float(x[:-1] @ y[1:] - x[1:] @ y[:-1])) / 2


def _simplified(ring: _Points) -> _Points:
    """The ring with fewer points, as long as that does not make it cross itself."""
    line = Line(ring)
    line.should_simplify, line.simplify_threshold = True, TOLERANCE
    drawn = line.cleaned(simplify=True)
    points = np.asarray(drawn.vertices, dtype=np.float64)
    if drawn.codes is not None:
        points = points[np.asarray(drawn.codes) != Line.STOP]
    points = points[np.append(True, np.any(np.diff(points, axis=0) != 0, axis=1))]
    points[-1] = points[0]
    return points if len(points) > 3 and shapely.LinearRing(points).is_simple else ring
