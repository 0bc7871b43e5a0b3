"""Ranks against Demsar's worked example, published quantiles, and slow loops over pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cxrlens.evaluation.ranking import Ranking, critical_difference, rank_rows
from unwarned import no_warnings

# AUC of C4.5 and three variants on 14 data sets: Demsar 2006, table 6
DEMSAR = np.array(
    [
        (0.763, 0.768, 0.771, 0.798),
        (0.599, 0.591, 0.590, 0.569),
        (0.954, 0.971, 0.968, 0.967),
        (0.628, 0.661, 0.654, 0.657),
        (0.882, 0.888, 0.886, 0.898),
        (0.936, 0.931, 0.916, 0.931),
        (0.661, 0.668, 0.609, 0.685),
        (0.583, 0.583, 0.563, 0.625),
        (0.775, 0.838, 0.866, 0.875),
        (1.000, 1.000, 1.000, 1.000),
        (0.940, 0.962, 0.965, 0.962),
        (0.619, 0.666, 0.614, 0.669),
        (0.972, 0.981, 0.9751, 0.9749),  # printed as 0.975 twice, ranked 2 and 3
        (0.957, 0.978, 0.946, 0.970),
    ]
).T


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with no_warnings():
        yield


def test_the_worked_example_of_demsar():
    found = rank_rows(DEMSAR)
    assert found.average_ranks == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=5e-4)
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert found.groups == ((3, 1, 2, 0),)  # at 0.05 the test tells none of them apart
    assert found.n == 14
    uncorrected = stats.chi2.sf(9.28, 3)  # his statistic has no correction for ties, which lowers p
    assert 0.5 * uncorrected < found.p_value < uncorrected


@pytest.mark.parametrize(
    ("rows", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (10, 3.164)]
)
def test_the_critical_difference_has_the_published_quantiles(rows: int, q: float):
    n = 30
    assert critical_difference(rows, n) == pytest.approx(q * math.sqrt(rows * (rows + 1) / 6 / n), rel=3e-4)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 7), st.integers(1, 40), st.booleans(), st.sampled_from((0.0, 0.5, 3.0)))
def test_ranks_and_groups_equal_slow_loops(seed: int, rows: int, n: int, higher: bool, spread: float):
    rng = np.random.default_rng(seed)
    values = (spread * rng.random((rows, 1)) + rng.random((rows, n))).round(1)  # ties
    found = rank_rows(values, higher_is_better=higher)
    for row in range(rows):
        ranks = []
        for image in range(n):
            gaps = (values[:, image] - values[row, image]) * (1 if higher else -1)
            ranks.append(1 + (gaps > 0).sum() + ((gaps == 0).sum() - 1) / 2)
        assert found.average_ranks[row] == pytest.approx(np.mean(ranks))

    def together(group: tuple[int, ...]) -> bool:
        return all(
            abs(found.average_ranks[a] - found.average_ranks[b]) < found.critical_difference
            for a, b in combinations(group, 2)
        )

    cliques = [set(g) for size in range(1, rows + 1) for g in combinations(range(rows), size) if together(g)]
    largest = [clique for clique in cliques if not any(clique < other for other in cliques)]
    assert sorted(map(sorted, found.groups)) == sorted(map(sorted, largest))
    flat = [found.average_ranks[row] for group in found.groups for row in group[:1]]
    assert flat == sorted(flat)


def test_a_clear_order_gives_groups_of_one():
    values = np.arange(3.0)[:, None] + np.linspace(0, 0.5, 100)
    found = rank_rows(values)
    assert found.average_ranks == (3, 2, 1)
    assert found.groups == ((2,), (1,), (0,))
    assert found.p_value < 1e-20
    assert rank_rows(values, higher_is_better=False).groups == ((0,), (1,), (2,))


def test_overlapping_groups():
    # average ranks 1.6, 2.0, 2.4 over ten images: neighbours are 0.4 apart, the ends 0.8; a longer list parts the ends
    ordered = [[3, 2, 1]] * 6 + [[2, 1, 3], [1, 3, 2]] * 2
    values = np.array(ordered * 2, dtype=float).T
    found = rank_rows(values)
    assert found.average_ranks == pytest.approx((1.6, 2.0, 2.4))
    assert 0.4 < found.critical_difference < 0.8
    assert found.groups == ((0, 1), (1, 2))


def test_images_with_a_nan_are_left_out_and_seeds_averaged():
    values = np.random.default_rng(0).random((4, 3, 20))
    values[1, 2, 5] = values[3, 0, 7] = np.nan
    kept = np.setdiff1d(np.arange(20), [5, 7])
    found = rank_rows(values)
    assert found == rank_rows(values.mean(axis=1)[:, kept])
    assert found.n == 18


def test_at_the_edges():
    tied = rank_rows(np.ones((3, 5)))
    assert (tied.average_ranks, tied.p_value, tied.groups) == ((2, 2, 2), 1.0, ((0, 1, 2),))
    two = rank_rows([[1.0, 2, 3], [0, 0, 5]])
    assert two.average_ranks == pytest.approx((4 / 3, 5 / 3))
    assert math.isnan(two.p_value)
    assert two.groups == ((0, 1),)
    assert rank_rows([[1.0, 2]]).groups == ((0,),)
    empty = rank_rows(np.full((2, 3), np.nan))
    assert isinstance(empty, Ranking)
    assert np.isnan([*empty.average_ranks, empty.critical_difference, empty.p_value]).all()
    assert (empty.groups, empty.n) == ((), 0)
    with pytest.raises(ValueError, match="shape"):
        rank_rows([1.0, 2.0])
