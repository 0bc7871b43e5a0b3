"""Temperature scaling against known temperatures and scikit-learn, and the scores of calibration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from cxrlens.calibration.probabilities import (
    FOLDS,
    TEMPERATURES,
    at_temperature_bound,
    calibration_scores,
    fit_temperature,
    folds,
    held_out_log_odds,
    negative_log_likelihood,
)


def simulated(n: int, *, temperature: float = 1.0, shift: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn with log-odds raw / temperature + shift, and raw."""
    rng = np.random.default_rng(seed)
    right = rng.normal(0, 2, size=n)
    labels = (rng.random(n) < expit(right)).astype(np.intp)
    return labels, temperature * (right - shift)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("shift", [0.0, -1.5])
def test_a_known_temperature_is_found(temperature: float, shift: float):
    labels, raw = simulated(40_000, temperature=temperature, shift=shift)
    assert fit_temperature(labels, raw, shift=shift) == pytest.approx(temperature, rel=0.03)


def test_the_temperature_is_the_inverse_slope_of_logistic_regression_through_the_origin():
    labels, raw = simulated(300, temperature=1.7, seed=3)
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000).fit(raw[:, None], labels)
    assert fit_temperature(labels, raw) == pytest.approx(1 / float(model.coef_[0, 0]), rel=1e-4)


@given(st.integers(0, 10_000), st.floats(-2, 2))
def test_the_likelihood_is_flat_at_the_temperature(seed: int, shift: float):
    labels, raw = simulated(60, temperature=2.0, seed=seed)
    temperature = fit_temperature(labels, raw, shift=shift)
    slope = np.mean((expit(raw / temperature + shift) - labels) * raw)
    if at_temperature_bound(temperature):
        assert slope > -1e-3 if temperature > 1 else slope < 1e-3  # in 1 / temperature; it would go on beyond the end
    else:
        assert slope == pytest.approx(0, abs=1e-4)


def test_separated_and_useless_log_odds_end_at_the_bounds():
    labels = np.repeat([0, 1], 20)
    separated = np.where(labels == 1, 1.0, -1.0)
    assert fit_temperature(labels, separated) == pytest.approx(TEMPERATURES[0], rel=1e-4)
    assert fit_temperature(labels, -separated) == pytest.approx(TEMPERATURES[1], rel=1e-4)
    assert at_temperature_bound(fit_temperature(labels, separated))
    assert not at_temperature_bound(fit_temperature(*simulated(500)))


def test_scores_agree_with_scikit_learn():
    labels, raw = simulated(400, temperature=2.5, seed=1)
    found, probabilities = calibration_scores(labels, raw), expit(raw)
    assert found.nll == pytest.approx(log_loss(labels, probabilities))
    assert found.brier == pytest.approx(brier_score_loss(labels, probabilities))
    assert found.mean_probability == pytest.approx(probabilities.mean())
    bins = np.digitize(probabilities, np.linspace(0, 1, 16)[1:-1])
    gaps = [abs((probabilities - labels)[bins == each].sum()) for each in range(15)]
    assert found.ece == pytest.approx(sum(gaps) / 400)


def test_the_likelihood_is_exact_where_probabilities_are_not():
    assert negative_log_likelihood(np.array([0, 1]), np.array([900.0, 2.0])) == pytest.approx(
        (900 + np.log1p(np.exp(-2))) / 2
    )
    assert np.isnan(calibration_scores(np.array([0, 1]), np.array([-900.0, 900.0])).offset)


def test_the_offset_counts_standard_deviations():
    labels = np.repeat([0, 1], [90, 10])
    assert calibration_scores(labels, np.full(100, logit(0.1))).offset == pytest.approx(0, abs=1e-9)
    assert calibration_scores(labels, np.full(100, logit(0.2))).offset == pytest.approx(-10 / 4)
    draws = [calibration_scores(*simulated(200, seed=seed)).offset for seed in range(300)]
    assert np.std(draws) == pytest.approx(1, abs=0.15)
    assert abs(np.mean(draws)) < 0.25


@pytest.mark.parametrize(("normal", "affected", "count"), [(40, 25, FOLDS), (40, 3, 3), (2, 30, 2)])
def test_each_image_is_held_out_once_and_every_rest_has_both_classes(normal: int, affected: int, count: int):
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1], [normal, affected]))
    parts = folds(labels, seed=4)
    assert len(parts) == count
    assert sorted(np.concatenate([part for _, part in parts]).tolist()) == list(range(normal + affected))
    for rest, part in parts:
        assert set(labels[rest]) == {0, 1}
        assert not set(rest) & set(part)


def test_held_out_log_odds_use_the_other_parts_alone():
    labels, raw = simulated(83, temperature=2.0, seed=5)
    found = held_out_log_odds(labels, raw, shift=0.3, seed=6)
    temperatures = set()
    for rest, part in folds(labels, seed=6):
        temperature = fit_temperature(labels[rest], raw[rest], shift=0.3)
        temperatures.add(temperature)
        np.testing.assert_allclose(found[part], raw[part] / temperature + 0.3)
    assert len(temperatures) == FOLDS
    assert found.std() > 0


def test_temperature_mends_confidence_and_leaves_the_order():
    labels, raw = simulated(2000, temperature=4.0, seed=8)
    before, after = (calibration_scores(labels, odds) for odds in (raw, held_out_log_odds(labels, raw)))
    assert after.nll < before.nll
    assert after.ece < before.ece / 2
    assert roc_auc_score(labels, raw / fit_temperature(labels, raw)) == roc_auc_score(labels, raw)
