"""Classification scores against hand-computed tables, brute force and torchmetrics; one class only."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import binary_average_precision, binary_calibration_error

from cxrlens.evaluation.bootstrap import bootstrap_interval
from cxrlens.evaluation.classification import (
    auc_difference_interval,
    auc_interval,
    auc_interval_of_counts,
    classification_scores,
    expected_calibration_error,
)
from unwarned import no_warnings


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with no_warnings():
        yield


def pairwise_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    affected, normal = probabilities[labels == 1][:, None], probabilities[labels == 0][None, :]
    return float(np.mean((affected > normal) + 0.5 * (affected == normal)))


def separated(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(n) % 2
    return labels, 1 / (1 + np.exp(-rng.normal(1.5 * labels - 0.75)))


def test_a_table_computed_by_hand():
    scores = classification_scores([0, 0, 0, 1, 1], [0.1, 0.5, 0.7, 0.6, 0.2])
    assert (scores.n, scores.n_affected, scores.threshold) == (5, 2, 0.5)
    assert scores.confusion == ((1, 2), (1, 1))  # 0.5 itself counts as affected
    assert scores.accuracy == pytest.approx(2 / 5)
    assert scores.sensitivity == pytest.approx(1 / 2)
    assert scores.specificity == pytest.approx(1 / 3)
    assert scores.precision == pytest.approx(1 / 3)
    assert scores.f1 == pytest.approx(2 / 5)
    assert scores.auc == pytest.approx(3 / 6)
    assert scores.average_precision == pytest.approx(0.5 * 1 / 2 + 0.5 * 2 / 4)
    assert scores.brier == pytest.approx((0.01 + 0.25 + 0.49 + 0.16 + 0.64) / 5)
    # five images in five bins: each bin's gap is |label - probability|
    assert scores.ece == pytest.approx((0.1 + 0.5 + 0.7 + 0.4 + 0.8) / 5)


def test_threshold_moves_the_decisions_only():
    labels, probabilities = [0, 0, 0, 1, 1], [0.1, 0.5, 0.7, 0.6, 0.2]
    low, middle = (classification_scores(labels, probabilities, threshold=t) for t in (0.2, 0.5))
    assert low.confusion == ((1, 2), (0, 2))
    assert (low.auc, low.brier, low.ece) == (middle.auc, middle.brier, middle.ece)


def test_calibration_error_of_a_table_computed_by_hand():
    probabilities = np.array([0.01, 0.05, 0.34, 0.35, 0.36, 1.0, 0.95])
    labels = np.array([0, 1, 0, 0, 1, 0, 1])
    first = abs(1 - 0.06)  # bin [0, 1/15)
    sixth = abs(1 - 1.05)  # bin [5/15, 6/15)
    last = abs(1 - 1.95)  # bin [14/15, 1], 1 included
    assert expected_calibration_error(labels, probabilities) == pytest.approx((first + sixth + last) / 7)
    share = np.array([1, 0, 0, 0])
    assert expected_calibration_error(share, np.full(4, 0.25)) == pytest.approx(0, abs=1e-15)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1000)), min_size=1, max_size=60))
def test_calibration_and_precision_agree_with_torchmetrics(pairs: list[tuple[int, int]]):
    labels = np.array([label for label, _ in pairs])
    probabilities = np.array([(part + 0.37) / 1001 for _, part in pairs])  # never on a bin's edge
    given = torch.tensor(probabilities), torch.tensor(labels)
    scores = classification_scores(labels, probabilities, bootstrap_repeats=2)
    assert scores.ece == pytest.approx(float(binary_calibration_error(*given, n_bins=15)), abs=1e-5)
    if 0 < labels.sum() < len(labels):
        assert scores.average_precision == pytest.approx(float(binary_average_precision(*given)), abs=1e-5)
        assert scores.auc == pytest.approx(pairwise_auc(labels, probabilities))


def test_auc_interval_is_the_bootstrap_of_the_auc():
    labels, probabilities = separated(60, seed=5)
    probabilities = probabilities.round(1)  # many ties
    slow = bootstrap_interval(
        lambda drawn: roc_auc_score(labels[drawn], probabilities[drawn]),
        60,
        repeats=200,
        seed=7,
        strata=labels,
    )
    fast = auc_interval(labels, probabilities, repeats=200, seed=7)
    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), abs=1e-12)
    assert fast.low < pairwise_auc(labels, probabilities) < fast.high


def test_auc_interval_is_as_wide_as_delongs():
    labels, probabilities = separated(800, seed=2)
    affected, normal = probabilities[labels == 1][:, None], probabilities[labels == 0][None, :]
    wins = (affected > normal).astype(float)
    error = math.sqrt(wins.mean(axis=1).var(ddof=1) / affected.size + wins.mean(axis=0).var(ddof=1) / normal.size)
    interval = auc_interval(labels, probabilities)
    assert interval.high - interval.low == pytest.approx(2 * stats.norm.ppf(0.975) * error, rel=0.1)


def test_auc_interval_sorts_no_resample(monkeypatch: pytest.MonkeyPatch):
    """Sorting takes nearly all of the time of an AUC."""
    labels, probabilities = separated(60, seed=3)
    sorts = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **more: Any) -> Any:
            nonlocal sorts
            sorts += 1
            return function(*given, **more)

        return call

    for name in ("sort", "argsort", "lexsort", "unique"):
        monkeypatch.setattr(np, name, counted(getattr(np, name)))
    auc_interval(labels, probabilities, repeats=100)
    assert 0 < sorts < 10
    sorts = 0
    roc_auc_score(labels, probabilities)
    assert sorts > 0


def test_auc_interval_of_a_class_of_one_image():
    alone = auc_interval(np.array([0, 1, 1]), np.array([0.4, 0.3, 0.9]), repeats=500)
    assert (alone.low, alone.high) == (0.0, 1.0)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("probability", [0.2, 0.8])
def test_one_class_only(label: int, probability: float):
    scores = classification_scores([label] * 3, [probability] * 3)
    right = (probability > 0.5) == bool(label)
    missing = [scores.auc, scores.auc_interval.low, scores.auc_interval.high, scores.average_precision]
    assert np.isnan(missing).all()
    assert np.isnan(scores.specificity if label else scores.sensitivity)
    assert (scores.sensitivity if label else scores.specificity) == right
    assert scores.accuracy == right
    assert scores.brier == pytest.approx((probability - label) ** 2)
    assert scores.ece == pytest.approx(abs(probability - label))
    assert np.isnan(scores.precision) == (probability < 0.5)
    assert np.isnan(scores.f1) == (probability < 0.5 and label == 0)


def test_json_form_holds_null_for_undefined():
    plain = classification_scores([0, 0], [0.1, 0.6]).to_dict()
    again = json.loads(json.dumps(plain, allow_nan=False))
    assert again == plain
    assert again["auc"] is None
    assert again["auc_interval"] == {"low": None, "high": None}
    assert again["confusion"] == [[1, 1], [0, 0]]
    assert again["specificity"] == 0.5


def test_scores_do_not_depend_on_the_number_type():
    labels, probabilities = separated(40, seed=0)
    reference = classification_scores(labels, probabilities.astype(np.float32).astype(float))
    assert classification_scores(labels == 1, probabilities.astype(np.float32)) == reference
    assert classification_scores(torch.tensor(labels), torch.tensor(probabilities).float()) == reference


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], [0.1, np.nan], "probabilities"),
        ([0, 1], [0.1, 1.01], "probabilities"),
        ([0, 1], [-0.01, 0.3], "probabilities"),
        ([0, 2], [0.1, 0.3], "labels"),
        ([0, 0.5], [0.1, 0.3], "labels"),
        ([0, 1], [0.1], "shape"),
        ([[0, 1]], [[0.1, 0.2]], "shape"),
        ([], [], "shape"),
    ],
)
def test_wrong_input_is_refused(labels: list, probabilities: list, message: str):
    with pytest.raises(ValueError, match=message):
        classification_scores(labels, probabilities)


def test_auc_difference_is_paired() -> None:
    """Against resamples written out, and far narrower than two independent intervals where the models agree."""
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], 60)
    first = labels + rng.normal(size=120)
    second = first + 0.05 * rng.normal(size=120)
    found = auc_difference_interval(labels, first, second, repeats=4000, seed=1)
    # By definition the share of pairs in which the affected image has the higher probability; there are no ties.
    is_higher = [scores[60:, None] > scores[:60] for scores in (first, second)]
    assert [each.mean() for each in is_higher] == pytest.approx(
        [roc_auc_score(labels, each) for each in (first, second)]
    )
    draws = []
    for _ in range(4000):
        normal, affected = rng.integers(60, size=60), rng.integers(60, size=60)
        draws.append(np.subtract(*(each[np.ix_(affected, normal)].mean() for each in is_higher)))
    np.testing.assert_allclose([found.low, found.high], np.quantile(draws, [0.025, 0.975]), atol=1.5e-3)
    single = auc_interval(labels, first)
    assert found.high - found.low < 0.25 * (single.high - single.low)


def test_an_auc_of_one_is_no_certainty() -> None:
    """12 affected and 30 normal images make 12 pairs that share none: 12 of 12 leave 0.025^(1/12) = 0.735 open."""
    labels = np.repeat([1, 0], [12, 30])
    right, wrong, same = labels + 0.0, 1.0 - labels, np.full(42, 0.5)
    bound = 0.025 ** (1 / 12)
    for probabilities, expected in (
        (right, (bound, 1)),
        (wrong, (0, 1 - bound)),
        (same, (0.5 * bound, 1 - 0.5 * bound)),
    ):
        found = auc_interval(labels, probabilities, repeats=50)
        assert (found.low, found.high) == pytest.approx(expected)
    for auc, expected in ((1.0, (bound, 1)), (0.0, (0, 1 - bound))):
        found = auc_interval_of_counts(auc, 30, 12)
        assert (found.low, found.high) == pytest.approx(expected)
    for alike in (right, np.random.default_rng(0).normal(size=42)):
        found = auc_difference_interval(labels, alike, 2 * alike, repeats=50)
        assert (found.low, found.high) == pytest.approx((bound - 1, 1 - bound))


def test_intervals_of_shares_are_exact_and_of_nothing_not_numbers() -> None:
    found = classification_scores([0, 0, 0, 0, 1], [0.1, 0.2, 0.7, 0.3, 0.9]).intervals()
    accuracy = stats.binomtest(4, 5).proportion_ci(method="exact")
    assert (found["accuracy"].low, found["accuracy"].high) == pytest.approx((accuracy.low, accuracy.high))
    specificity = stats.binomtest(3, 4).proportion_ci(method="exact")
    assert (found["specificity"].low, found["specificity"].high) == pytest.approx((specificity.low, specificity.high))
    assert (found["sensitivity"].low, found["sensitivity"].high) == pytest.approx((0.025, 1))
    assert found["auc"] == classification_scores([0, 0, 0, 0, 1], [0.1, 0.2, 0.7, 0.3, 0.9]).auc_interval
    alone = classification_scores([0, 0], [0.1, 0.9]).intervals()
    assert [name for name, interval in alone.items() if math.isnan(interval.low)] == ["auc", "sensitivity"]
