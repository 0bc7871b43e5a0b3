"""Similarity of maps against the formulas in scipy, and agreement of hits by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata
from torchmetrics.functional.image import structural_similarity_index_measure

from cxrlens.evaluation.similarity import (
    hit_agreement,
    image_sums,
    pixel_ranks,
    rank_correlation,
    ssim,
    ssim_map,
)


def maps(seed: int, count: int = 3, height: int = 24) -> torch.Tensor:
    return torch.rand(count, height, 40, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("height", "reach"), [(24, 5), (6, 5), (3, 2), (1, 0)])
def test_ssim_equals_its_formula(height: int, reach: int):
    """The window of a strip reaches no further than its mirrored rows."""
    first = maps(0, height=height)
    second = (first + maps(1, height=height)) / 2
    found = ssim(first, second)
    for index in range(3):
        x, y = first[index].double().numpy(), second[index].double().numpy()

        def mean(values: np.ndarray) -> np.ndarray:
            return gaussian_filter(values, 1.5, radius=reach, mode="mirror")

        mx, my = mean(x), mean(y)
        vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
        c1, c2 = 0.01**2, 0.03**2
        local = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
        assert float(found[index]) == pytest.approx(float(local.mean()), abs=1e-9)
        assert ssim_map(first, second)[index].numpy() == pytest.approx(local, abs=1e-9)
    torch.testing.assert_close(ssim(first, first), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("offset", [0.0, 0.9])
def test_ssim_equals_torchmetrics(offset: float):
    first, second = offset + (1 - offset) * maps(0), offset + (1 - offset) * maps(1)
    expected = structural_similarity_index_measure(
        first[:, None].double(), second[:, None].double(), data_range=1.0, sigma=1.5, kernel_size=11, reduction="none"
    )
    torch.testing.assert_close(ssim(first, second), expected, rtol=0, atol=1e-10)
    assert ssim(first[:0], second[:0]).shape == (0,)
    with pytest.raises(ValueError):
        ssim(first, second[:2])


def test_spearman_is_the_correlation_of_ranks():
    first, second = (4 * maps(2)).round(), maps(3)
    second[2] = 1 - first[2]
    found = rank_correlation(pixel_ranks(first), pixel_ranks(second))
    for index in range(2):
        ranks = [rankdata(each[index].numpy()) for each in (first, second)]
        assert float(found[index]) == pytest.approx(np.corrcoef(ranks[0].ravel(), ranks[1].ravel())[0, 1])
    assert float(found[2]) == pytest.approx(-1)
    for index in range(3):
        expected = rankdata(first[index].numpy())
        assert pixel_ranks(first)[index].numpy() == pytest.approx((expected - expected.mean()).ravel(), abs=1e-9)
    assert rank_correlation(pixel_ranks(first[:0]), pixel_ranks(second[:0])).shape == (0,)
    constant = rank_correlation(pixel_ranks(torch.zeros(1, 4, 5)), pixel_ranks(maps(0, 1)[:, :4, :5]))
    assert math.isnan(constant[0])


def test_agreement_by_hand():
    # 10 images: 4 both hit, 3 both miss, 2 first only, 1 second only: po .7, pe .6 * .5 + .4 * .5 = .5, kappa .4
    first = [1] * 4 + [0] * 3 + [1, 1] + [0]
    second = [1] * 4 + [0] * 3 + [0, 0] + [1]
    assert hit_agreement(first, second) == pytest.approx(0.4)
    assert hit_agreement([1, 1], [1, 1]) == 1
    assert hit_agreement([1, 0, 1, 0], [0, 1, 0, 1]) == pytest.approx(-1)
    assert hit_agreement([True, True, False], [True, False, False]) == pytest.approx(0.4)  # po 2/3, pe 4/9
    assert hit_agreement([1, 1], [0, 0]) == 0  # always apart, and expected to be


def test_agreement_is_counted_over_images_that_both_have():
    first, second = [1.0, 0, 1, math.nan, 1], [1.0, 0, 0, 1, math.nan]
    assert hit_agreement(first, second) == hit_agreement([1, 0, 1], [1, 0, 0])
    assert math.isnan(hit_agreement([math.nan, 1], [0, math.nan]))
    assert math.isnan(hit_agreement([], []))


@pytest.mark.parametrize(("first", "second"), [([1, 0], [1]), ([[1]], [[1]]), ([0.5, 1], [1, 1]), ([2, 1], [1, 1])])
def test_what_is_no_row_of_hits_is_refused(first: list, second: list):
    with pytest.raises(ValueError, match="hits"):
        hit_agreement(first, second)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_agreement_equals_its_formula(pairs: list[tuple[bool, bool]]):
    one, other = np.array(pairs, dtype=float).T
    seen = np.mean(one == other)
    chance = one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean())
    expected = 1.0 if chance == 1 else (seen - chance) / (1 - chance)
    assert hit_agreement(one, other) == pytest.approx(expected, abs=1e-12)


def test_sums_of_images_are_the_same_with_any_number_of_threads() -> None:
    values = torch.rand(2, 300, 301, generator=torch.Generator().manual_seed(0)).double()
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            similar = ssim(values[:1], values[1:])
            found.append([*image_sums(values), *image_sums(values[:1]), *image_sums(values[0, 0][None]), *similar])
    finally:
        torch.set_num_threads(before)
    assert found[1:] == found[:1] * 3
    assert found[0][0] == pytest.approx(math.fsum(values[0].flatten().tolist()), rel=1e-14)
