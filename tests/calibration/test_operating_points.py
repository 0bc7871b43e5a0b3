"""Thresholds against exhaustive search and ROC curves, predictive values against weighted images, and coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from sklearn.metrics import precision_score, recall_score, roc_curve

from cxrlens.calibration.operating_points import (
    PASS,
    RETAKE,
    REVIEW,
    TargetKind,
    Thresholds,
    ThresholdTarget,
    choose_cut,
    choose_cuts,
    expected_outcomes,
    held_out_decisions,
    images_to_establish,
    lowest_share,
    outcomes,
    predictive_values,
    rates,
    threshold_interval,
    triage_scores,
)

SPECIFICITY, SENSITIVITY = ThresholdTarget("specificity", 0.95), ThresholdTarget("sensitivity", 0.95)


def two_normals(normal: int, affected: int, distance: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat([0, 1], [normal, affected]).astype(np.intp)
    return labels, np.random.default_rng(seed).normal(size=labels.size) + distance * labels


@st.composite
def small_sets(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes and log-odds with many ties."""
    labels = [0, 1, *draw(st.lists(st.integers(0, 1), max_size=12))]
    values = draw(st.lists(st.integers(-3, 3), min_size=len(labels), max_size=len(labels)))
    return np.array(labels, dtype=np.intp), np.array(values, dtype=np.float64)


def by_counting(labels: np.ndarray, called: np.ndarray, kind: TargetKind, prevalence: float) -> float:
    """The score of calling some images, NaN where undefined, from weights that give the classes the prevalence."""
    weight = np.where(labels == 1, prevalence / labels.sum(), (1 - prevalence) / (1 - labels).sum())
    if kind == "retake_rate":
        return float(weight[called].sum())
    if kind == "npv":
        return float(weight[~called & (labels == 0)].sum() / weight[~called].sum()) if (~called).any() else math.nan
    chosen = labels == (kind == "sensitivity")
    return float(np.mean(called[chosen] == (kind == "sensitivity")))


@given(
    small_sets(),
    st.sampled_from(["specificity", "sensitivity", "retake_rate", "npv"]),
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.99),
)
def test_the_cut_is_the_best_of_all_that_reach_the_target(
    data: tuple[np.ndarray, np.ndarray], kind: TargetKind, value: float, prevalence: float
):
    labels, log_odds = data
    distinct = np.unique(log_odds)
    cuts = [-math.inf, *((distinct[:-1] + distinct[1:]) / 2), math.inf]
    reaching = []
    for cut in cuts:
        score = by_counting(labels, log_odds >= cut, kind, prevalence)
        reached = score <= value + 1e-9 if kind == "retake_rate" else score >= value - 1e-9
        if reached or math.isnan(score):
            reaching.append(cut)
    expected = reaching[0] if kind in ("specificity", "retake_rate") else reaching[-1]
    assert choose_cut(labels, log_odds, ThresholdTarget(kind, value), prevalence) == expected


@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.95])
def test_cuts_lie_on_the_roc_curve(wanted: float):
    labels, log_odds = two_normals(200, 120, 1.5, 0)
    false_positive_rate, sensitivity, _ = roc_curve(labels, log_odds, drop_intermediate=False)
    cut = choose_cut(labels, log_odds, ThresholdTarget("specificity", wanted), 0.3)
    assert np.mean(log_odds[labels == 1] >= cut) == sensitivity[1 - false_positive_rate >= wanted - 1e-9].max()
    cut = choose_cut(labels, log_odds, ThresholdTarget("sensitivity", wanted), 0.3)
    assert np.mean(log_odds[labels == 0] >= cut) == pytest.approx(false_positive_rate[sensitivity >= wanted].min())


def test_a_target_met_exactly_is_met():
    """19 of 20."""
    labels = np.repeat([0, 1], 20).astype(np.intp)
    log_odds = np.arange(40.0)
    assert choose_cut(labels, log_odds, SPECIFICITY, 0.5) == 18.5
    assert choose_cut(labels, log_odds, SENSITIVITY, 0.5) == 20.5
    assert choose_cut(labels, log_odds, ThresholdTarget("retake_rate", 0.3), 0.5) == 27.5  # 12 of 40


def test_equal_log_odds_are_never_parted():
    labels, log_odds = np.array([0, 0, 1, 1]), np.zeros(4)
    assert choose_cut(labels, log_odds, SPECIFICITY, 0.5) == math.inf
    assert choose_cut(labels, log_odds, SENSITIVITY, 0.5) == -math.inf
    assert Thresholds(-math.inf, math.inf).decide(log_odds).tolist() == [REVIEW] * 4


def test_cuts_do_not_depend_on_a_rising_scale():
    labels, log_odds = two_normals(60, 40, 1.5, 1)
    for target in (SPECIFICITY, ThresholdTarget("npv", 0.98), ThresholdTarget("retake_rate", 0.1)):
        cut = choose_cut(labels, log_odds, target, 0.1)
        assert choose_cut(labels, log_odds / 3 + 7, target, 0.1) == pytest.approx(cut / 3 + 7)


