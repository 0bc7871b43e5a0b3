"""The Pointing Game against a hand-computed table, brute force, and the faults of earlier code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cxrlens
from cxrlens.evaluation.pointing_game import (
    Peak,
    _peaks_together,
    as_masks,
    distance_to_objects,
    find_peak,
    find_peaks,
    judge,
    pointing_game,
)
from cxrlens.inputs.annotations.shapes import Ellipse, Polygon, Rectangle, Shape, format_annotation, rasterize


def peak_map(row: int, column: int, *, height: int = 20, width: int = 30) -> np.ndarray:
    """A map that falls off from its peak."""
    rows, columns = np.ogrid[:height, :width]
    return np.exp(-np.hypot(rows - row, columns - column) / 5).astype(np.float32)


# peak (row, column), objects in (x, y), distance, outcome at a tolerance of 5
TABLE: list[tuple[tuple[int, int], list[Shape], float, str]] = [
    ((4, 20), [Rectangle(18, 2, 22, 6)], 0, "hit"),  # inside
    ((4, 20), [Rectangle(22, 7, 25, 9)], math.hypot(2, 3), "hit"),  # a corner is near
    ((4, 20), [Rectangle(25, 0, 29, 10)], 5, "miss"),  # exactly the tolerance
    ((4, 20), [Rectangle(20, 9, 20, 9)], 5, "miss"),  # the same along y
    ((4, 20), [Rectangle(23, 8, 23, 8)], 5, "miss"),  # 3-4-5: the distance is Euclidean
    ((4, 20), [Rectangle(24, 6, 24, 6)], math.sqrt(20), "hit"),  # just below
    ((4, 20), [Rectangle(24, 8, 24, 8)], math.sqrt(32), "miss"),  # inside a square of that radius only
    ((4, 20), [], math.inf, "not applicable"),
    ((4, 20), [Rectangle(0, 15, 3, 18), Rectangle(19, 3, 21, 5)], 0, "hit"),  # one of two objects
    ((4, 20), [Rectangle(19, 3, 21, 5), Ellipse(18, 2, 22, 6)], 0, "hit"),  # both: still one hit
    ((4, 20), [Rectangle(3, 18, 5, 19)], math.hypot(15, 14), "miss"),  # the transposed place
    ((15, 3), [Polygon(((2, 14), (6, 14), (2, 18)))], 0, "hit"),
]


def test_a_table_computed_by_hand():
    maps = np.stack([peak_map(*peak) for peak, *_ in TABLE])
    result = pointing_game(maps, [shapes for _, shapes, *_ in TABLE], tolerance=5)
    assert [(record.peak.row, record.peak.column) for record in result.records] == [peak for peak, *_ in TABLE]
    assert [record.distance for record in result.records] == pytest.approx([distance for _, _, distance, _ in TABLE])
    assert [record.outcome for record in result.records] == [outcome for *_, outcome in TABLE]
    assert (result.hits, result.misses, result.n, result.tied) == (6, 5, 11, 0)
    assert result.accuracy == pytest.approx(6 / 11)
    assert result.tolerance == 5


@pytest.mark.parametrize(("tolerance", "outcome"), [(5.0, "miss"), (np.nextafter(5.0, 6.0), "hit"), (4.999, "miss")])
def test_the_tolerance_is_strict(tolerance: float, outcome: str):
    result = pointing_game(peak_map(4, 20)[None], [[Rectangle(23, 8, 23, 8)]], tolerance=tolerance)
    assert result.records[0].outcome == outcome


def test_masks_tensors_and_shapes_give_the_same_result():
    maps = np.stack([peak_map(*peak) for peak, *_ in TABLE])
    shapes = [shapes for _, shapes, *_ in TABLE]
    masks = np.stack([rasterize(some, height=20, width=30) for some in shapes])
    expected = pointing_game(maps, shapes, tolerance=5)
    given_as: list[tuple[Any, Any]] = [
        (maps, masks),
        (torch.from_numpy(maps), torch.from_numpy(masks)),
        (torch.from_numpy(maps).requires_grad_(), masks.astype(np.uint8)),
        (list(maps), list(masks)),
        (maps, list(torch.from_numpy(masks))),
        (maps, [format_annotation(some) for some in shapes]),
        (maps.astype(np.float64), [some if index % 2 else masks[index] for index, some in enumerate(shapes)]),
    ]
    for some_maps, some_annotations in given_as:
        assert cxrlens.pointing_game(some_maps, some_annotations, tolerance=5) == expected


@pytest.mark.parametrize(("height", "width"), [(30, 30), (20, 30), (30, 20)])
@pytest.mark.parametrize("as_mask", [False, True])
def test_a_right_peak_off_the_diagonal_is_a_hit_and_its_mirror_image_a_miss(height: int, width: int, as_mask: bool):
    shapes = [Rectangle(15, 2, 17, 4)]  # columns 15 to 17, rows 2 to 4
    annotations: Any = [rasterize(shapes, height=height, width=width)] if as_mask else [shapes]
    right, mirrored = (
        pointing_game(peak_map(row, column, height=height, width=width)[None], annotations, tolerance=3).records[0]
        for row, column in ((3, 16), (16, 3))
    )
    assert (right.outcome, right.distance) == ("hit", 0)
    assert mirrored.outcome == "miss"
    assert mirrored.distance == pytest.approx(math.hypot(16 - 4, 15 - 3))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 13)).filter(lambda shape: shape[0] != shape[1]),
    st.floats(0.01, 0.6),
    st.integers(0, 2**31),
)
def test_distances_equal_brute_force(shape: tuple[int, int], share: float, seed: int):
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < share
    distances = distance_to_objects(mask)
    objects = np.argwhere(mask)
    for row, column in np.ndindex(*shape):
        brute = min((math.hypot(row - r, column - c) for r, c in objects), default=math.inf)
        assert distances[row, column] == pytest.approx(brute)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.floats(0.3, 6))
def test_scores_equal_brute_force(seed: int, images: int, tolerance: float):
    rng = np.random.default_rng(seed)
    maps = rng.random((images, 7, 11))
    masks = rng.random((images, 7, 11)) < rng.choice([0, 0.03, 0.2], size=(images, 1, 1))
    result = pointing_game(maps, masks, tolerance=tolerance)
    outcomes = []
    for map_, mask in zip(maps, masks, strict=True):
        row, column = divmod(int(map_.argmax()), 11)
        near = any(math.hypot(row - r, column - c) < tolerance for r, c in np.argwhere(mask))
        outcomes.append("hit" if near else "miss" if mask.any() else "not applicable")
    assert [record.outcome for record in result.records] == outcomes
    assert (result.hits, result.misses) == (outcomes.count("hit"), outcomes.count("miss"))
    scored = result.hits + result.misses
    assert math.isnan(result.accuracy) if scored == 0 else result.accuracy == result.hits / scored


def tied_maps() -> np.ndarray:
    """Two equal peaks in each of forty maps, one on the object and one far from it."""
    maps = np.zeros((40, 12, 18))
    maps[:, 2, 14] = maps[:, 9, 3] = 1
    return maps


def test_ties_are_counted_and_decided_by_the_seed():
    objects = [[Rectangle(13, 1, 15, 3)]] * 40
    results = [pointing_game(tied_maps(), objects, tolerance=2, seed=seed) for seed in (0, 0, 1, 2)]
    assert results[0] == results[1]
    assert len({tuple(record.outcome for record in result.records) for result in results}) == 3
    for result in results:
        assert result.tied == 40
        assert {(record.peak.row, record.peak.column) for record in result.records} == {(2, 14), (9, 3)}
        assert 8 <= result.hits <= 32  # both ways in each: neither the first nor the last pixel is preferred


def test_ties_of_images_without_an_object_do_not_count():
    annotations: list[list[Shape]] = [[]] * 39 + [[Rectangle(13, 1, 15, 3)]]
    assert pointing_game(tied_maps(), annotations, tolerance=2).tied == 1


def test_a_seeded_choice_among_all_tied_pixels():
    map_ = np.zeros((3, 4))
    map_[1] = 7
    peaks = {find_peak(map_, seed=seed) for seed in range(60)}
    assert peaks == {Peak(1, column, 4) for column in range(4)}


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_map_is_a_miss_never_a_hit_by_chance(value: float):
    maps = np.full((1, 12, 18), value, dtype=np.float32)
    everywhere = np.ones((1, 12, 18), dtype=bool)
    for seed in range(5):
        result = pointing_game(maps, everywhere, tolerance=100, seed=seed)
        assert (result.records[0].outcome, result.records[0].peak.tied) == ("miss", 12 * 18)
        assert (result.accuracy, result.n, result.tied) == (0, 1, 1)
    assert pointing_game(maps, ~everywhere, tolerance=100).records[0].outcome == "not applicable"


def test_a_nearly_constant_map_has_a_peak():
    maps = np.zeros((1, 12, 18), dtype=np.float32)
    maps[0, 0, 0] = -1  # all other pixels tie
    assert pointing_game(maps, np.ones((1, 12, 18), dtype=bool), tolerance=1).hits == 1


def test_judge_looks_up_row_and_column():
    distances = np.arange(12.0).reshape(3, 4)
    assert judge(Peak(1, 2, 1), distances, 6.5).distance == 6
    assert judge(Peak(1, 2, 1), distances, 6.5).outcome == "hit"
    assert judge(Peak(1, 2, 12), distances, 6.5).outcome == "miss"


def test_no_image_with_an_object_gives_no_score():
    result = pointing_game(np.stack([peak_map(1, 2)] * 2), [[], []], tolerance=5)
    assert result.n == 0
    assert math.isnan(result.accuracy)
    assert math.isnan(pointing_game(np.zeros((0, 4, 5)), [], tolerance=5).accuracy)


def test_an_object_outside_the_picture_does_not_count():
    result = pointing_game(peak_map(4, 20)[None], [[Rectangle(100, 100, 120, 120)]], tolerance=5)
    assert result.records[0].outcome == "not applicable"


@pytest.mark.parametrize(
    ("maps", "annotations", "tolerance"),
    [
        (np.zeros((4, 5)), [[]], 5),
        (np.zeros((2, 4, 5)), [[]], 5),
        (np.zeros((1, 4, 5)), np.zeros((1, 5, 4), dtype=bool), 5),
        (np.zeros((1, 4, 5)), np.zeros((4, 5), dtype=bool), 5),
        (np.zeros((1, 4, 5)), [np.zeros((5, 4), dtype=bool)], 5),
        (np.full((1, 4, 5), np.nan), [[]], 5),
        (np.full((1, 4, 5), np.inf), [[]], 5),
        (np.zeros((1, 4, 5)), [[]], 0),
        (np.zeros((1, 4, 5)), [[]], -1),
        (np.zeros((1, 4, 5)), [[]], math.nan),
    ],
)
def test_what_does_not_fit_is_refused(maps: np.ndarray, annotations: Any, tolerance: float):
    with pytest.raises(ValueError):
        pointing_game(maps, annotations, tolerance=tolerance)


def test_masks_of_shapes_have_the_size_of_the_map():
    (mask,) = as_masks([[Rectangle(3, 1, 4, 1)]], height=5, width=7)
    assert mask.shape == (5, 7)
    assert np.argwhere(mask).tolist() == [[1, 3], [1, 4]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from((0, 1, 2, 5)), st.sampled_from((torch.float32, torch.float64)))
def test_peaks_of_a_batch_equal_those_of_single_maps(seed: int, levels: int, dtype: torch.dtype):
    maps = torch.rand(5, 6, 11, generator=torch.Generator().manual_seed(seed), dtype=dtype) - 0.5
    if levels:  # one level: flat maps
        maps = (maps * levels).floor()
        maps[0, 2, 9] = maps[1, 5, 3] = 7.0
        maps[2] = levels
    seeds = [(seed, index, 3) for index in range(5)]
    peaks = find_peaks(maps, seeds=seeds)
    assert peaks == _peaks_together(maps, seeds)  # what an accelerator runs
    assert peaks == [find_peak(map_.numpy(), seed=own) for map_, own in zip(maps, seeds, strict=True)]
    for peak, map_ in zip(peaks, maps, strict=True):
        assert map_[peak.row, peak.column] == map_.max()
        assert peak.tied == int((map_ == map_.max()).sum())
    if levels:
        assert peaks[:2] == [Peak(2, 9, 1), Peak(5, 3, 1)]
        assert peaks[2].tied == 66
    strided = maps.transpose(1, 2).contiguous().transpose(1, 2)
    assert find_peaks(strided, seeds=seeds) == peaks


def test_peaks_of_wrong_batches_are_refused():
    assert find_peaks(torch.zeros(0, 3, 4), seeds=[]) == []
    with pytest.raises(ValueError, match="seeds"):
        find_peaks(torch.zeros(2, 3, 4), seeds=[0])
    for value in (math.nan, math.inf, -math.inf):
        maps = torch.rand(2, 3, 4)
        maps[1, 2, 0] = value
        for search in (find_peaks, _peaks_together):
            with pytest.raises(ValueError, match="finite"):
                search(maps, seeds=[0, 1])
        with pytest.raises(ValueError, match="finite"):
            find_peak(maps[1].numpy(), seed=0)
