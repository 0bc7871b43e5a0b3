"""The exact sign-flip test against SciPy's permutations, McNemar's binomial and numbers by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from cxrlens.evaluation.comparison import beats_best_baseline, compare_rows, compare_statistics
from cxrlens.evaluation.sign_flips import sign_flip_p, smallest_p


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("n", [2, 5, 9])
def test_scipy_permutes_the_same(n: int, one_sided: bool) -> None:
    rng = np.random.default_rng(n)
    for differences in (rng.normal(0.5, 1, n), rng.integers(1, 4, n) / 10, -rng.random(n)):
        expected = stats.permutation_test(
            (differences,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=False,
            alternative="greater" if one_sided else "two-sided",
        ).pvalue  # fmt: skip
        assert sign_flip_p(differences, one_sided=one_sided) == pytest.approx(expected)


@pytest.mark.parametrize(("lost", "won"), [(4, 0), (1, 0), (3, 2), (9, 4), (13, 0)])
def test_of_outcomes_it_is_mcnemars_exact_test(lost: int, won: int) -> None:
    """Images without a difference change nothing, however many."""
    first = np.array([1.0] * lost + [0.0] * won + [1.0, 0.0] * 20)
    second = np.array([0.0] * lost + [1.0] * won + [1.0, 0.0] * 20)
    (found,) = compare_rows([first, second])
    assert found.p_value == pytest.approx(stats.binomtest(won, lost + won).pvalue)


def test_images_that_all_differ_alike_by_hand() -> None:
    for n in (1, 2, 5, 12):
        (found,) = compare_rows([np.full(n, 0.8), np.full(n, 0.5)])
        assert found.p_value == min(1, 2 / 2**n) == smallest_p(n)
    (above,) = beats_best_baseline(np.ones((1, 4)), np.zeros((1, 4)))
    assert above.p_value == 1 / 2**4
    assert not above.beats
    (below,) = beats_best_baseline(np.zeros((1, 4)), np.ones((1, 4)))
    assert below.p_value == 1


def test_no_difference_and_no_value() -> None:
    equal, empty, _ = compare_rows([[1.0, 0], [1, 0], [math.nan, math.nan]])
    assert equal.p_value == 1
    assert math.isnan(empty.p_value)


def test_more_patterns_than_resamples_are_bounded_by_them() -> None:
    """14 images make 16,384 patterns, of which 10,000 resamples know nothing; 13 are enumerated."""
    for n, expected in ((13, 2 / 2**13), (14, 2 / 2**14), (30, 1 / 10_001)):
        (found,) = compare_rows([np.ones(n), np.zeros(n)])
        assert found.p_value == expected


def test_several_trainings_keep_the_bootstrap_within_that_bound() -> None:
    """Sampled trainings are no images: of 3 on 5 images that differ alike, p is not below that of 5 images."""
    (found,) = compare_rows([np.ones((3, 5)), np.zeros((3, 5))])
    assert found.p_value == 2 / 2**5
    few, many = np.zeros((3, 40)), np.zeros((3, 40))
    few[:, :6] = 1  # of 40 images the same six differ in each training
    many[0, :6], many[1, 6:12], many[2, 12:18] = 1, 1, 1
    assert compare_rows([few, np.zeros((3, 40))])[0].p_value >= 2 / 2**6
    assert compare_rows([many, np.zeros((3, 40))])[0].p_value < 2 / 2**6


def test_statistics_of_few_images_are_bounded_too() -> None:
    draws = np.tile([0.9, 0.2], (500, 1))
    (found,) = compare_statistics(np.array([0.9, 0.2]), draws, pairs=[(0, 1)], n=5)
    assert found.p_value == 2 / 2**5
