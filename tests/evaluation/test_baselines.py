"""The network-free baselines against brute force and a large seeded sample."""

from __future__ import annotations

import numpy as np
import pytest

from cxrlens.evaluation.baselines import brightest_map, centre_map, mean_annotation_map, random_hit_probability
from cxrlens.evaluation.pointing_game import distance_to_objects, find_peak, judge
from cxrlens.inputs.annotations.shapes import Rectangle, rasterize


@pytest.mark.parametrize(
    ("height", "width", "middle"), [(5, 9, (2, 4)), (9, 5, (4, 2)), (6, 10, (2, 4)), (1, 8, (0, 3)), (7, 7, (3, 3))]
)
def test_the_centre_is_the_middle_pixel_without_a_tie(height: int, width: int, middle: tuple[int, int]):
    map_ = centre_map(height, width)
    peak = find_peak(map_, seed=0)
    assert map_.shape == (height, width)
    assert (peak.row, peak.column, peak.tied) == (*middle, 1)


def test_the_mean_annotation_points_where_most_training_images_have_an_object():
    height, width = 40, 70
    boxes = [Rectangle(50, 5, 58, 11)] * 3 + [Rectangle(52, 7, 64, 15)] * 2 + [Rectangle(3, 30, 9, 36)] * 4
    masks = [rasterize([box], height=height, width=width) for box in boxes]
    map_ = mean_annotation_map(iter(masks))
    assert map_ is not None
    assert map_.shape == (height, width)
    peak = find_peak(map_, seed=0)
    assert 7 <= peak.row <= 11  # where the first two kinds overlap: 5 of 9 images
    assert 52 <= peak.column <= 58
    assert map_[peak.row, peak.column] == pytest.approx(5 / 9, abs=0.02)
    assert map_[33, 6] == pytest.approx(4 / 9, abs=0.02)
    assert map_[20, 30] == 0
    assert map_.sum() == pytest.approx(np.mean([mask.sum() for mask in masks]), rel=1e-3)


def test_no_annotation_gives_no_mean():
    assert mean_annotation_map([]) is None


def test_the_brightest_place_is_a_bright_area_and_no_single_pixel():
    image = np.full((80, 200), 0.2, dtype=np.float32)
    image[60, 20] = 1.0  # one hot pixel
    image[18:25, 148:155] = 0.8
    map_ = brightest_map(image)
    peak = find_peak(map_, seed=0)
    assert map_.dtype == np.float32
    assert max(abs(peak.row - 21), abs(peak.column - 151)) <= 1


@pytest.mark.parametrize("tolerance", [1.0, 4.0, 12.5])
def test_the_expected_hit_of_a_random_pixel_equals_a_large_sample(tolerance: float):
    mask = rasterize([Rectangle(20, 3, 27, 8), Rectangle(50, 25, 50, 30)], height=33, width=61)
    distances = distance_to_objects(mask)
    expected = random_hit_probability(distances, tolerance)
    rng = np.random.default_rng(0)
    count = 200_000
    rows, columns = rng.integers(33, size=count), rng.integers(61, size=count)
    objects = np.argwhere(mask)
    near = np.zeros((33, 61), dtype=bool)
    for row, column in np.ndindex(33, 61):
        near[row, column] = (np.hypot(*(objects - (row, column)).T) < tolerance).any()
    share = near[rows, columns].mean()
    assert 0.02 < expected < 0.98
    assert expected == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / count))


def test_without_an_object_a_random_pixel_never_hits():
    distances = distance_to_objects(np.zeros((4, 6), dtype=bool))
    assert random_hit_probability(distances, 15) == 0


def test_a_constant_picture_has_no_brightest_place():
    map_ = brightest_map(np.full((30, 50), 0.5, dtype=np.float32))
    record = judge(find_peak(map_, seed=0), np.zeros((30, 50)), 5)
    assert record.outcome == "miss"