def test_three_decisions_at_and_between_the_cuts():
    cuts = Thresholds(-1.0, 2.0)
    assert cuts.decide(np.array([-1.1, -1.0, 1.9, 2.0, 9.0])).tolist() == [PASS, REVIEW, REVIEW, RETAKE, RETAKE]
    assert Thresholds(2.0, 2.0).decide(np.array([1.9, 2.0])).tolist() == [PASS, RETAKE]


def test_the_review_band_is_empty_without_need_of_it():
    labels, log_odds = two_normals(300, 300, 6.0, 2)
    cuts = choose_cuts(labels, log_odds, SPECIFICITY, ThresholdTarget("sensitivity", 0.8), 0.5)
    assert cuts.review == cuts.retake == choose_cut(labels, log_odds, SPECIFICITY, 0.5)
    assert choose_cuts(labels, log_odds, SPECIFICITY, None, 0.5) == cuts
    wider = choose_cuts(labels, log_odds - 5 * labels, SPECIFICITY, SENSITIVITY, 0.5)
    assert wider.review < wider.retake


@given(small_sets(), st.floats(-4, 4), st.floats(0.01, 0.99))
def test_rates_and_predictive_values_are_those_of_weighted_images(
    data: tuple[np.ndarray, np.ndarray], threshold: float, prevalence: float
):
    labels, log_odds = data
    called = log_odds >= threshold
    sensitivity, specificity = rates(labels, log_odds, np.array([threshold]))
    assert sensitivity[0] == pytest.approx(recall_score(labels, called))
    assert specificity[0] == pytest.approx(recall_score(labels, called, pos_label=0))
    weight = np.where(labels == 1, prevalence / labels.mean(), (1 - prevalence) / (1 - labels.mean()))
    options = {"sample_weight": weight, "zero_division": math.nan}
    ppv, npv = predictive_values(sensitivity, specificity, prevalence)
    assert ppv[0] == pytest.approx(precision_score(labels, called, **options), nan_ok=True)
    assert npv[0] == pytest.approx(precision_score(labels, called, pos_label=0, **options), nan_ok=True)


def test_scores_of_decisions_by_hand():
    """4 affected: retake, retake, review, pass; 5 normal: retake, review, pass, pass, pass; prevalence 10 %."""
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0])
    decisions = np.array([RETAKE, RETAKE, REVIEW, PASS, RETAKE, REVIEW, PASS, PASS, PASS])
    found = {name: each.value for name, each in triage_scores(outcomes(labels, decisions), 0.1).items()}
    assert found == pytest.approx({
        "sensitivity": 0.5,
        "specificity": 0.8,
        "ppv": 0.05 / (0.05 + 0.18),
        "seen_sensitivity": 0.75,
        "pass_npv": 0.54 / (0.54 + 0.025),
        "retakes": 230,
        "reviews": 0.1 * 250 + 0.9 * 200,
        "missed": 25,
    })  # fmt: skip


def test_intervals_enclose_scores():
    labels, log_odds = two_normals(80, 50, 1.5, 3)
    values = outcomes(labels, Thresholds(0.0, 1.0).decide(log_odds))
    assert all(each.low < each.value < each.high for each in triage_scores(values, 0.1).values())


def test_scores_without_a_mistake_are_no_certainty():
    """All of 30 affected images retaken, none of 20 normal ones, none reviewed; 0.025^(1/30) and so on by hand."""
    labels = np.repeat([1, 0], [30, 20])
    found = triage_scores(outcomes(labels, np.where(labels == 1, RETAKE, PASS)), 0.1)
    right, kept = 0.025 ** (1 / 30), 0.025 ** (1 / 20)
    for name, low, high in (("sensitivity", right, 1), ("specificity", kept, 1), ("missed", 0, 100 * (1 - right))):
        assert (found[name].low, found[name].high) == pytest.approx((low, high))
    # A false alarm among 20 normal images outweighs the affected ones: at its bound alone the PPV is this
    assert found["ppv"].low == pytest.approx(0.1 / (0.1 + 0.9 * (1 - kept)), abs=0.02)
    assert found["ppv"].high == found["pass_npv"].high == 1
    assert found["pass_npv"].low < 1
    assert (found["reviews"].low, found["reviews"].value) == (0, 0)
    assert 900 * (1 - kept) < found["reviews"].high < 900 * (1 - kept) + 100 * (1 - right)


def test_nothing_retaken_has_no_predictive_value():
    labels = np.array([0, 0, 1, 1])
    found = triage_scores(outcomes(labels, np.full(4, PASS)), 0.2)
    assert np.isnan([found["ppv"].value, found["ppv"].low, found["ppv"].high]).all()
    assert (found["retakes"].value, found["missed"].value, found["pass_npv"].value) == (0, 200, pytest.approx(0.8))


