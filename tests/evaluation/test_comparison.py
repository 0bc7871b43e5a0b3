"""Paired comparisons: Holm by hand, p values against a t test and under no difference, and what NaN does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from cxrlens.evaluation.bootstrap import resampled_means, row_means
from cxrlens.evaluation.comparison import beats_best_baseline, compare_rows, compare_statistics, holm


def test_holm_by_hand():
    # sorted: .01 x 4 = .04; .02 x 3 = .06; .03 x 2 = .06; .5 x 1 = .5
    assert holm(np.array([0.03, 0.01, 0.5, 0.02])).tolist() == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
    adjusted = holm(np.array([math.nan, 0.02, 0.04]))
    assert math.isnan(adjusted[0])
    assert adjusted[1:].tolist() == pytest.approx([0.04, 0.04])
    assert holm(np.array([])).size == 0


def test_p_values_are_near_those_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.1, 0.2, 0.3):
        first, second = rng.normal(shift, 1, 200), rng.normal(0, 1, 200)
        (found,) = compare_rows([first, second], repeats=4000)
        expected = stats.ttest_rel(first, second)
        assert found.difference == pytest.approx(float(np.mean(first - second)))
        assert found.p_value == pytest.approx(expected.pvalue, abs=0.03)
        interval = expected.confidence_interval()
        assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high), abs=0.03)


def test_every_pair_once_and_corrected():
    rng = np.random.default_rng(1)
    base = rng.random(300) < 0.4
    rows = [base, base, rng.random(300) < 0.8]
    found = compare_rows(np.array(rows, dtype=float), repeats=2000)
    assert [(c.first, c.second) for c in found] == [(0, 1), (0, 2), (1, 2)]
    assert (found[0].difference, found[0].p_value, found[0].differs) == (0, 1, False)
    bound = 1 - 0.025 ** (1 / 300)  # of 300 images none differs
    assert (found[0].interval.low, found[0].interval.high) == pytest.approx((-bound, bound))
    assert found[1].differs
    assert found[2].differs
    assert found[1].adjusted == pytest.approx(3 / 2001)


def test_equal_rows_differ_at_the_stated_rate():
    rng = np.random.default_rng(2)
    wrong = sum(compare_rows(rng.normal(size=(2, 40)), repeats=400, seed=seed)[0].differs for seed in range(200))
    assert wrong <= 20  # 5 % of 200 is 10; 20 is beyond three standard deviations


def test_nan_is_left_out_pair_by_pair():
    values = np.array([[1.0, np.nan, 1, 1], [0, 5, np.nan, 1], [np.nan] * 4])
    first, second, third = compare_rows(values, repeats=100)
    assert first.difference == 0.5
    for empty in (second, third):
        assert math.isnan(empty.difference)
        assert math.isnan(empty.p_value)
        assert not empty.differs
    assert compare_rows([[1.0, 2.0]]) == []


def test_p_values_and_intervals_come_from_one_slow_loop():
    values = np.random.default_rng(4).random((3, 2, 20)).round(1)
    values[2] -= 0.1
    values[1, 0, 3] = np.nan
    found = compare_rows(values, repeats=300, seed=6)
    rng = np.random.default_rng(6)
    of_seeds = rng.spawn(1)[0].integers(2, size=(300, 2))
    of_images = [rng.integers(20, size=20) for _ in range(300)]
    p_values = []
    for comparison in found:
        gaps = values[comparison.first] - values[comparison.second]
        seen = np.mean([np.nanmean(gap) for gap in gaps])
        draws = np.array(
            [
                np.mean([np.nanmean(gaps[s][images]) for s in seeds])
                for seeds, images in zip(of_seeds, of_images, strict=True)
            ]
        )
        p_values.append((1 + (np.abs(draws - seen) >= abs(seen) - 1e-12).sum()) / 301)
        assert comparison.difference == pytest.approx(seen)
        assert (comparison.interval.low, comparison.interval.high) == pytest.approx(
            tuple(np.quantile(draws, [0.025, 0.975]))
        )
    assert [comparison.p_value for comparison in found] == pytest.approx(p_values)
    assert [comparison.adjusted for comparison in found] == pytest.approx(holm(np.array(p_values)).tolist())


def test_only_the_pairs_asked_for_are_compared_and_counted():
    values = np.random.default_rng(5).normal([[0.0], [0.3], [0.6], [0.1]], 1, size=(4, 80))
    every = {(c.first, c.second): c for c in compare_rows(values, repeats=500)}
    (alone,) = compare_rows(values, repeats=500, pairs=[(1, 3)])
    assert (alone.first, alone.second, alone.p_value) == (1, 3, every[1, 3].p_value)
    assert alone.adjusted == alone.p_value
    assert every[1, 3].adjusted > every[1, 3].p_value
    (turned,) = compare_rows(values, repeats=500, pairs=[(3, 1)])
    assert turned.difference == -alone.difference
    assert compare_rows(values, pairs=[]) == []


def test_means_given_as_statistics_compare_like_rows():
    """The last two rows are equal: nothing but the number of images bounds their difference."""
    values = np.random.default_rng(3).integers(0, 2, (4, 2, 30)).astype(float)
    values[3] = values[2]
    pairs = [(1, 0), (2, 0), (3, 2)]
    draws = resampled_means(values, repeats=500, seed=7)
    found = compare_statistics(row_means(values), draws, pairs=pairs, n=30)
    expected = compare_rows(values, repeats=500, seed=7, pairs=pairs)
    for one, other in zip(found, expected, strict=True):
        assert (one.first, one.second) == (other.first, other.second)
        assert one.difference == pytest.approx(other.difference)
        assert one.interval.low == pytest.approx(other.interval.low, abs=0.02)  # draws of differences are clipped
        assert one.interval.high == pytest.approx(other.interval.high, abs=0.02)
        assert one.p_value == pytest.approx(other.p_value, abs=0.05)
    assert (found[2].difference, found[2].p_value) == (0, 1)
    assert found[2].interval.high == pytest.approx(1 - 0.025 ** (1 / 30))
    assert compare_statistics(row_means(values), draws, pairs=[], n=30) == []


def test_one_seed_compares_like_none():
    values = np.random.default_rng(6).random((3, 30))
    assert compare_rows(values[:, None], repeats=200) == compare_rows(values, repeats=200)


def test_a_row_must_be_clearly_above_the_best_baseline():
    rng = np.random.default_rng(7)
    chance = np.full(200, 0.3)  # expected values, no sample
    centre = (rng.random(200) < 0.5).astype(float)
    missing = np.full(200, np.nan)
    rows = np.array([rng.random(200) < p for p in (0.9, 0.5, 0.2, 0.4)], dtype=float)
    found = beats_best_baseline(rows, [chance, missing, centre], repeats=2000)
    assert [c.row for c in found] == [0, 1, 2, 3]
    assert {c.baseline for c in found} == {2}
    assert [c.beats for c in found] == [True, False, False, False]
    for row, comparison in zip(rows, found, strict=True):
        expected = stats.ttest_rel(row, centre, alternative="greater").pvalue
        assert comparison.p_value == pytest.approx(expected, abs=0.05)  # means of hits are discrete
        assert comparison.difference == pytest.approx(float(np.mean(row - centre)))
        assert comparison.interval.low < comparison.difference < comparison.interval.high
    p_values = np.array([c.p_value for c in found])
    assert [c.adjusted for c in found] == pytest.approx(holm(p_values).tolist())
    seeds = np.stack([rows, rows], axis=1)
    assert [c.difference for c in beats_best_baseline(seeds, [chance, centre], repeats=50)] == pytest.approx(
        [c.difference for c in found]
    )


def test_a_row_equal_to_its_baseline_or_without_values_does_not_beat_it():
    values = np.array([[1.0, 0, 1, 0], [np.nan] * 4])
    same, empty = beats_best_baseline(values, [[1.0, 0, 1, 0]], repeats=100)
    assert (same.difference, same.p_value, same.beats) == (0, 1, False)
    assert math.isnan(empty.p_value)
    assert not empty.beats


def test_no_better_than_the_baseline_is_marked_at_the_stated_rate():
    rng = np.random.default_rng(8)
    rows, baseline = rng.normal(size=(400, 60)), rng.normal(size=60)
    wrong = sum(beats_best_baseline(row[None], (row + rng.permutation(baseline))[None], repeats=300)[0].beats
                for row in rows)  # fmt: skip
    assert wrong <= 33  # 5 % of 400 is 20; 33 is three standard deviations above


@pytest.mark.parametrize("baselines", [np.ones(4), np.ones((1, 3)), np.full((2, 4), np.nan), np.empty((0, 4))])
def test_baselines_that_do_not_fit_are_refused(baselines: np.ndarray):
    with pytest.raises(ValueError, match="baseline"):
        beats_best_baseline(np.ones((2, 4)), baselines)
