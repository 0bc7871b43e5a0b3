"""Intervals of proportions: ends from binomial tails by hand, coverage counted exactly, and what seeds and NaN do."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from scipy.stats import binom

from cxrlens.evaluation.bootstrap import Floats, Interval, bootstrap_means
from cxrlens.evaluation.proportions import (
    alike_interval,
    bounded_where_alike,
    clopper_pearson,
    clopper_pearson_interval,
    melded_interval,
    proportion_intervals,
)


def at_most(hits: int, n: int, share: float) -> float:
    """Probability of so many hits or fewer, by adding up."""
    return sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(hits + 1))


def test_none_and_all_by_hand():
    """0 of 10: the share at which none of 10 has the probability 0.025, (1 - p)^10 = 0.025."""
    bound = 1 - 0.025**0.1  # 0.3085
    found = clopper_pearson_interval(0, 10)
    assert (found.low, found.high) == (0, pytest.approx(bound))
    found = clopper_pearson_interval(10, 10)
    assert (found.low, found.high) == (pytest.approx(1 - bound), 1)
    assert clopper_pearson_interval(0, 1).high == pytest.approx(0.975)
    assert math.isnan(clopper_pearson_interval(0, 0).low)


@pytest.mark.parametrize(("hits", "n"), [(1, 40), (5, 9), (39, 40), (83, 100)])
def test_the_ends_are_where_a_tail_has_half_of_the_rest(hits: int, n: int):
    found = clopper_pearson_interval(hits, n)
    assert at_most(hits, n, found.high) == pytest.approx(0.025)
    assert 1 - at_most(hits - 1, n, found.low) == pytest.approx(0.025)
    low, high = clopper_pearson(hits, n, confidence=0.8)
    assert at_most(hits, n, float(high)) == pytest.approx(0.1)
    assert 1 - at_most(hits - 1, n, float(low)) == pytest.approx(0.1)


def test_it_holds_the_truth_wherever_that_lies():
    shares = np.concatenate([np.geomspace(1e-4, 0.1, 60), np.linspace(0.1, 0.5, 60)])
    for n in (3, 10, 40):
        lows, highs = clopper_pearson(np.arange(n + 1), np.full(n + 1, n))
        holds = (lows <= shares[:, None]) & (shares[:, None] <= highs)
        assert (binom.pmf(np.arange(n + 1), n, shares[:, None]) * holds).sum(axis=1).min() >= 0.95


def test_rare_hits_are_covered_where_the_bootstrap_fails():
    """2 in 100 are hits: of 40 images none is one nearly half of the time, and the bootstrap then says 0 to 0."""
    samples = (np.random.default_rng(0).random((2000, 40)) < 0.02).astype(np.float64)
    for intervals, least, most in ((proportion_intervals, 0.93, 1.0), (bootstrap_means, 0.4, 0.65)):
        lows, highs = intervals(samples)
        assert least <= np.mean((lows <= 0.02) & (highs >= 0.02)) <= most


def test_rows_of_one_training_and_what_is_not_applicable():
    values = np.array([[1, 0, 0, np.nan], [0, 0, 0, 0], [np.nan] * 4])
    lows, highs = proportion_intervals(values)
    for row, (hits, n) in enumerate(((1, 3), (0, 4))):
        expected = clopper_pearson_interval(hits, n)
        assert (lows[row], highs[row]) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert np.isnan([lows[2], highs[2]]).all()
    assert np.array_equal(proportion_intervals(values[:, None]), (lows, highs), equal_nan=True)
    for empty in (np.empty((2, 0)), np.empty((2, 3, 0))):
        assert np.isnan(proportion_intervals(empty)).all()
    for none in (np.empty((0, 3)), np.empty((0, 2, 3))):
        assert np.shape(proportion_intervals(none)) == (2, 0)


def test_more_trainings_are_not_more_images():
    misses = np.zeros((1, 3, 10))
    assert proportion_intervals(misses)[1][0] == pytest.approx(1 - 0.025**0.1)
    alike = np.repeat((np.arange(40) < 6)[None, None].astype(np.float64), 3, axis=1)
    lows, highs = proportion_intervals(alike)
    alone = clopper_pearson_interval(6, 40)
    assert lows[0] <= alone.low == pytest.approx(lows[0], rel=0.1)
    assert highs[0] >= alone.high == pytest.approx(highs[0], rel=0.05)


def test_trainings_that_disagree_count_as_few_images():
    """All hits and all misses: a resample's share is 0, 1/2 or 1, of variance 1/8, that of 2 images (1/4 / 1/8)."""
    values = np.stack([np.ones(20), np.zeros(20)])[None]
    expected = clopper_pearson_interval(1, 2)
    (low,), (high,) = proportion_intervals(values, repeats=20_000)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.005)
    assert proportion_intervals(values, seed=1)[0] != proportion_intervals(values, seed=2)[0]


