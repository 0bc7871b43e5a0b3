"""Thresholds for a wanted score, the decision pass / review / retake, and what it leads to at a prevalence."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from cxrlens.calibration.probabilities import folds
from cxrlens.evaluation.bootstrap import (
    Floats,
    Indices,
    Interval,
    bootstrap_interval,
)
from cxrlens.evaluation.classification import Labels
from cxrlens.evaluation.proportions import Count, clopper_pearson_interval, melded_interval

TargetKind: TypeAlias = Literal["specificity", "sensitivity", "retake_rate", "npv"]
Decisions: TypeAlias = npt.NDArray[np.intp]

PASS, REVIEW, RETAKE = range(3)

_ROUNDING = 1e-12  # 19 of 20 reach 0.95

_PHRASES: dict[TargetKind, str] = {
    "specificity": "specificity of at least",
    "sensitivity": "sensitivity of at least",
    "retake_rate": "retake rate of at most",
    "npv": "negative predictive value of at least",
}


@dataclass(frozen=True)
class ThresholdTarget:
    """The score that a threshold should reach.

    Attributes:
        kind: ``specificity`` or ``sensitivity`` of calling the images from the threshold on, the share of all images
            that are called (``retake_rate``), or the negative predictive value of those below (``npv``).
        value: strictly between 0 and 1; the least wanted, of ``retake_rate`` the most.
    """

    kind: TargetKind
    value: float

    def __str__(self) -> str:
        return f"{_PHRASES[self.kind]} {self.value:g}"

    @classmethod
    def of_phrase(cls, phrase: str) -> ThresholdTarget | None:
        """The target of a phrase, as calibrations keep it; None of another phrase."""
        for kind, begin in _PHRASES.items():
            if phrase.startswith(begin):
                with suppress(ValueError):
                    return cls(kind, float(phrase.removeprefix(begin)))
        return None


@dataclass(frozen=True)
class Thresholds:
    """Two thresholds on log-odds: images from ``retake`` on are retaken, those from ``review`` on reviewed.

    ``review`` is at most ``retake``; -inf calls every image, +inf none.
    """

    review: float
    retake: float

    def decide(self, log_odds: Floats) -> Decisions:
        """`PASS`, `REVIEW` or `RETAKE` of log-odds [n]."""
        return np.add(log_odds >= self.review, log_odds >= self.retake, dtype=np.intp)


@dataclass(frozen=True)
class TriageScore:
    """A score and its 95 % interval; NaN where undefined."""

    value: float
    low: float
    high: float


def predictive_values(sensitivity: Floats, specificity: Floats, prevalence: float) -> tuple[Floats, Floats]:
    """Positive and negative predictive value by Bayes' rule; NaN where no image is called, or left."""
    true_alarms, false_alarms = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
    misses, true_passes = prevalence * (1 - sensitivity), (1 - prevalence) * specificity
    with np.errstate(invalid="ignore"):
        return true_alarms / (true_alarms + false_alarms), true_passes / (true_passes + misses)


def rates(labels: Labels, log_odds: Floats, thresholds: Floats) -> tuple[Floats, Floats]:
    """Sensitivity and specificity of calling the images from each threshold on; both classes occur."""
    missed, right = (
        np.searchsorted(np.sort(log_odds[labels == label]), thresholds) / (labels == label).sum() for label in (1, 0)
    )
    return 1 - missed, right


def choose_cut(labels: Labels, log_odds: Floats, target: ThresholdTarget, prevalence: float) -> float:
    """The threshold on log-odds that reaches the target at the least cost.

    For specificity and retake rate that is the lowest threshold, which finds the most affected images; for
    sensitivity and negative predictive value the highest, which calls the fewest normal ones. It lies halfway between
    two values that occur, so that rounding decides nothing.

    Args:
        labels: [n], 1 = affected; both classes occur.
        log_odds: [n], in any monotone form.
        target: what is wanted.
        prevalence: share of affected images where the threshold is used.

    Returns:
        The threshold; inf where only calling no image reaches the target, -inf where only calling every image does.
    """
    values = np.unique(log_odds)
    sensitivity, specificity = rates(labels, log_odds, np.append(values, np.inf))
    if target.kind == "specificity":
        reached = specificity >= target.value - _ROUNDING
    elif target.kind == "sensitivity":
        reached = sensitivity >= target.value - _ROUNDING
    elif target.kind == "retake_rate":
        reached = prevalence * sensitivity + (1 - prevalence) * (1 - specificity) <= target.value + _ROUNDING
    else:
        _, npv = predictive_values(sensitivity, specificity, prevalence)
        reached = (npv >= target.value - _ROUNDING) | np.isnan(npv)  # where none is below, none is missed
    places = np.flatnonzero(reached)
    place = int(places[0] if target.kind in ("specificity", "retake_rate") else places[-1])
    if place == 0:
        return -math.inf
    return math.inf if place == values.size else float(values[place - 1] + values[place]) / 2


def choose_cuts(
    labels: Labels, log_odds: Floats, retake: ThresholdTarget, review: ThresholdTarget | None, prevalence: float
) -> Thresholds:
    """Both thresholds; without a second target, or where the first one reaches it already, the review band is empty."""
    upper = choose_cut(labels, log_odds, retake, prevalence)
    lower = upper if review is None else choose_cut(labels, log_odds, review, prevalence)
    return Thresholds(min(lower, upper), upper)


def held_out_decisions(
    labels: Labels, log_odds: Floats, choose: Callable[[Labels, Floats], Thresholds], *, seed: int = 0
) -> Decisions:
    """Decisions [n], each image's by thresholds that ``choose`` gives for the other `folds` alone."""
    decisions = np.empty(labels.size, dtype=np.intp)
    for rest, part in folds(labels, seed=seed):
        decisions[part] = choose(labels[rest], log_odds[rest]).decide(log_odds[part])
    return decisions


