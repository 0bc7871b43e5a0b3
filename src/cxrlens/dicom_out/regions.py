"""Contours of a map as regions of a DICOM image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Contour: TypeAlias = Sequence[tuple[float, float]]
Vertices: TypeAlias = npt.NDArray[np.float64]


def closed_regions(contours: Sequence[Contour], height: int, width: int) -> list[Vertices]:
    """Contours [(x, y), ...] of an image of height x width pixels as closed polylines [(column, row), ...], float64.

    Here the centre of the top-left pixel is at (0, 0); in DICOM (PS3.3 C.18.6.1.1) its top-left corner is, so that all
    is half a pixel more there. Vertices lie in the image, 0 to width and 0 to height; the last one is the first again.

    Contours of a level cross nowhere: one that lies in an odd number of others is the rim of a hole, which a region
    cannot express and which is left out; so is one that encloses nothing.
    """
    rings = [ring for ring in (_ring(contour) for contour in contours) if _encloses_something(ring)]
    rims = [ring for ring in rings if sum(_contains(other, ring) for other in rings if other is not ring) % 2 == 0]
    return [_closed(np.clip(ring + 0.5, 0, (width, height))) for ring in rims]


def _ring(contour: Contour) -> Vertices:
    """The vertices [n, 2], the first one once."""
    vertices = np.asarray(contour, dtype=np.float64).reshape(-1, 2)
    return vertices[:-1] if len(vertices) > 1 and np.array_equal(vertices[0], vertices[-1]) else vertices


def _closed(ring: Vertices) -> Vertices:
    return np.concatenate([ring, ring[:1]])


def _encloses_something(ring: Vertices) -> bool:
    x, y = ring.T
    return len(ring) > 2 and abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) > 1e-9


def _contains(outer: Vertices, inner: Vertices) -> bool:
    """True where the first vertex of one contour lies in another: a ray to the right crosses that an odd number of
    times.
    """
    x, y = inner[0]
    (x1, y1), (x2, y2) = outer.T, np.roll(outer, -1, axis=0).T
    crosses = (y1 > y) != (y2 > y)
    at = x1[crosses] + (y - y1[crosses]) / (y2[crosses] - y1[crosses]) * (x2[crosses] - x1[crosses])
    return int(np.sum(at > x)) % 2 == 1
