"""Outlines of maps: closed, simple, within the picture, and where the map says."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.path import Path as Line
from scipy.ndimage import zoom

from cxrlens.inputs.geometry import Geometry
from cxrlens.inspection.contours import MOST, TOLERANCE, half_maximum_contours


def smooth_map(seed: int, height: int = 84, width: int = 112) -> npt.NDArray[np.float32]:
    coarse = np.random.default_rng(seed).random((height // 14, width // 14)) ** 3
    map_ = zoom(coarse, 14, order=1, mode="nearest", grid_mode=True)
    return ((map_ - map_.min()) / np.ptp(map_)).astype(np.float32)


def test_a_rectangle_off_the_diagonal_is_outlined_in_stored_pixels() -> None:
    map_ = np.zeros((12, 20), np.float32)
    map_[2:5, 10:16] = 0.6
    (polygon,) = half_maximum_contours(map_, Geometry.stretch(240, 100, 12, 20))
    x, y = np.array(polygon).T
    # At half the maximum it reaches half a map pixel beyond the centres: x 9.5 to 15.5 and y 1.5 to 4.5 of the map.
    assert (x.min(), x.max()) == pytest.approx((10 * 5 - 0.5, 16 * 5 - 0.5), abs=0.06)
    assert (y.min(), y.max()) == pytest.approx((2 * 20 - 0.5, 5 * 20 - 0.5), abs=0.06)


@pytest.mark.parametrize("seed", range(8))
def test_what_lies_within_is_what_exceeds_half_the_maximum(seed: int) -> None:
    map_ = smooth_map(seed)
    height, width = map_.shape
    polygons = half_maximum_contours(map_, Geometry.stretch(3 * height, 2 * width, height, width))
    rows, columns = np.mgrid[:height, :width]
    points = np.stack([(columns.ravel() + 0.5) * 2 - 0.5, (rows.ravel() + 0.5) * 3 - 0.5], axis=1)
    within = np.zeros(height * width, dtype=bool)
    for polygon in polygons:
        within ^= Line(np.array(polygon)).contains_points(points)  # a hole is a polygon too
    wrong = (within.reshape(map_.shape) != (map_ > 0.5)) & (np.abs(map_ - 0.5) > 0.12)
    assert not wrong.any()
    assert (within.reshape(map_.shape) != (map_ > 0.5)).mean() < 0.02


@pytest.mark.parametrize("seed", range(8))
def test_polygons_are_closed_simple_and_have_few_points(seed: int) -> None:
    polygons = half_maximum_contours(smooth_map(seed), Geometry.stretch(300, 500, 84, 112))
    assert polygons
    for polygon in polygons:
        assert polygon[0] == polygon[-1]
        assert len(polygon) > 3
        sides = list(itertools.pairwise(polygon))
        assert not any(crosses(*one, *other) for one, other in itertools.combinations(sides, 2))
    assert sum(map(len, polygons)) < 400


def crosses(a: tuple[float, ...], b: tuple[float, ...], c: tuple[float, ...], d: tuple[float, ...]) -> bool:
    """Whether two lines have one inner point in common, by solving for it."""
    directions = np.array([[b[0] - a[0], c[0] - d[0]], [b[1] - a[1], c[1] - d[1]]])
    if abs(np.linalg.det(directions)) < 1e-12:
        return False
    s, t = np.linalg.solve(directions, [c[0] - a[0], c[1] - a[1]])
    return bool(1e-9 < s < 1 - 1e-9 and 1e-9 < t < 1 - 1e-9)


def test_an_outline_ends_at_the_border_of_the_picture() -> None:
    map_ = np.zeros((10, 16), np.float32)
    map_[6:, 12:] = 1
    (polygon,) = half_maximum_contours(map_, Geometry.stretch(100, 80, 10, 16))
    x, y = np.array(polygon).T
    assert x.max() == pytest.approx(79.5, abs=0.06)
    assert y.max() == pytest.approx(99.5, abs=0.06)
    assert x.min() == pytest.approx(59.5, abs=0.06)


def test_a_flat_map_has_none_and_a_noisy_one_the_largest() -> None:
    geometry = Geometry.stretch(64, 64, 64, 64)
    assert half_maximum_contours(np.zeros((64, 64), np.float32), geometry) == ()
    noise = np.random.default_rng(0).random((64, 64)).astype(np.float32) ** 4
    noise[20:30, 40:60] = 1
    found = half_maximum_contours(noise, geometry)
    assert len(found) == MOST
    x, y = np.array(found[0]).T
    assert 38 < x.min() < 41
    assert 18 < y.min() < 21
    assert 0 < TOLERANCE < 1


def noisy_map(seed: int, size: int = 96) -> npt.NDArray[np.float32]:
    return (np.random.default_rng(seed).random((size, size)) ** 4).astype(np.float32)


def test_outlines_that_a_simplification_would_cross_stay_as_they_are() -> None:
    """Crossings are looked for side by side; among so many small outlines a simplification makes some."""
    kept = 0
    for seed in range(4):
        for polygon in half_maximum_contours(noisy_map(seed), Geometry.stretch(960, 960, 96, 96)):
            sides = list(itertools.pairwise(polygon))
            assert not any(crosses(*one, *other) for one, other in itertools.combinations(sides, 2))
            kept += _crosses_when_simplified(np.array(polygon))
    assert kept


def _crosses_when_simplified(ring: npt.NDArray[np.float64]) -> bool:
    line = Line(ring / 10)
    line.should_simplify, line.simplify_threshold = True, TOLERANCE
    points = line.cleaned(simplify=True).vertices[:-1]
    points[-1] = points[0]
    sides = [(tuple(a), tuple(b)) for a, b in itertools.pairwise(points)]
    return any(crosses(*one, *other) for one, other in itertools.combinations(sides, 2))


def test_an_outline_of_very_many_points_takes_no_memory() -> None:
    """Of noise about half of which is marked, one outline winds through the whole map."""
    map_ = np.random.default_rng(1).random((400, 400)).astype(np.float32)
    tracemalloc.start()
    try:
        found = half_maximum_contours(map_, Geometry.stretch(400, 400, 400, 400))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    longest = max(map(len, found))
    assert longest > 20_000
    assert most < longest**2 / 4  # comparing every side with every other took minutes, and all memory
