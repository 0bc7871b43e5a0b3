"""Scaling, combining and smoothing against hand-computed numbers and scipy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from cxrlens.errors import UsageError
from cxrlens.saliency.fusion import COMBINATIONS, Fusion, combine, scale
from cxrlens.saliency.gaussian import smooth, smooth_widely
from cxrlens.saliency.resizing import PUBLISHED_RESIZE, MapResize


def random_maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def joined(
    layers: Sequence[Tensor],
    size: tuple[int, int],
    combination: str = "product",
    weights: Sequence[float] | None = None,
    resize: MapResize = PUBLISHED_RESIZE,
) -> Tensor:
    """`combine` of layers whose cells lie nowhere in particular."""
    fusion = Fusion(combination, None if weights is None else tuple(weights), resize=resize)
    return combine(layers, [None] * len(layers), size, fusion)


def test_scaling_by_hand():
    maps = torch.tensor([[[1.0, 3.0, 5.0]], [[-2.0, 0.0, 6.0]]])
    assert scale(maps)[0].tolist() == [[[0.0, 0.5, 1.0]], [[0.0, 0.25, 1.0]]]


@pytest.mark.parametrize("magnitude", [2.0**-50, 2.0**-83, 2.0**60])  # 9e-16, 1e-25, 1e18
def test_scaling_is_relative_to_the_maps_own_range(magnitude: float):
    maps = random_maps(3, 6, 11)
    scaled, flat = scale(magnitude * maps)
    assert not flat.any()
    assert torch.equal(scaled, scale(maps)[0])
    assert torch.equal(
        joined([magnitude * maps, maps.flip(2) / magnitude], (12, 33)), joined([maps, maps.flip(2)], (12, 33))
    )


def test_a_scaled_map_covers_zero_to_one():
    scaled, _ = scale(random_maps(4, 6, 11, seed=1) * 1e-20)
    assert torch.equal(scaled.amin((1, 2)), torch.zeros(4))
    assert torch.equal(scaled.amax((1, 2)), torch.ones(4))


@pytest.mark.parametrize(
    "broken",
    [
        torch.zeros(4, 7),
        torch.full((4, 7), 3.3),
        torch.full((4, 7), -1e-20),
        torch.full((4, 7), 1.0).index_fill(1, torch.tensor([3]), 1 + 2**-23),  # a rounding error is no structure
        torch.rand(4, 7).index_fill(1, torch.tensor([3]), math.nan),
        torch.rand(4, 7).index_fill(1, torch.tensor([3]), math.inf),
        torch.rand(4, 7).index_fill(1, torch.tensor([3]), -math.inf),
        torch.full((4, 7), math.nan),
    ],
    ids=["zero", "constant", "tiny constant", "rounding", "NaN", "inf", "-inf", "all NaN"],
)
def test_flat_and_non_finite_maps_are_flagged_and_become_zero(broken: Tensor):
    healthy = random_maps(4, 7)
    maps = torch.stack([healthy, broken, 2 * healthy])
    scaled, flat = scale(maps)
    assert flat.tolist() == [False, True, False]
    assert not scaled[1].any()
    assert torch.equal(scaled[0], scale(healthy[None])[0][0])
    product = joined([healthy.expand(3, 4, 7), maps, healthy.flip(0).expand(3, 4, 7)], (8, 21))
    assert scale(product)[1].tolist() == [False, True, False]
    assert not product[1].any()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_flat_layer_makes_the_product_flat_wherever_it_stands(place: int):
    layers = [random_maps(1, 4, 7, seed=seed) for seed in range(3)]
    layers[place] = torch.zeros(1, 4, 7)
    product = joined(layers, (8, 14))
    assert scale(product)[1].all()
    assert not product.any()


def test_combining_is_the_scaled_product_of_scaled_maps():
    layers = [random_maps(2, 3, 5), 7 + 5 * random_maps(2, 6, 10, seed=1), 1e-12 * random_maps(2, 2, 2, seed=2)]
    found = scale(joined(layers, (12, 20)))[0].numpy()
    for index in range(2):
        product = np.ones((12, 20))
        for layer in layers:
            full = functional.interpolate(layer[None, index : index + 1].double(), (12, 20), mode="bilinear")[0, 0]
            values = full.numpy()
            product *= (values - values.min()) / np.ptp(values)
        expected = (product - product.min()) / np.ptp(product)
        np.testing.assert_allclose(found[index], expected, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.0])
@pytest.mark.parametrize("shape", [(23, 41), (41, 23)])
def test_smoothing_equals_scipy(shape: tuple[int, int], sigma: float):
    maps = random_maps(2, *shape, seed=3)
    expected = [ndimage.gaussian_filter(map_.numpy().astype(float), sigma, mode="mirror", truncate=5) for map_ in maps]
    np.testing.assert_allclose(smooth(maps, sigma).numpy(), np.stack(expected), atol=1e-6)


def test_a_sigma_of_one_is_a_kernel_of_eleven_by_eleven():
    spot = torch.zeros(1, 31, 41, dtype=torch.float64)
    spot[0, 12, 25] = 1
    kernel = smooth(spot, 1.0)[0]
    rows, columns = torch.nonzero(kernel, as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 17, 20, 30)
    assert kernel.sum() == pytest.approx(1)
    assert float(kernel[12, 26] / kernel[12, 25]) == pytest.approx(math.exp(-0.5))
    assert float(kernel[14, 25] / kernel[12, 25]) == pytest.approx(math.exp(-2))


def test_a_map_smaller_than_the_kernel_can_be_smoothed():
    maps = random_maps(1, 3, 8)
    smoothed = smooth(maps, 1.0)
    assert smoothed.shape == maps.shape
    assert smoothed.std() < maps.std()


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_a_sigma_that_is_not_positive_is_refused(sigma: float):
    with pytest.raises(UsageError, match="sigma"):
        smooth(random_maps(1, 9, 9), sigma)


@pytest.mark.parametrize("how", COMBINATIONS)
@pytest.mark.parametrize("weights", [None, (0.2, 0.3, 0.5), (2.0, 0.0, 6.0)])
def test_combinations_equal_their_formula(how: str, weights: tuple[float, ...] | None):
    layers = [random_maps(2, 3, 5), 7 + 5 * random_maps(2, 6, 10, seed=1), 1e-12 * random_maps(2, 2, 2, seed=2)]
    layers = [layer.double() for layer in layers]  # a root magnifies the rounding of values near 0
    if how in ("product", "max") and weights is not None:
        with pytest.raises(UsageError, match=how):
            joined(layers, (12, 20), how, weights)
        return
    found = joined(layers, (12, 20), how, weights).numpy()
    shares = np.array(weights or (1, 1, 1)) / sum(weights or (1, 1, 1))
    for index in range(2):
        full = [
            functional.interpolate(layer[None, index : index + 1].double(), (12, 20), mode="bilinear")[0, 0].numpy()
            for layer in layers
        ]
        scaled = np.stack([(values - values.min()) / np.ptp(values) for values in full])
        expected = {
            "product": scaled.prod(0),
            "geometric": np.prod([values**share for values, share in zip(scaled, shares, strict=True)], axis=0),
            "mean": np.average(scaled, axis=0, weights=shares),
            "max": scaled.max(0),
        }[how]
        np.testing.assert_allclose(found[index], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("how", "weights", "message"),
    [
        ("sum", None, "unknown combination"),
        ("mean", (1.0, 2.0), "3 layers need 3 weights"),
        ("mean", (1.0, 2.0, -1.0), "0 or more"),
        ("geometric", (0.0, 0.0, 0.0), "not all 0"),
        ("geometric", (1.0, math.nan, 1.0), "weights"),
    ],
)
def test_wrong_combinations_are_refused(how: str, weights: tuple[float, ...] | None, message: str):
    with pytest.raises(UsageError, match=message):
        joined([random_maps(1, 3, 5)] * 3, (6, 10), how, weights)


@pytest.mark.parametrize("radius", [2, 9, 40])
def test_both_ways_of_smoothing_agree_with_scipy(radius: int):
    images = torch.rand(2, 3, 17, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    reaches = (min(radius, 16), min(radius, 29))
    expected = torch.from_numpy(ndimage.gaussian_filter(images, 3.0, radius=reaches, axes=(2, 3), mode="mirror"))
    torch.testing.assert_close(smooth_widely(images, 3.0, radius), expected, rtol=0, atol=1e-12)
    if radius <= 16:
        narrow = smooth(images.flatten(0, 1), 3.0, radius).reshape(images.shape)
        torch.testing.assert_close(narrow, expected, rtol=0, atol=1e-12)
