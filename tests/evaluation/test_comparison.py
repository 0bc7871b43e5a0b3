"""Paired comparisons: Holm by hand, p values against a t test and under no difference, and what NaN does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from cxrlens.evaluation.comparison import compare_rows, holm


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
