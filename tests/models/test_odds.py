"""The calibrated log-odds against Elkan's formula on probabilities, and in every number type."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cxrlens.models.odds import calibrated_log_odds, log_odds, prior_shift

shares = st.floats(0.001, 0.999)


@given(shares, shares, shares)
def test_the_shift_is_elkans_theorem(p: float, source: float, prevalence: float):
    """p' = b' (p - p b) / (b - p b + b' p - b b'), for base rates b and b'."""
    expected = prevalence * (p - p * source) / (source - p * source + prevalence * p - source * prevalence)
    found = 1 / (1 + math.exp(-calibrated_log_odds(log_odds(p), 1.0, prior_shift(source, prevalence))))
    assert found == pytest.approx(expected, rel=1e-9)


@given(shares, shares)
def test_the_way_back_is_the_opposite(source: float, prevalence: float):
    assert prior_shift(source, prevalence) == pytest.approx(-prior_shift(prevalence, source), abs=1e-12)
    assert prior_shift(source, source) == 0


def test_the_posterior_of_two_normal_classes_at_another_prevalence():
    """Classes N(0, 1) and N(2, 1): the log-odds at share s are 2 x - 2 + ln(s / (1 - s))."""
    x = np.linspace(-3, 5, 9)
    raw = 2 * x - 2 + math.log(0.3 / 0.7)
    density = [np.exp(-((x - mean) ** 2) / 2) for mean in (0, 2)]
    expected = 0.04 * density[1] / (0.04 * density[1] + 0.96 * density[0])
    found = 1 / (1 + np.exp(-calibrated_log_odds(raw, 1.0, prior_shift(0.3, 0.04))))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_numbers_arrays_and_tensors_agree():
    values = [-3.0, 0.0, 7.5]
    expected = [value / 2 + 0.25 for value in values]
    assert [calibrated_log_odds(value, 2.0, 0.25) for value in values] == expected
    assert calibrated_log_odds(np.array(values), 2.0, 0.25).tolist() == expected
    assert calibrated_log_odds(torch.tensor(values), 2.0, 0.25).tolist() == expected
