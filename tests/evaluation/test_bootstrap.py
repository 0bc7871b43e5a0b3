"""Bootstrap intervals against scipy, the normal theory and each other, and their defined edge cases."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from cxrlens.evaluation.bootstrap import Interval, bootstrap_interval, bootstrap_means


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
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


@pytest.mark.parametrize("values", [np.ones(3), np.array([[1.0, np.inf]])])
def test_wrong_values_are_refused(values: np.ndarray):
    with pytest.raises(ValueError, match="values"):
        bootstrap_means(values)
