"""Bootstrap intervals against scipy, the normal theory and each other, and their defined edge cases."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from cxrlens.evaluation.bootstrap import (
    Interval,
    _product,
    bootstrap_interval,
    bootstrap_means,
    resampled_means,
    row_means,
)
from unwarned import no_warnings


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with no_warnings():
        yield


def test_interval_of_a_median_agrees_with_scipy():
    values = np.random.default_rng(1).gamma(2.0, size=120)
    ours = bootstrap_interval(lambda drawn: float(np.median(values[drawn])), values.size, repeats=4000)
    scipys = stats.bootstrap(
        (values,), np.median, n_resamples=4000, method="percentile", random_state=np.random.default_rng(2)
    ).confidence_interval
    width = scipys.high - scipys.low
    assert ours.low == pytest.approx(scipys.low, abs=0.1 * width)
    assert ours.high == pytest.approx(scipys.high, abs=0.1 * width)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_mean_intervals_follow_the_normal_theory(confidence: float):
    values = np.random.default_rng(0).normal(3.0, 2.0, size=(1, 500))
    lows, highs = bootstrap_means(values, repeats=8000, confidence=confidence)
    half = stats.norm.ppf(0.5 + confidence / 2) * values.std() / np.sqrt(500)
    assert lows[0] == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert highs[0] == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_intervals_cover_the_true_mean_as_often_as_they_say():
    samples = np.random.default_rng(4).random((250, 60))
    covered = 0
    for seed, sample in enumerate(samples):
        lows, highs = bootstrap_means(sample[None], repeats=250, confidence=0.9, seed=seed)
        covered += bool(lows[0] <= 0.5 <= highs[0])
    assert stats.binomtest(covered, 250, 0.9).pvalue > 1e-3


def test_rows_share_the_resamples_of_bootstrap_interval(monkeypatch: pytest.MonkeyPatch):
    values = np.random.default_rng(3).normal(size=(4, 37))
    values[1, ::3] = np.nan
    values[2, 5:] = np.nan  # some resamples hold none of the five values that are left
    values[3] = 2 * values[0] + 1
    lows, highs = bootstrap_means(values, repeats=300, seed=9)
    for row, low, high in zip(values, lows, highs, strict=True):

        def mean(drawn: np.ndarray, row: np.ndarray = row) -> float:
            left = row[drawn][~np.isnan(row[drawn])]
            return float(left.mean()) if left.size else np.nan

        loop = bootstrap_interval(mean, 37, repeats=300, seed=9)
        assert (loop.low, loop.high) == pytest.approx((low, high), abs=1e-12)
    assert lows[3] == pytest.approx(2 * lows[0] + 1)
    monkeypatch.setattr("cxrlens.evaluation.bootstrap._BLOCK", 37 * 7)  # 300 is no multiple of 7
    assert np.allclose(bootstrap_means(values, repeats=300, seed=9), (lows, highs), atol=1e-12)


def test_seed_decides_the_resamples():
    values = np.random.default_rng(0).normal(size=(1, 50))
    first, again, other = (bootstrap_means(values, repeats=200, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_strata_keep_their_sizes():
    strata = np.array(["b", "a", "b", "c", "b"])
    seen = []

    def record(drawn: np.ndarray) -> float:
        assert drawn.shape == (5,)
        assert sorted(strata[drawn]) == ["a", "b", "b", "b", "c"]
        seen.append(tuple(sorted(drawn)))
        return 0.0

    bootstrap_interval(record, 5, repeats=300, strata=strata)
    assert len(set(seen)) == 10  # multisets of size 3 of the three images of b


def test_strata_of_another_length_are_refused():
    with pytest.raises(ValueError, match="strata"):
        bootstrap_interval(lambda drawn: 0.0, 5, strata=np.zeros(4))


def test_without_images_the_interval_is_nan():
    interval = bootstrap_interval(lambda drawn: 1 / len(drawn), 0)
    assert np.isnan([interval.low, interval.high]).all()
    assert np.isnan(bootstrap_means(np.empty((3, 0)))).all()
    assert bootstrap_means(np.empty((0, 3)))[0].shape == (0,)
    assert np.isnan(bootstrap_means(np.empty((3, 0, 5)))).all()


def test_constant_values_give_a_degenerate_interval():
    assert bootstrap_interval(lambda drawn: float([0.3][drawn[0]]), 1) == Interval(0.3, 0.3)
    values = np.full((3, 1000), 0.1)
    values[1, 1:] = np.nan
    values[2] = np.nan
    lows, highs = bootstrap_means(values, repeats=100)
    assert lows[:2].tolist() == highs[:2].tolist() == [0.1, 0.1]
    assert np.isnan([lows[2], highs[2]]).all()


def test_undefined_resamples_are_left_out():
    interval = bootstrap_interval(lambda drawn: np.nan if drawn[0] == 0 else float(drawn[0]), 2, repeats=50)
    assert interval == Interval(1.0, 1.0)
    nowhere = bootstrap_interval(lambda drawn: np.nan, 3, repeats=10)
    assert np.isnan([nowhere.low, nowhere.high]).all()


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, np.nan])
def test_confidence_is_a_share(confidence: float):
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_means(np.ones((1, 3)), confidence=confidence)


def test_several_seeds_equal_a_slow_loop(monkeypatch: pytest.MonkeyPatch):
    values = np.random.default_rng(0).random((3, 4, 23))
    values[1, 2, 3:9] = np.nan
    values[2, 1, 2:] = np.nan  # some resamples hold nothing of this seed
    monkeypatch.setattr("cxrlens.evaluation.bootstrap._BLOCK", 23 * 7)
    found = resampled_means(values, repeats=50, seed=5)
    rng = np.random.default_rng(5)
    of_seeds = rng.spawn(1)[0].integers(4, size=(50, 4))
    skipped = 0
    for draw in range(50):
        images = rng.integers(23, size=23)
        for row in range(3):
            of_row = []
            for drawn in of_seeds[draw]:
                left = values[row, drawn, images][~np.isnan(values[row, drawn, images])]
                of_row += [left.mean()] if left.size else []
                skipped += not left.size
            assert found[draw, row] == pytest.approx(np.mean(of_row), abs=1e-12)
    assert skipped
    assert row_means(values)[1] == pytest.approx(np.mean([np.nanmean(one) for one in values[1]]))


def test_one_seed_gives_the_very_intervals_of_none():
    values = np.random.default_rng(3).normal(size=(4, 37))
    values[1, ::3] = np.nan
    values[2] = np.nan
    assert np.array_equal(bootstrap_means(values[:, None]), bootstrap_means(values), equal_nan=True)
    assert np.array_equal(row_means(values[:, None]), row_means(values), equal_nan=True)
    assert np.isnan(row_means(values)).tolist() == [False, False, True, False]


def test_rows_share_the_drawn_seeds_and_their_spread_widens_the_interval():
    seeds = np.array([0.2, 0.5, 0.9])
    values = np.repeat(seeds[:, None], 50, axis=1)[None].repeat(2, axis=0)
    values[1] += 0.1
    draws = resampled_means(values, repeats=4000, seed=0)
    assert draws[:, 1] - draws[:, 0] == pytest.approx(0.1)
    assert draws[:, 0].var() == pytest.approx(seeds.var() / 3, rel=0.1)
    lows, highs = bootstrap_means(values)
    assert (lows[0], highs[0]) == pytest.approx((0.2, 0.9))


def test_a_detector_of_known_hit_probability_is_covered():
    hits = np.random.default_rng(6).random((500, 300)) < 0.85  # 500 simulated data sets, one a row
    lows, highs = bootstrap_means(hits, repeats=400)
    covered = int(((lows <= 0.85) & (highs >= 0.85)).sum())
    assert stats.binomtest(covered, 500, 0.95).pvalue > 1e-3


def test_several_trainings_on_the_same_images_are_covered():
    rng = np.random.default_rng(7)
    difficulty = rng.beta(0.85, 0.15, size=(500, 1, 300))  # an image is easy or hard for every training; mean 0.85
    hits = (rng.random((500, 3, 300)) < difficulty).astype(float)
    lows, highs = bootstrap_means(hits, repeats=400)
    covered = int(((lows <= 0.85) & (highs >= 0.85)).sum())
    assert stats.binomtest(covered, 500, 0.95).pvalue > 1e-3
    lows, highs = bootstrap_means(hits.reshape(500, 900), repeats=400)  # taking them for 900 images is too sure
    covered = int(((lows <= 0.85) & (highs >= 0.85)).sum())
    assert stats.binomtest(covered, 500, 0.95, alternative="less").pvalue < 1e-9


def test_trainings_of_different_skill_are_covered_when_there_are_many():
    rng = np.random.default_rng(8)
    skill, difficulty = rng.normal(0, 0.03, size=(500, 12, 1)), rng.normal(0, 0.2, size=(500, 1, 100))
    scores = 0.6 + skill + difficulty + rng.normal(0, 0.1, size=(500, 12, 100))
    lows, highs = bootstrap_means(scores, repeats=400)
    covered = int(((lows <= 0.6) & (highs >= 0.6)).sum())
    assert stats.binomtest(covered, 500, 0.95).pvalue > 1e-3


@pytest.mark.parametrize("values", [np.ones(3), np.array([[1.0, np.inf]]), np.ones((1, 1, 1, 1))])
def test_wrong_values_are_refused(values: np.ndarray):
    with pytest.raises(ValueError, match="values"):
        bootstrap_means(values)


@pytest.mark.parametrize("largest", [1.0, 1e-300, 3e200, 0.0])
def test_the_sums_do_not_depend_on_the_order_in_which_a_blas_adds(largest: float) -> None:
    rng = np.random.default_rng(0)
    values = largest * rng.normal(size=(5, 700)) * 10.0 ** rng.integers(-6, 1, size=(5, 700))
    counts = np.stack([np.bincount(rng.integers(700, size=700), minlength=700) for _ in range(40)]).astype(np.float64)
    exact = [[math.fsum(np.repeat(row, count.astype(int))) for row in values] for count in counts]
    found = _product(counts, values)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-16 * 700 * largest)
    for _ in range(10):
        order = rng.permutation(700)
        assert np.array_equal(_product(counts[:, order], values[:, order]), found)
    for part in (counts[:1], counts[:7]):  # another block of resamples, by other code of the BLAS
        assert np.array_equal(_product(part, values), found[: len(part)])
