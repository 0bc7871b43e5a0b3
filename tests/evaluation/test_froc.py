"""FROC against a table counted by hand and against a count threshold by threshold; peaks of maps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlens.evaluation.bootstrap import bootstrap_interval
from cxrlens.evaluation.froc import CHALLENGE_RATES, Prediction, froc, froc_draws, froc_interval, map_peaks
from cxrlens.inputs.annotations.shapes import Ellipse, Polygon, Rectangle

BOX, ROUND = Rectangle(10, 20, 30, 40), Ellipse(100, 20, 140, 40)
TRIANGLE = Polygon(((200, 10), (240, 10), (200, 50)))


def test_a_curve_counted_by_hand():
    predictions = [
        [Prediction(20, 30, 0.9), Prediction(25, 35, 0.8), Prediction(101, 21, 0.7), Prediction(120, 30, 0.5)],
        [Prediction(5, 5, 0.85)],
        [Prediction(205, 20, 0.6), Prediction(235, 45, 0.95)],
    ]
    curve = froc(predictions, [[BOX, ROUND], [], [TRIANGLE]], rates=(0.2, 0.5, 0.7, 1.0))
    # falling confidence: .95 beside the triangle (it is in its box) FP; .9 box TP; .85 FP; .8 box again, neither;
    # .7 beside the ellipse (in its box) FP; .6 triangle TP; .5 ellipse TP
    assert curve.false_positives.tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3, 1, 1, 1])
    assert curve.sensitivity.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 1 / 3, 2 / 3, 1])
    assert curve.at_rates == pytest.approx((0, 1 / 3, 1 / 3, 1))
    assert curve.mean == pytest.approx(5 / 12)


point = st.tuples(st.integers(0, 60), st.integers(0, 60), st.sampled_from((0.1, 0.3, 0.5, 0.7, 0.9)))
corner = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 10), st.integers(1, 20))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.lists(point, max_size=5), st.lists(corner, max_size=3)), min_size=1, max_size=4))
def test_the_curve_equals_counting_at_each_threshold(images):
    predictions = [[Prediction(x, y, c) for x, y, c in points] for points, _ in images]
    boxes = [[Rectangle(x, y, x + w, y + h) for x, y, w, h in corners] for _, corners in images]
    curve = froc(predictions, boxes)
    total = sum(map(len, boxes))
    if not total:
        assert math.isnan(curve.mean)
        return
    thresholds = sorted({p.confidence for points in predictions for p in points}, reverse=True)
    false, found = [], []
    for threshold in thresholds:
        wrong = hits = 0
        for points, shapes in zip(predictions, boxes, strict=True):
            kept = [p for p in points if p.confidence >= threshold]
            inside = lambda p, s: s.x1 <= p.x <= s.x2 and s.y1 <= p.y <= s.y2  # noqa: E731
            hits += sum(any(inside(p, s) for p in kept) for s in shapes)
            wrong += sum(not any(inside(p, s) for s in shapes) for p in kept)
        false.append(wrong / len(images))
        found.append(hits / total)
    assert curve.false_positives.tolist() == pytest.approx(false)
    assert curve.sensitivity.tolist() == pytest.approx(found)
    best = [max((f for f, w in zip(found, false, strict=True) if w <= rate), default=0) for rate in CHALLENGE_RATES]
    assert curve.at_rates == pytest.approx(best)


def test_without_predictions_nothing_is_found():
    assert froc([[], []], [[BOX], []]).at_rates == (0.0,) * 7
    with pytest.raises(ValueError):
        froc([[]], [[BOX], []])


def test_peaks_are_local_maxima_highest_first():
    map_ = torch.zeros(20, 40)
    for row, column, value in ((3, 30, 1.0), (5, 31, 0.9), (15, 4, 0.6), (10, 20, 0.8), (19, 39, 0.04)):
        map_[row, column] = value
    assert map_peaks(map_[None], radius=3, most=9) == [
        [(3, 30, pytest.approx(1.0)), (10, 20, pytest.approx(0.8)), (15, 4, pytest.approx(0.6))]
    ]
    assert len(map_peaks(map_[None], radius=1, most=9)[0]) == 4
    assert map_peaks(map_[None], radius=3, most=2)[0][-1][:2] == (10, 20)


def test_a_plateau_has_one_peak_and_a_flat_map_none():
    maps = torch.zeros(2, 20, 40)
    maps[0, 4:6, 30:33] = 1
    plateau, flat = map_peaks(maps, radius=3, most=9)
    assert plateau == [(4, 30, 1.0)]
    assert flat == []
    assert map_peaks(maps[:0], radius=3, most=9) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 9), st.integers(1, 6), st.sampled_from((0, 3, 10)))
def test_peaks_equal_a_slow_search(seed: int, radius: int, most: int, levels: int):
    maps = torch.rand(3, 13, 22, generator=torch.Generator().manual_seed(seed))
    if levels:
        maps = (maps * levels).floor() / levels  # plateaus
    for map_, found in zip(maps, map_peaks(maps, radius=radius, most=most, floor=0.2), strict=True):
        peaks = []
        for row, column in np.ndindex(13, 22):
            around = map_[max(row - radius, 0) : row + radius + 1, max(column - radius, 0) : column + radius + 1]
            if map_[row, column] > 0.2 and map_[row, column] == around.max():
                peaks.append((row, column, float(map_[row, column])))
        kept: list[tuple[int, int, float]] = []
        for row, column, value in sorted(peaks, key=lambda peak: -peak[2]):
            if all(max(abs(row - r), abs(column - c)) > radius for r, c, _ in kept):
                kept.append((row, column, value))
        assert found == kept[:most]


def test_the_interval_is_the_bootstrap_of_the_score():
    rng = np.random.default_rng(0)
    predictions, annotations = [], []
    for image in range(12):
        boxes = [Rectangle(x, y, x + 20, y + 30) for x, y in rng.integers(0, 60, size=(image % 3, 2)).tolist()]
        points = [Prediction(*rng.integers(0, 90, 2).tolist(), round(rng.random(), 1)) for _ in range(5)]
        predictions.append(points)
        annotations.append(boxes)
    slow = bootstrap_interval(
        lambda drawn: froc([predictions[i] for i in drawn], [annotations[i] for i in drawn]).mean, 12, repeats=100
    )
    fast = froc_interval([predictions], annotations, repeats=100)
    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), abs=1e-12)
    assert fast.low < froc(predictions, annotations).mean < fast.high
    assert math.isnan(froc_interval([[[], []]], [[], []], repeats=5).low)


def test_draws_of_two_detectors_are_of_the_same_images():
    """Found in the first image or in the second: on every resample the shares add up to 1 (one object an image)."""
    boxes = [[Rectangle(0, 0, 4, 4)]] * 2
    hit, miss = [Prediction(2, 2, 0.5)], [Prediction(9, 9, 0.5)]
    first, second = (froc_draws([each], boxes, rates=(8,), repeats=40, seed=5) for each in ([hit, miss], [miss, hit]))
    assert set(first) == {0, 0.5, 1}
    np.testing.assert_array_equal(first + second, 1)


def test_nothing_found_and_all_found_are_no_certainties():
    """Of 3 images with objects, and one without, in which nothing is found or everything."""
    annotations = [[BOX], [BOX, ROUND], [], [BOX]]
    all_found = [[Prediction(20, 30, 0.9)], [Prediction(20, 30, 0.9), Prediction(120, 30, 0.9)], [], []]
    all_found[3] = all_found[0]
    share = 0.025 ** (1 / 3)
    for predictions, expected in (([[], [], [], []], (0, 1 - share)), (all_found, (share, 1))):
        found = froc_interval([predictions], annotations, repeats=100)
        assert (found.low, found.high) == pytest.approx(expected)
