"""Scores of the two-class decision "affected or normal", with a bootstrap interval of the AUC."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from sklearn import metrics

from cxrlens.errors import ArgumentError
from cxrlens.evaluation.bootstrap import Floats, Indices, Interval, bootstrap_interval
from cxrlens.evaluation.proportions import alike_interval, clopper_pearson_interval

Labels: TypeAlias = npt.NDArray[np.intp]
Confusion: TypeAlias = tuple[tuple[int, int], tuple[int, int]]

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class ClassificationScores:
    """Scores in [0, 1] with "affected" as the positive class; NaN where a score is undefined.

    Attributes:
        n: number of images.
        n_affected: number of images whose label is affected.
        threshold: an image is called affected when its probability is at least this.
        accuracy: share of right decisions.
        auc: area under the ROC curve; NaN when one class is missing.
        auc_interval: see `auc_interval`.
        average_precision: area under the precision-recall steps; NaN when one class is missing.
        sensitivity: share of affected images called affected; NaN without affected images.
        specificity: share of normal images called normal; NaN without normal images.
        precision: share of images called affected that are; NaN when none is called affected.
        f1: harmonic mean of precision and sensitivity, 2 TP / (2 TP + FP + FN); NaN when that is 0 / 0.
        confusion: counts, rows true (normal, affected), columns predicted (normal, affected).
        brier: mean squared difference of probability and label.
        ece: expected calibration error, see `expected_calibration_error`.
    """

    n: int
    n_affected: int
    threshold: float
    accuracy: float
    auc: float
    auc_interval: Interval
    average_precision: float
    sensitivity: float
    specificity: float
    precision: float
    f1: float
    confusion: Confusion
    brier: float
    ece: float

    def intervals(self) -> dict[str, Interval]:
        """The 95 % intervals of scores by name, of shares of images Clopper and Pearson's; NaN where the score is."""
        (true_normal, _), (_, true_affected) = self.confusion
        shares = {
            "accuracy": (true_normal + true_affected, self.n),
            "sensitivity": (true_affected, self.n_affected),
            "specificity": (true_normal, self.n - self.n_affected),
        }
        return {"auc": self.auc_interval} | {name: clopper_pearson_interval(*share) for name, share in shares.items()}

    def to_dict(self) -> dict[str, Any]:
        """The scores as plain values for JSON; NaN becomes None, the interval {"low": ..., "high": ...}."""
        plain: dict[str, Any] = _nan_to_none(asdict(self))
        return plain


def classification_scores(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    threshold: float = 0.5,
    bootstrap_repeats: int = 2000,
    seed: int = 0,
) -> ClassificationScores:
    """Score the probabilities of "affected" against the labels.

    Args:
        labels: [n], 1 = affected, 0 = normal.
        probabilities: [n], in [0, 1], of affected.
        threshold: an image is called affected when its probability is at least this.
        bootstrap_repeats: number of resamples for the AUC's interval.
        seed: of the resamples.

    Raises:
        ArgumentError: when there is no image, the lengths differ, a label is neither 0 nor 1, or a probability
            is NaN or outside [0, 1].
    """
    truth, scores = _checked(labels, probabilities)
    called = (scores >= threshold).astype(np.intp)
    both_classes = 0 < truth.sum() < truth.size
    table = metrics.confusion_matrix(truth, called, labels=[0, 1])
    return ClassificationScores(
        n=truth.size,
        n_affected=int(truth.sum()),
        threshold=float(threshold),
        accuracy=float(metrics.accuracy_score(truth, called)),
        auc=float(metrics.roc_auc_score(truth, scores)) if both_classes else math.nan,
        auc_interval=(
            auc_interval(truth, scores, repeats=bootstrap_repeats, seed=seed)
            if both_classes
            else Interval(math.nan, math.nan)
        ),
        average_precision=float(metrics.average_precision_score(truth, scores)) if both_classes else math.nan,
        sensitivity=float(metrics.recall_score(truth, called, zero_division=math.nan)),
        specificity=float(metrics.recall_score(truth, called, pos_label=0, zero_division=math.nan)),
        precision=float(metrics.precision_score(truth, called, zero_division=math.nan)),
        f1=float(metrics.f1_score(truth, called, zero_division=math.nan)),
        confusion=((int(table[0, 0]), int(table[0, 1])), (int(table[1, 0]), int(table[1, 1]))),
        brier=float(metrics.brier_score_loss(truth, scores, pos_label=1)),
        ece=expected_calibration_error(truth, scores),
    )


