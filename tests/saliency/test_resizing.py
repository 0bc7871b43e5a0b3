"""From a layer's cells to the input's pixels: against hand-computed numbers, torch and scipy, and by planted spots."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from cxrlens.errors import UsageError
from cxrlens.models.registry import stages_of
from cxrlens.saliency.cells.grid import CellAxis, CellGrid
from cxrlens.saliency.cells.tracing import traced_grids
from cxrlens.saliency.fusion import scale
from cxrlens.saliency.hooks import forward_hooks
from cxrlens.saliency.resizing import DEFAULT_RESIZE, PUBLISHED_RESIZE, MapResize, resized

CENTRES = MapResize("centres", "bilinear")
CUBIC = MapResize("centres", "bicubic")
SPLINE = MapResize("centres", "bspline")


def grid(stride: float, offset: float = 0, *, across: tuple[float, float] | None = None) -> CellGrid:
    rows = CellAxis(Fraction(stride), Fraction(offset))
    return CellGrid(rows, rows if across is None else CellAxis(Fraction(across[0]), Fraction(across[1])))


def random_maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_areas_by_hand():
    map_ = torch.tensor([[[0.0, 4.0], [8.0, 20.0]]])
    expected = [[0, 1, 3, 4], [2, 3.5, 6.5, 8], [6, 8.5, 13.5, 16], [8, 11, 17, 20]]
    assert resized(map_, (4, 4), None, PUBLISHED_RESIZE)[0].tolist() == expected
    assert resized(map_, (4, 4), grid(2), PUBLISHED_RESIZE)[0].tolist() == expected  # whatever the cells' places


def test_centres_by_hand():
    """Cells of stride 2 from pixel 0 on: at 0 and 2, midway at 1, and repeated at 3."""
    map_ = torch.tensor([[[0.0, 4.0], [8.0, 20.0]]])
    expected = [[0, 2, 4, 4], [4, 8, 12, 12], [8, 14, 20, 20], [8, 14, 20, 20]]
    assert resized(map_, (4, 4), grid(2), CENTRES)[0].tolist() == expected
    expected = [[0, 0, 2, 4, 4]] * 2 + [[4, 4, 8, 12, 12]] + [[8, 8, 14, 20, 20]] * 2
    assert resized(map_, (5, 5), grid(2, 1), CENTRES)[0].tolist() == expected


def test_a_cubic_curve_by_hand():
    """Midway between cells the taps are -3/32, 19/32, 19/32, -3/32; at the ends the outermost cell is taken twice."""
    map_ = torch.tensor([[[1.0, 3.0, 2.0, 0.0]]])
    found = resized(map_, (1, 7), grid(2), CUBIC)[0, 0]
    outer, inner = -3 / 32, 19 / 32
    between = [outer * 1 + inner * 4 + outer * 2, outer * 1 + inner * 5, outer * 3 + inner * 2]
    expected = [1, between[0], 3, between[1], 2, between[2], 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_cubic_curve_is_cut_at_the_maps_smallest_value_and_may_rise_above_the_largest():
    map_ = torch.tensor([[[2.0, 2.0, 9.0, 9.0, 2.0, 2.0]]])
    found = resized(map_, (1, 21), grid(4), CUBIC)
    assert found.min() == 2
    assert found.max() > 9.5


def test_a_spline_by_hand():
    """At a cell 1/6, 4/6, 1/6 of it and its neighbours; midway 1/48, 23/48, 23/48, 1/48."""
    map_ = torch.tensor([[[0.0, 6.0, 0.0, 0.0]]])
    found = resized(map_, (1, 7), grid(2), SPLINE)[0, 0]
    np.testing.assert_allclose(found, [1, 2.875, 4, 2.875, 1, 0.125, 0], atol=1e-6)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_areas_are_torchs_own(interpolation: str):
    maps = random_maps(3, 5, 9)
    found = resized(maps, (31, 43), grid(7), MapResize("areas", interpolation))
    for index in range(3):
        alone = functional.interpolate(maps[None, index : index + 1], size=(31, 43), mode=interpolation)[0, 0]
        if interpolation == "bilinear":
            assert torch.equal(found[index], alone)  # to the bit: what is published stays as it is
        else:  # beyond the outermost cells, torch lets the curve swing
            inner = np.s_[3:-3, 3:-3]
            expected = alone.clamp(min=maps[index].min())
            torch.testing.assert_close(found[index][inner], expected[inner], rtol=0, atol=2e-6)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("stride", [2, 8, 32])
def test_whole_strides_from_pixel_0_are_torchs_with_aligned_corners(interpolation: str, stride: int):
    maps = random_maps(2, 4, 7)
    height, width = 3 * stride + 1, 6 * stride + 1
    found = resized(maps, (height + 3, width + stride - 1), grid(stride), MapResize("centres", interpolation))
    expected = functional.interpolate(maps[:, None], (height, width), mode=interpolation, align_corners=True)[:, 0]
    expected = torch.maximum(expected, maps.amin((1, 2), keepdim=True))
    torch.testing.assert_close(found[:, :height, :width], expected, rtol=0, atol=2e-6)
    assert torch.equal(found[:, height:], found[:, height - 1 : height].expand(-1, 3, -1))
    assert torch.equal(found[:, :, width:], found[:, :, width - 1 : width].expand(-1, -1, stride - 1))


@pytest.mark.parametrize("across", [(8, 2), (5, -1.5), (2.5, 0.75)])
def test_any_stride_and_offset_equals_scipy(across: tuple[float, float]):
    maps = random_maps(2, 6, 11)
    found = resized(maps, (37, 52), grid(6, 2.5, across=across), CENTRES)
    rows, columns = 2.5 + 6 * np.arange(6), across[1] + across[0] * np.arange(11)
    places = np.meshgrid(
        np.clip(np.arange(37), rows[0], rows[-1]), np.clip(np.arange(52), columns[0], columns[-1]), indexing="ij"
    )
    for map_, full in zip(maps.numpy(), found.numpy(), strict=True):
        np.testing.assert_allclose(full, RegularGridInterpolator((rows, columns), map_)(tuple(places)), atol=1e-6)


@pytest.mark.parametrize("resize", [PUBLISHED_RESIZE, CENTRES, CUBIC, SPLINE, MapResize("areas", "bicubic")], ids=str)
@pytest.mark.parametrize("value", [0.0, 3.3, -1e-20, 1e30, 0.1])
def test_a_constant_map_stays_flat(resize: MapResize, value: float):
    full = resized(torch.full((1, 5, 7), value), (77, 63), grid(11, 3, across=(9, 0)), resize)
    assert scale(full)[1].tolist() == [True]


@pytest.mark.parametrize("resize", [CENTRES, CUBIC, SPLINE], ids=str)
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_makes_its_own_map_flat_and_no_other(resize: MapResize, broken: float):
    maps = random_maps(3, 4, 6)
    maps[1, 2, 3] = broken
    assert scale(resized(maps, (32, 48), grid(8), resize))[1].tolist() == [False, True, False]


@pytest.mark.parametrize("resize", [CENTRES, CUBIC, SPLINE], ids=str)
def test_a_single_cell_is_a_constant_map(resize: MapResize):
    assert torch.equal(resized(torch.full((1, 1, 1), 0.7), (20, 31), grid(32), resize), torch.full((1, 20, 31), 0.7))


@pytest.mark.parametrize("resize", [CENTRES, CUBIC, SPLINE], ids=str)
def test_the_precision_does_not_depend_on_autocast(resize: MapResize):
    maps = random_maps(2, 5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        found = resized(maps, (40, 48), grid(8), resize)
    assert torch.equal(found, resized(maps, (40, 48), grid(8), resize))


@pytest.mark.parametrize(
    ("resize", "message"),
    [
        (MapResize("corners"), "unknown grid 'corners': use centres or areas"),
        (MapResize("areas", "nearest"), "unknown interpolation 'nearest': use bilinear, bicubic, bspline"),
    ],
)
def test_an_unknown_resize_is_refused(resize: MapResize, message: str):
    with pytest.raises(UsageError, match=message):
        resize.check()


def _even(network: nn.Module) -> nn.Module:
    """The network with positive weights that fade from each kernel's middle: brightness goes to where it belongs."""
    double = copy.deepcopy(network).eval()
    for module in double.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if isinstance(module, nn.Conv2d):
                taps = torch.arange(module.kernel_size[0]) - module.kernel_size[0] // 2
                module.weight.data *= torch.exp(-(taps**2)) * torch.exp(-(taps**2))[:, None]
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return double.double()