def threshold_interval(
    labels: Labels,
    log_odds: Floats,
    choose: Callable[[Labels, Floats], float],
    *,
    repeats: int = 500,
    seed: int = 0,
) -> Interval:
    """The 95 % bootstrap interval of the probability at a cut that is chosen anew on each resample of the images."""

    def chosen(drawn: Indices) -> float:
        return float(expit(choose(labels[drawn], log_odds[drawn])))  # infinite cuts are the probabilities 0 and 1

    return bootstrap_interval(chosen, labels.size, repeats=repeats, seed=seed, strata=labels)


def outcomes(labels: Labels, decisions: Decisions) -> Floats:
    """The outcome of decisions [n] for each image, [4, n] of 0 and 1, NaN where the image is of the other class.

    The rows: an affected image is retaken; a normal one is not; an affected one is retaken or reviewed; a normal one
    passes.
    """
    affected = labels == 1
    return np.stack([
        np.where(affected, decisions == RETAKE, np.nan),
        np.where(affected, np.nan, decisions != RETAKE),
        np.where(affected, decisions != PASS, np.nan),
        np.where(affected, np.nan, decisions == PASS),
    ])  # fmt: skip


def expected_outcomes(
    labels: Labels, decisions: Decisions, held_out: Decisions, retake: ThresholdTarget, review: ThresholdTarget | None
) -> Floats:
    """`outcomes` free of the favour that comes from choosing thresholds on the images that they judge.

    A class that had a part in choosing a threshold is judged by ``held_out``; one that had none by the final
    ``decisions``, which are as good as decisions on other images for it.
    """
    of_retake = _choosers(retake)
    of_review = of_retake if review is None else _choosers(review)
    if not (decisions == REVIEW).any():  # the review threshold may be the other one
        of_review = of_review | of_retake
    part = [label in choosers for choosers in (of_retake, of_review) for label in (1, 0)]
    return np.where(np.array(part)[:, None], outcomes(labels, held_out), outcomes(labels, decisions))


def _choosers(target: ThresholdTarget) -> frozenset[int]:
    """The classes (1 = affected) on which a threshold for the target depends."""
    return {"specificity": frozenset({0}), "sensitivity": frozenset({1})}.get(target.kind, frozenset({0, 1}))


def triage_scores(values: Floats, prevalence: float) -> dict[str, TriageScore]:
    """Scores of decisions where a share ``prevalence`` of the images is affected.

    Intervals of shares of a class are those of Clopper and Pearson; those of scores that hang on a share of each class
    are melded of two of them (`melded_interval`).

    Args:
        values: [4, n], see `outcomes`; both classes occur.
        prevalence: strictly between 0 and 1.

    Returns:
        ``sensitivity``, ``specificity``, ``ppv`` of retakes; ``seen_sensitivity`` (affected images that are retaken or
        reviewed) and ``pass_npv`` (share of passed images that are normal); per 1,000 images ``retakes``, ``reviews``
        and ``missed`` (affected images that pass).
    """
    hits, (affected, normal) = np.nansum(values, axis=1), (~np.isnan(values[:2])).sum(axis=1)
    retaken, kept, seen, passed = hits

    def ppv(sensitivity: Floats, specificity: Floats) -> Floats:
        return predictive_values(sensitivity, specificity, prevalence)[0]

    def npv(sensitivity: Floats, specificity: Floats) -> Floats:
        return predictive_values(sensitivity, specificity, prevalence)[1]

    def per_1000(of_affected: Floats, of_normal: Floats) -> Floats:
        return 1000 * (prevalence * of_affected + (1 - prevalence) * of_normal)

    return {
        "sensitivity": _share((retaken, affected)),
        "specificity": _share((kept, normal)),
        "ppv": _melded(ppv, (retaken, affected), (kept, normal)),
        "seen_sensitivity": _share((seen, affected)),
        "pass_npv": _melded(npv, (seen, affected), (passed, normal)),
        "retakes": _melded(per_1000, (retaken, affected), (normal - kept, normal)),
        "reviews": _melded(per_1000, (max(seen - retaken, 0), affected), (max(kept - passed, 0), normal)),
        "missed": _share((affected - seen, affected), 1000 * prevalence),
    }


def _share(count: Count, factor: float = 1.0) -> TriageScore:
    """A share of a class, times a factor."""
    interval = clopper_pearson_interval(*count)
    return TriageScore(factor * count[0] / count[1], factor * interval.low, factor * interval.high)


def _melded(score: Callable[[Floats, Floats], Floats], affected: Count, normal: Count) -> TriageScore:
    """A score that grows with a share of each class."""
    shares = (np.array(hits / images) for hits, images in (affected, normal))
    value = float(score(*shares))
    if math.isnan(value):
        return TriageScore(value, value, value)
    interval = melded_interval(score, affected, normal)
    return TriageScore(value, interval.low, interval.high)


def images_to_establish(share: float, confidence: float = 0.95) -> int:
    """Number of images, all of them right, that it takes to say that at least this share is right.

    With n of n right the one-sided lower bound of Clopper and Pearson (Biometrika 1934) is (1 - confidence)^(1/n).
    """
    return math.ceil(math.log(1 - confidence) / math.log(share))


def lowest_share(n: int, confidence: float = 0.95) -> float:
    """The share that n of n right images still allow: the bound of `images_to_establish`; 0 without images."""
    return (1 - confidence) ** (1 / n) if n else 0.0