@pytest.mark.parametrize(
    ("retake", "review", "held_out_rows"),
    [
        (SPECIFICITY, SENSITIVITY, [1, 2]),
        (SENSITIVITY, ThresholdTarget("npv", 0.9), [0, 2, 3]),
        (ThresholdTarget("retake_rate", 0.1), SENSITIVITY, [0, 1, 2]),
        (SPECIFICITY, None, [1, 3]),
    ],
)
def test_classes_that_chose_a_threshold_are_judged_by_another(
    retake: ThresholdTarget, review: ThresholdTarget | None, held_out_rows: list[int]
):
    labels = np.array([0, 1, 0, 1, 1])
    final, held_out = np.array([REVIEW, PASS, RETAKE, RETAKE, PASS]), np.array([RETAKE, RETAKE, PASS, REVIEW, REVIEW])
    found = expected_outcomes(labels, final, held_out, retake, review)
    expected = outcomes(labels, final)
    assert not np.array_equal(found, expected, equal_nan=True)
    expected[held_out_rows] = outcomes(labels, held_out)[held_out_rows]
    np.testing.assert_array_equal(found, expected)


def test_an_empty_band_is_chosen_by_both_targets():
    labels, final, held_out = np.array([0, 1]), np.array([RETAKE, PASS]), np.array([PASS, RETAKE])
    found = expected_outcomes(labels, final, held_out, SPECIFICITY, SENSITIVITY)
    np.testing.assert_array_equal(found[1:], outcomes(labels, held_out)[1:])
    np.testing.assert_array_equal(found[0], outcomes(labels, final)[0])


def test_held_out_decisions_do_not_see_the_image():
    """The best choice of all would be to retake an image of one's own class; a choice without the image cannot."""
    labels = np.repeat([0, 1], 20).astype(np.intp)
    log_odds = np.random.default_rng(0).permutation(40).astype(np.float64)

    def memory(some: np.ndarray, odds: np.ndarray) -> Thresholds:
        """Retakes the lowest image that it has seen, and those above; passes what is lower than all it has seen."""
        assert len(some) == len(odds)
        return Thresholds(odds.min(), odds.min())

    found = held_out_decisions(labels, log_odds, memory, seed=3)
    assert found[log_odds == 0] == PASS  # only a part without the lowest image passes it
    assert (found[log_odds >= 4] == RETAKE).all()


def test_expected_intervals_cover_the_truth_of_the_chosen_threshold():
    prevalence, distance = 0.12, 2.0
    covered = {"ppv": 0, "sensitivity": 0, "retakes": 0}
    for seed in range(200):
        labels, log_odds = two_normals(150, 150, distance, seed)

        def choose(some: np.ndarray, odds: np.ndarray) -> Thresholds:
            return choose_cuts(some, odds, SPECIFICITY, None, prevalence)

        cut = choose(labels, log_odds).retake
        found = triage_scores(
            expected_outcomes(
                labels,
                Thresholds(cut, cut).decide(log_odds),
                held_out_decisions(labels, log_odds, choose, seed=seed),
                SPECIFICITY,
                None,
            ),
            prevalence,
        )
        hits, false_alarms = prevalence * norm.sf(cut - distance), (1 - prevalence) * norm.sf(cut)
        truth = {
            "ppv": hits / (hits + false_alarms),
            "sensitivity": norm.sf(cut - distance),
            "retakes": 1000 * (hits + false_alarms),
        }
        for name in covered:
            covered[name] += bool(found[name].low <= truth[name] <= found[name].high)
    for name, count in covered.items():
        assert binomtest(count, 200, 0.95).pvalue > 1e-3, (name, count)


def test_the_interval_of_a_threshold_is_that_of_a_quantile():
    """A specificity is a quantile of the normal images, whose spread is sqrt(p q / n) / density."""
    labels, log_odds = two_normals(400, 20, 1.0, 6)
    target = ThresholdTarget("specificity", 0.9)
    found = threshold_interval(labels, log_odds, lambda some, odds: choose_cut(some, odds, target, 0.5), repeats=400)
    low, high = np.log([found.low / (1 - found.low), found.high / (1 - found.high)])
    half = 1.96 * math.sqrt(0.9 * 0.1 / 400) / norm.pdf(norm.ppf(0.9))
    assert (high - low) / 2 == pytest.approx(half, rel=0.3)
    assert low < choose_cut(labels, log_odds, target, 0.5) < high


def test_a_threshold_that_calls_nothing_is_the_probability_1():
    labels, log_odds = np.array([0, 0, 1, 1]), np.zeros(4)
    found = threshold_interval(labels, log_odds, lambda some, odds: choose_cut(some, odds, SPECIFICITY, 0.5))
    assert (found.low, found.high) == (1, 1)


@pytest.mark.parametrize("n", [1, 20, 55, 298, 299])
def test_what_so_many_images_can_establish(n: int):
    exact = binomtest(n, n, alternative="greater").proportion_ci(0.95, method="exact").low
    assert lowest_share(n) == pytest.approx(exact)
    assert (lowest_share(n) >= 0.99) == (n >= images_to_establish(0.99))
    assert images_to_establish(0.99) == 299


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (SPECIFICITY, "specificity of at least 0.95"),
        (ThresholdTarget("retake_rate", 0.03), "retake rate of at most 0.03"),
        (ThresholdTarget("npv", 0.99), "negative predictive value of at least 0.99"),
    ],
)
def test_targets_in_words(target: ThresholdTarget, text: str):
    assert str(target) == text