def _activations(network: nn.Module, image: Tensor, layers: dict[str, nn.Module]) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}
    with torch.no_grad(), forward_hooks(layers, lambda name, _inputs, output: seen.update({name: output})):
        network(image)
    return seen


@pytest.mark.parametrize("size", [(160, 224), (131, 193)])
@pytest.mark.parametrize("build", [models.resnet34, models.efficientnet_b0])
def test_a_planted_spot_is_found_within_half_a_cell_at_every_stride(
    build: Callable[[], nn.Module], size: tuple[int, int]
):
    network = _even(build())
    stages = stages_of(network)
    assert stages is not None
    layers = {name: network.get_submodule(name) for name in (*stages.combined, stages.last)}
    grids = traced_grids(network, torch.zeros(1, 3, *size, dtype=torch.float64), layers)
    for spot in ((50, 141), (93, 76), (size[0] // 2, 37)):
        image = torch.zeros(1, 3, *size, dtype=torch.float64)
        image[:, :, spot[0], spot[1]] = 1000
        for name, activation in _activations(network, image, layers).items():
            cells = grids[name]
            assert cells is not None
            full = resized(activation.square().sum(1), size, cells, DEFAULT_RESIZE)
            row, column = divmod(int(full.argmax()), size[1])
            assert abs(row - spot[0]) <= cells.rows.stride / 2 + 1, (name, spot)
            assert abs(column - spot[1]) <= cells.columns.stride / 2 + 1, (name, spot)
