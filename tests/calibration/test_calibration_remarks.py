"""The remarks on a calibration: each where it belongs, with numbers worked out by hand, and none where all is well."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cxrlens.calibration.operating_points import Thresholds, ThresholdTarget, TriageScore
from cxrlens.calibration.probabilities import TEMPERATURES, CalibrationScores
from cxrlens.calibration.remarks import on_data, on_distance, on_probabilities, on_targets
from cxrlens.evaluation.bootstrap import Interval
from cxrlens.models.distance import CELLS, HeldOut, LimitedDistance, Radiographs, TrainingDistance

GOOD = CalibrationScores(nll=0.2, brier=0.1, ece=0.02, mean_probability=0.2, offset=1.0)
SPECIFICITY, SENSITIVITY = ThresholdTarget("specificity", 0.95), ThresholdTarget("sensitivity", 0.95)
CUTS = Thresholds(0.0, 1.0)


def said(
    *, retake: ThresholdTarget = SPECIFICITY, review: ThresholdTarget | None = SENSITIVITY, cuts: Thresholds = CUTS,
    counts: tuple[int, int] = (500, 500), prevalence: float = 0.1, **scores: float,
) -> list[str]:  # fmt: skip
    values = {
        "specificity": 0.95,
        "sensitivity": 0.8,
        "seen_sensitivity": 0.95,
        "retakes": 100,
        "reviews": 200,
        **scores,
    }
    apparent = {name: TriageScore(value, value, value) for name, value in values.items()}
    return list(on_targets(retake, review, cuts, apparent, counts, prevalence))


def test_nothing_is_said_where_all_is_well() -> None:
    assert said() == []
    assert list(on_data("test", 0.5, prevalence_given=True, source_known=True)) == []
    assert list(on_probabilities(1.5, GOOD, 0.2, Interval(0.9, 0.95), all_right=True)) == []
    assert list(on_distance(None, limited(1, 1))) == list(on_distance(limited(1, 2), limited(1, 2))) == []


def limited(layout: float, texture: float) -> TrainingDistance:
    parts = {
        kind: LimitedDistance(centre=(0.0,) * count, whitening=((0.0,) * count,) * count, limit=limit)
        for kind, count, limit in (("layout", CELLS**2, layout), ("texture", 8, texture))
    }
    known = {"data": "d", "split": "train", "images": 350}
    return TrainingDistance(**parts, fitted=Radiographs(**known), held_out=HeldOut(**known, beyond=0, low=0, high=0.1))


def test_raised_limits_are_told_with_what_they_cost() -> None:
    (layout,) = on_distance(limited(2, 1), limited(5, 1))
    assert (
        "the distance from 350 radiographs of d, split train were raised for this site, by layout 2.5 times as high, so"
        in layout
    )
    assert "fewer pictures of other things are refused" in layout
    (both,) = on_distance(limited(2, 1), limited(3, 4))
    assert "by layout 1.5 times as high and by texture 4 times as high, so" in both


@pytest.mark.parametrize(
    ("temperature", "after", "auc", "all_right", "told"),
    [
        (TEMPERATURES[0], GOOD, 0.9, True, "takes the right side for every image"),
        (TEMPERATURES[0], GOOD, 0.9, False, "likeliest temperature is below 0.05: the network's log-odds are all next"),
        (TEMPERATURES[1], GOOD, 0.9, False, "as probabilities the network's numbers say next to nothing"),
        (1.5, GOOD, 0.45, False, "may be as low as 0.45"),
        (1.5, CalibrationScores(0.2, 0.1, 0.02, 0.35, -7.0), 0.9, False, "mean probability is 35 % where 20 %"),
    ],
)
def test_of_probabilities(temperature: float, after: CalibrationScores, auc: float, all_right: bool, told: str) -> None:
    (remark,) = on_probabilities(temperature, after, 0.2, Interval(auc, 0.99), all_right=all_right)
    assert told in remark


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"counts": (55, 500)}, ["55 normal images cannot establish a specificity of at least 0.95", "be 0.947"]),
        ({"counts": (500, 20)}, ["20 affected images cannot establish a sensitivity", "takes 59"]),
        # 5 % retakes at 10 % affected images leave 1 - 0.05 / 0.9 of specificity to be shown, and find one half
        ({"retake": ThresholdTarget("retake_rate", 0.05), "counts": (30, 500)}, ["finds at most 50 %"]),
        ({"cuts": Thresholds(1.0, 1.0)}, ["no image is reviewed", "sensitivity of at least 0.95"]),
        ({"cuts": Thresholds(-math.inf, 1.0)}, ["Only by passing nothing is a sensitivity of at least 0.95"]),
    ],
)
def test_of_targets(changes: dict[str, Any], told: list[str]) -> None:
    first = said(**changes)[0]
    assert all(part in first for part in told)


def test_budgets_and_predictive_values_need_a_share_of_one_class() -> None:
    budget = said(retake=ThresholdTarget("retake_rate", 0.05), counts=(30, 500))
    assert "which needs a specificity of 0.9444" in budget[1]
    # 70 % pass; an NPV of 0.99 lets 0.01 x 0.7 affected images through, of 0.1: a sensitivity of 0.93
    (remark,) = said(review=ThresholdTarget("npv", 0.99), counts=(500, 40))
    assert "40 affected images cannot establish a negative predictive value of at least 0.99" in remark
    assert "needs a sensitivity of 0.93:" in remark
    assert said(review=ThresholdTarget("npv", 0.99), counts=(500, 42)) == []  # 0.05 ** (1 / 42) = 0.931
    assert said(review=ThresholdTarget("npv", 0.99), counts=(500, 5), prevalence=0.005) == []  # nothing is needed