def test_trainings_with_images_of_their_own():
    """1 and 4 images: the standard deviations 1 and 1/2 have the mean 3/4, that of 16 / 9 images."""
    values = np.full((1, 3, 5), np.nan)
    values[0, 0, 0] = values[0, 1, 1:] = 0
    assert proportion_intervals(values)[1][0] == pytest.approx(1 - 0.025 ** (9 / 16))


def test_intervals_over_trainings_and_images_hold_the_truth():
    """Trainings whose own share lies around 4 in 100: the truth is the mean over all trainings there could be."""
    rng = np.random.default_rng(1)
    own = rng.choice([0.02, 0.06], size=(300, 4))
    hits = (rng.random((300, 4, 50)) < own[:, :, None]).astype(np.float64)
    lows, highs = proportion_intervals(hits, repeats=300)
    assert np.mean((lows <= 0.04) & (highs >= 0.04)) >= 0.93


@pytest.mark.parametrize("values", [np.full((1, 3), 0.5), np.ones(3), np.full((1, 2), np.inf), np.full((1, 2), -1.0)])
def test_what_is_no_outcome_is_refused(values: Floats):
    with pytest.raises(ValueError, match="0, 1 or NaN"):
        proportion_intervals(values)


def product(first: Floats, second: Floats) -> Floats:
    return first * second


def test_a_score_of_one_share_alone_has_its_interval():
    for hits, n in ((0, 9), (3, 55), (9, 9)):
        expected = clopper_pearson_interval(hits, n)
        for found in (
            melded_interval(lambda one, other: one + 0 * other, (hits, n), (2, 7)),
            melded_interval(lambda other, one: one + 0 * other, (2, 7), (hits, n)),
        ):
            assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-3)


def test_the_product_of_two_perfect_shares_by_hand():
    """The lower ends are U^(1/n) with U even on (0, 1); U V lies below t with probability t - t log t."""
    found = melded_interval(product, (12, 12), (12, 12))
    t = found.low**12
    assert t - t * math.log(t) == pytest.approx(0.025, rel=0.02)
    assert found.high == 1


def test_melded_intervals_hold_the_truth_wherever_it_lies():
    """The predictive value of 8 affected and 10 normal images at a prevalence of 10 %, by counting all outcomes."""

    def predictive(sensitivity: Floats, specificity: Floats) -> Floats:
        return 0.1 * sensitivity / (0.1 * sensitivity + 0.9 * (1 - specificity))

    @cache
    def interval(found: int, kept: int) -> Interval:
        return melded_interval(predictive, (found, 8), (kept, 10))

    for sensitivity in (0.1, 0.5, 0.8, 0.97):
        for specificity in (0.05, 0.5, 0.9, 0.97, 0.995):
            truth = predictive(np.float64(sensitivity), np.float64(specificity))
            held = sum(
                binom.pmf(found, 8, sensitivity) * binom.pmf(kept, 10, specificity)
                for found in range(9)
                for kept in range(11)
                if interval(found, kept).low <= truth <= interval(found, kept).high
            )
            assert held >= 0.949, (sensitivity, specificity)


def test_values_that_are_all_alike():
    """Of 20, a share of 0.025^(1/20) = 0.8316 at least is alike everywhere; the rest may be at either bound."""
    share = 0.025 ** (1 / 20)
    for value, expected in ((1, (share, 1)), (0, (0, 1 - share)), (0.5, (0.5 * share, 1 - 0.5 * share))):
        found = alike_interval(value, 20)
        assert (found.low, found.high) == pytest.approx(expected)


def test_only_rows_in_which_all_images_differ_alike_are_widened():
    """A share s = 0.025^(1/3) of 0.292 at least is like the 3 images; the rest may differ by 1 either way."""
    values = np.array([[0.0, 0, 0, np.nan], [0, 0, -1, 0], [np.nan] * 4, [1, np.nan, 1, 1], [np.nan, -0.5, -0.5, -0.5]])
    given = np.array([0.0, -0.1, np.nan, 1, -0.5]), np.array([0.0, 0.3, np.nan, 1, -0.5])
    share = 0.025 ** (1 / 3)
    for table in (values, np.repeat(values[:, None], 3, axis=1)):
        lows, highs = bounded_where_alike(table, given)
        np.testing.assert_allclose(lows, [share - 1, -0.1, np.nan, 2 * share - 1, 0.5 * share - 1])
        np.testing.assert_allclose(highs, [1 - share, 0.3, np.nan, 1, 1 - 1.5 * share])


def test_one_image_says_nothing_of_a_difference():
    lows, highs = bounded_where_alike(np.array([[-1.0]]), (np.array([-1.0]), np.array([-1.0])))
    assert (lows[0], highs[0]) == pytest.approx((-1, 0.95))  # 1 - 2 * 0.025
