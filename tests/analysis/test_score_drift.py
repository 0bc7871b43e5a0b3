"""Drift: the distance by its definition, p values by scipy, the false-alarm rate, and the power against shifts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import ks_2samp
from screened_months import calibrated, scores

from calibrated_cards import a_calibration
from cxrlens.analysis.drift import (
    LEAST_IMAGES,
    DriftTest,
    Reference,
    critical_distance,
    distance,
    drift_tests,
    p_value,
)
from cxrlens.models.calibration import ScoreQuantiles


def reference_of(normal: list[float], affected: list[float], share: float = 0.5) -> Reference:
    kept = ScoreQuantiles(normal=tuple(normal), affected=tuple(affected))
    return Reference(kept, 100, 100, share)


def test_the_cumulative_distribution_is_straight_between_quantiles() -> None:
    """Normal images evenly between 0 and 2; of the affected ones half at 1, the others up to 3: jumps stay jumps."""
    reference = reference_of([0.0, 1.0, 2.0], [1.0, 1.0, 3.0])
    places = np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 9.0])
    np.testing.assert_allclose(reference.cumulative(places, 0.0), [0, 0, 0.25, 0.5, 1, 1, 1])
    np.testing.assert_allclose(reference.cumulative(places, 1.0), [0, 0, 0, 0.5, 0.75, 1, 1])
    np.testing.assert_allclose(reference.cumulative(places, 1.0, below=True), [0, 0, 0, 0, 0.75, 1, 1])
    np.testing.assert_allclose(reference.cumulative(places, 0.2), [0, 0, 0.2, 0.5, 0.95, 1, 1])


def test_the_distance_by_hand() -> None:
    """Against an even distribution on [0, 2]: two scores at 1.5, where 3/4 are expected, and right below it none is."""
    reference = reference_of([0.0, 2.0], [0.0, 2.0])
    assert distance(np.array([1.5, 1.5]), reference, 0.5) == pytest.approx(0.75)
    assert distance(np.array([0.5, 1.5]), reference, 0.5) == pytest.approx(0.25)
    assert distance(np.array([np.inf, -np.inf]), reference, 0.5) == pytest.approx(0.5)


def test_distance_and_p_are_those_of_two_samples() -> None:
    """Where the calibration's shares are the site's, and all of its scores are kept, it is scipy's test."""
    rng = np.random.default_rng(1)
    normal, affected, found = np.sort(rng.normal(-3, 1, 180)), np.sort(rng.normal(1, 1, 20)), rng.normal(-2.5, 1.5, 90)
    levels = np.linspace(0, 1, 1001)
    kept = {"normal": np.quantile(normal, levels).tolist(), "affected": np.quantile(affected, levels).tolist()}
    reference = Reference(ScoreQuantiles.model_validate(kept), 180, 20, 0.1)
    assert reference.size(0.1) == pytest.approx(200)
    theirs = ks_2samp(found, np.concatenate([normal, affected]), method="asymp")
    ours = distance(found, reference, 0.1)
    assert ours == pytest.approx(theirs.statistic, abs=0.01)  # they have steps where ours is straight
    assert p_value(theirs.statistic, 90, reference, 0.1) == pytest.approx(theirs.pvalue, rel=1e-9)
    critical = critical_distance(90, reference, 0.01)
    assert p_value(critical, 90, reference, 0.1) == pytest.approx(0.01, rel=1e-6)


def test_the_size_is_that_of_the_largest_sample_with_the_share() -> None:
    reference = Reference(ScoreQuantiles(normal=(0.0, 1.0), affected=(0.0, 1.0)), 300, 100, 0.1)
    assert reference.size(0.1) == pytest.approx(300 / 0.9)
    assert reference.size(0.5) == pytest.approx(200)


def test_false_alarms_are_as_rare_as_stated() -> None:
    """Of reports of four periods and all images about 5 %, and no more, have an alarm where nothing has changed."""
    rng = np.random.default_rng(2)
    repeats, alarms = 100, 0
    for _ in range(repeats):
        reference = Reference.of(calibrated(rng, 200, 100, prevalence=0.2))
        assert reference is not None
        periods = {str(period): expit(scores(rng, 60, 0.2)) for period in range(4)}
        everything = {"all": np.concatenate(list(periods.values()))}
        alarms += any(test.is_alarm() for test in drift_tests(everything | periods, reference))
    assert alarms / repeats <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / repeats)
    assert alarms > 0


@pytest.mark.parametrize("shift", [-1.0, 1.0])
def test_a_shift_is_an_alarm_that_no_share_explains(shift: float) -> None:
    rng = np.random.default_rng(3)
    reference = Reference.of(calibrated(rng, prevalence=0.1))
    assert reference is not None
    groups = {"before": expit(scores(rng, 300, 0.1)), "after": expit(scores(rng, 300, 0.1, shift))}
    before, after = drift_tests(groups, reference)
    assert not before.is_alarm()
    assert after.is_alarm()
    assert not after.is_explained()
    assert (after.expected_rank > 0.5) == (shift > 0)
    assert before.expected_rank == pytest.approx(0.5, abs=0.05)


def test_another_share_of_affected_images_is_an_alarm_that_it_explains() -> None:
    rng = np.random.default_rng(4)
    reference = Reference.of(calibrated(rng, prevalence=0.05))
    assert reference is not None
    (test,) = drift_tests({"all": expit(scores(rng, 800, 0.3))}, reference)
    assert test.is_alarm()
    assert test.is_explained()
    assert test.other_share == pytest.approx(0.3, abs=0.06)


def test_few_images_are_not_tested_and_cost_the_others_nothing() -> None:
    rng = np.random.default_rng(5)
    reference = Reference.of(calibrated(rng))
    assert reference is not None
    groups = {"few": expit(scores(rng, LEAST_IMAGES - 1, 0.1, 5.0)), "many": expit(scores(rng, 50, 0.1))}
    few, many = drift_tests(groups | {"none": np.array([])}, reference)
    assert (np.isnan(few.p), np.isnan(few.adjusted), few.is_alarm()) == (True, True, False)
    assert many.adjusted == many.p
    assert isinstance(few, DriftTest)


def test_p_values_are_adjusted_for_all_tests() -> None:
    rng = np.random.default_rng(6)
    reference = Reference.of(calibrated(rng))
    assert reference is not None
    tests = drift_tests({str(n): expit(scores(rng, 60, 0.1)) for n in range(5)}, reference)
    smallest = min(tests, key=lambda test: test.p)
    assert smallest.adjusted == pytest.approx(min(5 * smallest.p, 1))


def test_no_reference_of_a_calibration_that_keeps_no_scores() -> None:
    assert Reference.of(None) is None
    assert Reference.of(a_calibration()) is None