def auc_interval(labels: Labels, probabilities: Floats, *, repeats: int = 2000, seed: int = 0) -> Interval:
    """The 95 % percentile bootstrap interval of the AUC, each class drawn by itself.

    Each resample's AUC is the Mann-Whitney statistic: the share of (affected, normal) pairs in which the
    affected image has the higher probability, ties counting one half. Where every pair is alike, as at an AUC of 1,
    no resample differs and the interval is that of the pairs which share no image: as many as the smaller class has
    images, each independent of the others (`alike_interval`).

    Args:
        labels: [n], 1 = affected, 0 = normal; both occur.
        probabilities: [n], any real numbers.
        repeats: number of resamples.
        seed: of the resamples.
    """
    auc = _auc_of_draws(labels, probabilities)
    found = bootstrap_interval(auc, labels.size, repeats=repeats, seed=seed, strata=labels)
    return alike_interval(found.low, _pairs(labels)) if found.low == found.high else found


def auc_interval_of_counts(auc: float, affected: int, normal: int) -> Interval:
    """The 95 % interval of an AUC of which no more is known, by Hanley and McNeil (Radiology 1982), cut to [0, 1].

    An AUC of 0 or 1 has no width there and takes that of `auc_interval`.

    Args:
        auc: the area found; ``affected`` and ``normal`` are the numbers of images behind it, at least one each.
    """
    if auc in (0, 1):
        return alike_interval(auc, min(affected, normal))
    above, below = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc) + (affected - 1) * (above - auc**2) + (normal - 1) * (below - auc**2)
    ) / (affected * normal)  # fmt: skip
    half = float(norm.ppf(0.975)) * math.sqrt(max(variance, 0.0))
    return Interval(max(auc - half, 0.0), min(auc + half, 1.0))


def auc_difference_interval(
    labels: Labels, first: Floats, second: Floats, *, repeats: int = 2000, seed: int = 0
) -> Interval:
    """The 95 % interval of the AUC of ``first`` minus that of ``second``, from the same resamples for both.

    Where both rank every pair alike, so do the pairs that share no image (see `auc_interval`); the share of pairs that
    n of these leave open, 1 - 0.025^(1/n), may be ranked otherwise by one of the two.

    Args:
        labels: [n], 1 = affected, 0 = normal; both occur.
        first: [n], probabilities of affected by one model; ``second`` likewise, for the same images.
        repeats: number of resamples, drawn as in `auc_interval`.
        seed: of the resamples.
    """
    one, other = _auc_of_draws(labels, first), _auc_of_draws(labels, second)
    found = bootstrap_interval(
        lambda drawn: one(drawn) - other(drawn), labels.size, repeats=repeats, seed=seed, strata=labels
    )
    if not found.low == found.high == 0:
        return found
    bound = clopper_pearson_interval(0, _pairs(labels)).high
    return Interval(-bound, bound)


def _pairs(labels: Labels) -> int:
    """Number of pairs of an affected and a normal image that share no image."""
    affected = int(labels.sum())
    return min(affected, labels.size - affected)


def _auc_of_draws(labels: Labels, probabilities: Floats) -> Callable[[Indices], float]:
    """The AUC of the images of given indices."""
    distinct, codes = np.unique(probabilities, return_inverse=True)
    is_affected = labels == 1

    def auc(drawn: Indices) -> float:
        split = is_affected[drawn]
        affected = np.bincount(codes[drawn[split]], minlength=distinct.size)
        normal = np.bincount(codes[drawn[~split]], minlength=distinct.size)
        won = affected @ (np.cumsum(normal) - normal / 2)
        return float(won / (affected.sum() * normal.sum()))

    return auc


def expected_calibration_error(labels: Labels, probabilities: Floats) -> float:
    """Mean over images of |share of affected - mean probability| of the image's probability bin, in [0, 1].

    15 bins of equal width, a bin holding its lower edge. Naeini et al. (AAAI 2015) and Guo et al. (ICML
    2017) bin the confidence of the predicted class; here, for two classes, the probability of "affected" is
    binned and compared with how often images of that bin are affected.

    Args:
        labels: [n], 1 = affected, 0 = normal; n > 0.
        probabilities: [n], in [0, 1].
    """
    bins = np.minimum((probabilities * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=probabilities - labels)
    return float(np.abs(gaps).sum() / labels.size)


def _checked(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> tuple[Labels, Floats]:
    truth, scores = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != scores.shape or truth.size == 0:
        raise ArgumentError(
            f"labels {truth.shape} and probabilities {scores.shape} should both have the shape [n], n > 0"
        )
    if not np.isin(truth, (0, 1)).all():
        raise ArgumentError("labels should be 0 (normal) or 1 (affected)")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ArgumentError("probabilities should lie in [0, 1] and not be NaN")
    return truth.astype(np.intp), scores


def _nan_to_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nan_to_none(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_nan_to_none(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
