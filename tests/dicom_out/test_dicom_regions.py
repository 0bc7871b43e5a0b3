"""Contours in our pixels become closed lines in DICOM's."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from cxrlens.dicom_out.regions import closed_regions

SQUARE = ((0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0))


def shifted(ring: tuple[tuple[float, float], ...], by: float, scale: float) -> tuple[tuple[float, float], ...]:
    return tuple((x * scale + by, y * scale + by) for x, y in ring)


def test_a_region_covers_the_pixels_of_its_object_and_no_others() -> None:
    """Independent of the half pixel: a DICOM pixel (row, column) is the square from (column, row) to (+1, +1)."""
    height, width = 40, 25
    rows, columns = (28, 35), (2, 9)  # first and last pixel of an object
    edges = ((columns[0] - 0.5, rows[0] - 0.5), (columns[1] + 0.5, rows[1] + 0.5))
    (x1, y1), (x2, y2) = edges
    (region,) = closed_regions([((x1, y1), (x2, y1), (x2, y2), (x1, y2))], height, width)
    np.testing.assert_array_equal(region[0], region[-1])
    centres = np.array([(column + 0.5, row + 0.5) for row in range(height) for column in range(width)])
    inside = Outline(region).contains_points(centres).reshape(height, width)
    expected = np.zeros((height, width), dtype=bool)
    expected[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = True
    np.testing.assert_array_equal(inside, expected)
    np.testing.assert_array_equal(region.min(0), (columns[0], rows[0]))
    np.testing.assert_array_equal(region.max(0), (columns[1] + 1, rows[1] + 1))


def test_the_whole_picture_reaches_its_corners_and_nothing_lies_outside() -> None:
    whole = ((-3.0, -3.0), (30.0, -3.0), (30.0, 50.0), (-3.0, 50.0))
    (region,) = closed_regions([whole], 40, 25)
    assert {tuple(point) for point in region} == {(0, 0), (25, 0), (25, 40), (0, 40)}


@pytest.mark.parametrize("closed", [True, False])
def test_lines_are_closed_once(closed: bool) -> None:
    (region,) = closed_regions([(*SQUARE, SQUARE[0]) if closed else SQUARE], 40, 25)
    assert len(region) == 5


def test_rims_of_holes_are_no_regions_but_islands_in_holes_are() -> None:
    outer, hole, island = SQUARE, shifted(SQUARE, 2, 0.6), shifted(SQUARE, 3, 0.3)
    beside = tuple((x + 12, y + 20) for x, y in SQUARE)
    found = closed_regions([island, hole, beside, outer], 40, 25)
    assert sorted(float(region[:, 0].min()) for region in found) == [0.5, 3.5, 12.5]


def test_what_encloses_nothing_is_no_region() -> None:
    line = ((1.0, 1.0), (5.0, 5.0), (9.0, 9.0))
    assert closed_regions([(), ((1.0, 1.0),), ((1.0, 1.0), (4.0, 2.0)), line], 40, 25) == []
