"""Calibration of probabilities: temperature scaling by maximum likelihood, and scores of agreement."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.model_selection import StratifiedKFold

from cxrlens.evaluation.bootstrap import Floats, Indices
from cxrlens.evaluation.classification import Labels, expected_calibration_error
from cxrlens.models.odds import calibrated_log_odds

TEMPERATURES = (0.05, 20.0)  # beyond these a probability is a mere yes or no, or a mere prevalence
FOLDS = 10


@dataclass(frozen=True)
class CalibrationScores:
    """Agreement of probabilities with labels; small is good, but for the mean.

    Attributes:
        nll: mean negative log-likelihood of the labels, in nats.
        brier: mean squared difference of probability and label.
        ece: expected calibration error, see `expected_calibration_error`.
        mean_probability: to be compared with the share of affected images.
        offset: (affected images - their expected number) / its standard deviation, were the probabilities right;
            beyond +-3 they are too low (positive) or too high as a whole. NaN where every probability is 0 or 1.
    """

    nll: float
    brier: float
    ece: float
    mean_probability: float
    offset: float


def calibration_scores(labels: Labels, log_odds: Floats) -> CalibrationScores:
    """The scores of log-odds [n] of affected against labels [n] (1 = affected), n > 0."""
    probabilities = expit(log_odds)
    spread = math.sqrt(float((probabilities * (1 - probabilities)).sum()))
    surplus = float((labels - probabilities).sum())
    return CalibrationScores(
        nll=negative_log_likelihood(labels, log_odds),
        brier=float(np.mean((probabilities - labels) ** 2)),
        ece=expected_calibration_error(labels, probabilities),
        mean_probability=float(probabilities.mean()),
        offset=surplus / spread if spread else math.nan,
    )


def negative_log_likelihood(labels: Labels, log_odds: Floats) -> float:
    """Mean over images of -ln(probability of the image's own class), exact also where that probability is tiny."""
    return float(np.logaddexp(0, np.where(labels == 1, -log_odds, log_odds)).mean())


def fit_temperature(labels: Labels, log_odds: Floats, *, shift: float = 0.0) -> float:
    """The temperature that makes the labels likeliest (Guo et al., ICML 2017), within `TEMPERATURES`.

    The likelihood is concave in 1 / temperature, so there is one maximum. It lies at the lower end where the sign of
    the log-odds is right for every image, or all are next to 0, and at the upper end where they tell nothing.

    Args:
        labels: [n], 1 = affected; both classes occur.
        log_odds: [n], of the network.
        shift: is added after the division, see `calibrated_log_odds`.
    """

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(labels, calibrated_log_odds(log_odds, math.exp(log_temperature), shift))

    bounds = (math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1]))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    return math.exp(float(found.x))


def at_temperature_bound(temperature: float) -> bool:
    """True where the likelihood was still rising at an end of `TEMPERATURES`."""
    return any(math.isclose(temperature, bound, rel_tol=1e-4) for bound in TEMPERATURES)


def folds(labels: Labels, *, seed: int) -> list[tuple[Indices, Indices]]:
    """(rest, held out) indices of up to `FOLDS` parts with the classes' shares; each image is held out once.

    Args:
        labels: [n]; both classes occur at least twice.
    """
    count = min(FOLDS, int(labels.sum()), int((1 - labels).sum()))
    splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(labels.size), labels))


def held_out_log_odds(labels: Labels, log_odds: Floats, *, shift: float = 0.0, seed: int = 0) -> Floats:
    """Calibrated log-odds [n], each image's with a temperature fitted to the other `folds` alone."""
    held_out = np.empty_like(log_odds)
    for rest, part in folds(labels, seed=seed):
        temperature = fit_temperature(labels[rest], log_odds[rest], shift=shift)
        held_out[part] = calibrated_log_odds(log_odds[part], temperature, shift)
    return held_out
