"""Where a cell lies: read off the operations, against the receptive field that autograd sees, and measured."""

from __future__ import annotations

import copy
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from cxrlens.saliency.cells.grid import CellAxis, CellGrid
from cxrlens.saliency.cells.known import cell_grids
from cxrlens.saliency.cells.measuring import measured_grid
from cxrlens.saliency.cells.tracing import traced_grids
from cxrlens.saliency.hooks import forward_hooks


def axis(stride: float, offset: float) -> CellAxis:
    return CellAxis(Fraction(stride), Fraction(offset))


def grid_of(network: nn.Module, size: tuple[int, int], layer: str) -> CellGrid | None:
    """As it is read, for colour images."""
    found = traced_grids(network.eval(), torch.rand(1, 3, *size), {layer: network.get_submodule(layer)})
    return found[layer]


def positive(network: nn.Module) -> nn.Module:
    """A copy with all weights alike and positive, whose norms do nothing: every path from an input pixel counts."""
    double = copy.deepcopy(network).eval()
    for module in double.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return double.double()


def centroid(network: nn.Module, size: tuple[int, int], layer: str, cell: tuple[int, int]) -> tuple[float, float]:
    """The centroid of a cell's receptive field, from the gradient of a flat image."""
    seen: list[Tensor] = []
    image = torch.ones(1, 3, *size, dtype=torch.float64, requires_grad=True)
    with forward_hooks({layer: network.get_submodule(layer)}, lambda _n, _i, output: seen.append(output)):
        network(image)
    seen[0][0, :, cell[0], cell[1]].sum().backward()
    assert image.grad is not None
    energy = image.grad.abs()[0].sum(0)
    rows = (energy.sum(1) * torch.arange(size[0])).sum() / energy.sum()
    columns = (energy.sum(0) * torch.arange(size[1])).sum() / energy.sum()
    return float(rows), float(columns)


windows = st.tuples(
    st.sampled_from(["convolution", "average", "pad", "pair", "depthwise", "residual"]),
    st.integers(1, 5),  # kernel
    st.integers(1, 3),  # stride
    st.integers(0, 2),  # padding
    st.integers(1, 2),  # dilation
)


class Residual(nn.Module):
    """x + f(x), f of an odd kernel in its middle, and strided as the shortcut is."""

    def __init__(self, reach: int, stride: int) -> None:
        super().__init__()
        self.long = nn.Conv2d(3, 3, 2 * reach + 1, stride, reach)
        self.short = nn.Conv2d(3, 3, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(self.long(x)) + self.short(x)


def module_of(kind: str, kernel: int, stride: int, padding: int, dilation: int) -> nn.Module:
    if kind == "average":
        return nn.AvgPool2d(kernel, stride, min(padding, kernel // 2))
    if kind == "pad":
        return nn.ZeroPad2d((padding, kernel, dilation, 0))
    if kind == "pair":  # other settings along each side
        return nn.Conv2d(3, 3, (kernel, 3), (1, stride), (padding, 0), (dilation, 1))
    if kind == "depthwise":
        return nn.Sequential(nn.Conv2d(3, 3, kernel, stride, padding, dilation, groups=3), nn.Hardswish())
    if kind == "residual":
        return Residual(kernel // 2, stride)
    return nn.Sequential(nn.Conv2d(3, 3, kernel, stride, padding, dilation), nn.BatchNorm2d(3), nn.ReLU())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kinds=st.lists(windows, min_size=1, max_size=4), height=st.integers(195, 210), width=st.integers(160, 170))
def test_a_random_stack_has_its_cells_where_autograd_sees_them(
    kinds: list[tuple[str, int, int, int, int]], height: int, width: int
):
    reach, step = 0, 1  # at most: the part of the image that a cell in its middle sees, padding included
    for _, kernel, stride, padding, dilation in kinds:
        reach += step * (2 * dilation * (kernel + 2) + padding)
        step *= stride
    assume(reach + 2 * step < width)
    network = nn.Sequential(*(module_of(*kind) for kind in kinds)).eval()
    layer = str(len(kinds) - 1)
    with torch.no_grad():
        rows, columns = network(torch.zeros(1, 3, height, width)).shape[2:]
    grid = grid_of(network, (height, width), layer)
    assert grid is not None
    cell = rows // 2, columns // 2  # far from the edges, where padding cuts the field
    found = centroid(positive(network), (height, width), layer, cell)
    assert found[0] == pytest.approx(float(grid.rows.offset + grid.rows.stride * cell[0]), abs=1e-6)
    assert found[1] == pytest.approx(float(grid.columns.offset + grid.columns.stride * cell[1]), abs=1e-6)


def test_a_stack_by_hand():
    """3 x 3 of stride 2 unpadded: cells at 1, 3, 5 ...; then 2 x 2 pooling: midway between two of them, 2, 6, 10 ..."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 3, padding=1))
    expected = CellGrid(axis(4, 2), axis(4, 2))
    assert grid_of(network, (41, 30), "2") == expected
    assert grid_of(network, (41, 30), "3") == expected
    assert grid_of(network, (41, 30), "0") == CellGrid(axis(2, 1), axis(2, 1))


@pytest.mark.parametrize(
    ("build", "size", "layer", "stride", "offset"),
    [
        (models.resnet34, (64, 97), "layer2.0", 8, 0),
        (models.resnet34, (65, 96), "layer4.2", 32, 0),
        (models.efficientnet_b0, (97, 64), "features.0.0", 2, 0),
        (models.efficientnet_b0, (97, 64), "features.8", 32, 0),
        (models.densenet121, (64, 96), "features.denseblock2", 8, 2),  # 2 x 2 pooling: half a cell of stride 4
        (models.densenet121, (64, 96), "features.denseblock4", 32, 14),
        (models.convnext_tiny, (64, 96), "features.1", 4, 1.5),  # patches of 4: from 0 to 3
        (models.convnext_tiny, (64, 96), "features.7", 32, 15.5),
        (models.mobilenet_v3_small, (64, 96), "features.12", 32, 0),
        (models.shufflenet_v2_x0_5, (64, 96), "stage3", 16, 0),
        (models.squeezenet1_1, (65, 97), "features.3", 4, 3),  # unpadded, ceil mode
    ],
)
def test_the_layers_of_known_networks(
    build: Callable[[], nn.Module], size: tuple[int, int], layer: str, stride: float, offset: float
):
    assert grid_of(build(), size, layer) == CellGrid(axis(stride, offset), axis(stride, offset))


def test_functions_count_as_modules_do():
    class Functions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(3, 5, 3, padding=1)
            self.two = nn.Linear(5, 6)
            self.last = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            x = functional.max_pool2d(self.one(x), 3, 2, 1)  # cells 0, 2, 4 ...
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear")  # -0.5, 0.5, 1.5 ...
            gate = x.mean((2, 3), keepdim=True).sigmoid()  # of no place
            x = torch.cat([x * gate, x + 1], 1)[:, :5, 2:]  # rows from 1.5 on
            x = self.two(x.permute(0, 2, 3, 1))  # [N, h, w, C]
            return self.last(x.permute(0, 3, 1, 2).contiguous())

    assert grid_of(Functions(), (40, 28), "last") == CellGrid(axis(1, 1.5), axis(1, -0.5))


class Disagreeing(nn.Module):
    """Two ways of other offsets to one sum: between them, by weights that no arithmetic of windows knows."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, 2, 1)
        self.two = nn.Conv2d(3, 4, 2, 2)
        self.last = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.one(x) + self.two(x))


class Rolled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.roll(x, 3, 2))


class Windowed(nn.Module):
    """Windows of 4 x 4 cells, moved by some: what is done in them, and whether they are moved back."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, 2, 1)
        self.last = nn.Identity()
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x).permute(0, 2, 3, 1)
        count, height, width, channels = x.shape
        if self.way == "joined":  # the means of windows
            x = x.view(count, height // 4, 4, width // 4, 4, channels).mean((2, 4))
        elif self.way == "gathered":  # every fourth row and column, side by side
            x = torch.cat([x[:, row::4, column::4] for row in range(4) for column in range(4)], 3)
        elif self.way == "half":  # not all of them
            x = torch.cat([x[:, row::4, row::4] for row in range(4)], 3)
        else:
            short = x
            x = functional.pad(x.roll((-1, -2), (1, 2)), (0, 0, 0, 4, 0, 4))
            tall, wide = x.shape[1:3]
            x = x.view(count, tall // 4, 4, wide // 4, 4, channels).permute(0, 1, 3, 2, 4, 5)
            windows = x.reshape(-1, 16, channels)
            windows = (windows @ windows.transpose(1, 2)).softmax(2) @ windows
            x = windows.view(count, tall // 4, wide // 4, 4, 4, channels).permute(0, 1, 3, 2, 4, 5)
            x = x.reshape(count, tall, wide, channels)[:, :height, :width]
            x = x.roll((1, 2) if self.way == "back" else (1, 1), (1, 2)) + short
        return self.last(x)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("back", nn.Conv2d(3, 4, 3, 2, 1)),
        ("joined", nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AvgPool2d(4))),
        ("gathered", nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AvgPool2d(4))),
    ],
)
def test_cells_are_followed_through_windows(way: str, expected: nn.Module):
    network = nn.Sequential(expected, nn.Identity())
    assert grid_of(Windowed(way), (64, 96), "last") == grid_of(network, (64, 96), "1") is not None


@pytest.mark.parametrize("way", ["half", "elsewhere"])
def test_windows_that_are_not_put_back_are_not_guessed(way: str):
    assert grid_of(Windowed(way), (64, 96), "last") is None


@pytest.mark.parametrize("build", [Disagreeing, Rolled])
def test_what_cannot_be_read_is_not_guessed(build: Callable[[], nn.Module]):
    assert grid_of(build(), (32, 48), "last") is None


def test_two_ways_that_disagree_are_measured_between_both():
    grid = measured_grid(Disagreeing().eval(), torch.zeros(1, 3, 96, 64), "last", "first")
    assert grid is not None
    for found in (grid.rows, grid.columns):
        assert found.stride == 2
        assert 0 < found.offset < 0.5


@pytest.mark.parametrize(
    ("network", "stride", "offset"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3), nn.SiLU(), nn.Conv2d(8, 8, 3, 2, 1)), 4, 0),
        (nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.GELU(), nn.Conv2d(8, 8, 3, 1, 1)), 4, 1.5),
        (nn.Sequential(nn.ZeroPad2d((0, 4, 0, 4)), nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.MaxPool2d(2)), 4, 3),
    ],
)
def test_measured_cells_lie_where_the_read_ones_do(network: nn.Sequential, stride: int, offset: float):
    layer = str(len(network) - 1)
    measured = measured_grid(network.eval(), torch.zeros(1, 3, 128, 96), layer, "first")
    assert grid_of(network, (128, 96), layer) == CellGrid(axis(stride, offset), axis(stride, offset))
    assert measured is not None
    for found in (measured.rows, measured.columns):
        assert found.stride == stride
        assert float(found.offset) == pytest.approx(offset, abs=stride / 8)


class Cropped(nn.Module):
    """The cells about the image's middle, of a map whose rows were rolled, which no arithmetic of windows follows.

    Args:
        stride: of the cells.
        cut: rows and columns that are cut off on each side: (first, last).
        gate: by how much of its average over the image a channel is raised everywhere.
    """

    def __init__(self, stride: int, cut: tuple[int, int], gate: float = 0.0) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, stride, 1)
        self.two = nn.Conv2d(8, 8, 3, 1, 1)
        self.last = nn.Identity()
        self.cut = slice(cut[0], -cut[1])
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.one(torch.roll(x, 3, 2)).relu())
        x = x + self.gate * x.mean((2, 3), keepdim=True)
        return self.last(x[:, :, self.cut, self.cut])


@pytest.mark.parametrize(
    ("network", "size", "stride"),
    [
        (Cropped(2, (8, 8)), 64, 2),  # 16 cells, whose even stride would be 4
        (Cropped(2, (2, 14), gate=3), 64, 2),  # likewise
        (Cropped(3, (3, 5)), 96, 3),  # 24 cells: 4
        (Cropped(2, (1, 3)), 64, 2),  # 28 cells: no whole number
    ],
)
def test_cells_whose_stride_is_not_the_side_over_their_number(network: nn.Module, size: int, stride: int):
    assert grid_of(network, (size, size), "last") is None
    grid = measured_grid(network, torch.zeros(1, 3, size, size), "last", "first")
    assert grid is not None
    assert grid.rows.stride == grid.columns.stride == stride
    network.gate = 0.0  # what sees all of the image has no place of its own
    for cell in (4, 9):
        found = centroid(positive(network), (size, size), "last", (cell, cell))
        for axis_, expected in zip((grid.rows, grid.columns), found, strict=True):
            assert float(axis_.offset + axis_.stride * cell) == pytest.approx(expected, abs=stride / 4)


def test_a_stride_that_is_no_whole_number_is_not_measured():
    class Between(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(3, 8, 5, 2, 2)
            self.last = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            x = functional.interpolate(torch.roll(self.one(x), 1, 2), scale_factor=0.3, mode="bilinear")
            return self.last(x)  # 20 / 3 pixels apart, and 78 over 11 is none either

    assert measured_grid(Between().eval(), torch.zeros(1, 3, 78, 78), "last", "first") is None


def test_a_layer_that_sees_the_whole_image_alike_has_no_places():
    class Global(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(16 * 16, 16 * 16)
            self.last = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.mix(x.flatten(2)).unflatten(2, (16, 16)))

    network = Global().eval()
    assert grid_of(network, (16, 16), "last") is None
    assert measured_grid(network, torch.zeros(1, 3, 16, 16), "last", "first") is None


class Resampled(nn.Module):
    """A convolution of stride 2, whose map is resampled."""

    def __init__(self, **how: Any) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 5, 2, 2)
        self.last = nn.Identity()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        return self.last(functional.interpolate(self.one(x), **self.how))


@pytest.mark.parametrize(
    ("how", "stride", "offset"),
    [
        # 39 rows to 11: torch steps by 10 / 3 rows, not by 39 / 11. Entry 0 at (10 / 3 - 1) / 2 rows of 2 pixels.
        ({"scale_factor": 0.3, "mode": "bilinear"}, Fraction(20, 3), Fraction(7, 3)),
        ({"scale_factor": 0.3, "mode": "bicubic"}, Fraction(20, 3), Fraction(7, 3)),
        ({"scale_factor": 0.3, "mode": "bilinear", "recompute_scale_factor": True}, Fraction(78, 11), Fraction(28, 11)),
        ({"scale_factor": 3, "mode": "nearest"}, Fraction(2, 3), Fraction(-2, 3)),  # three times the same, about it
        ({"scale_factor": 1 / 3, "mode": "nearest"}, 6, 0),  # every third
        ({"size": (13, 13), "mode": "nearest"}, 6, 0),
        ({"size": (20, 20), "mode": "bilinear", "align_corners": True}, 4, 0),  # 38 steps of 2 pixels in 19
    ],
)
def test_resampling_steps_as_torch_does(how: dict[str, Any], stride: Fraction, offset: Fraction):
    expected = CellAxis(Fraction(stride), Fraction(offset))
    assert grid_of(Resampled(**how), (78, 78), "last") == CellGrid(expected, expected)


def test_what_a_scale_factor_left_over_is_where_autograd_sees_it():
    network = Resampled(scale_factor=0.3, mode="bilinear")
    grid = grid_of(network, (78, 78), "last")
    assert grid is not None
    found = centroid(positive(network), (78, 78), "last", (9, 4))
    assert found[0] == pytest.approx(float(grid.rows.offset + grid.rows.stride * 9), abs=1e-6)
    assert found[1] == pytest.approx(float(grid.columns.offset + grid.columns.stride * 4), abs=1e-6)


@pytest.mark.parametrize(
    ("network", "stride", "offset"),
    [
        (nn.ConvTranspose2d(3, 4, 2, 2), 2, -1),  # each of stride 4 at two entries, half a cell before and behind
        (nn.ConvTranspose2d(3, 4, 3, 2, 1, 1), 2, 0),  # at entry 2i the window's middle meets cell i
        (nn.ConvTranspose2d(3, 4, 3, 2), 2, -2),  # at entry 2i + 1
        (nn.ConvTranspose2d(3, 4, 3, 1, 2, dilation=2), 4, 0),
        (nn.AdaptiveAvgPool2d(48), 2, -1),  # of 24 cells, each twice
    ],
)
def test_what_becomes_larger_lies_about_what_it_comes_from(network: nn.Module, stride: int, offset: int):
    whole = nn.Sequential(nn.Conv2d(3, 3, 3, 4, 1), network)
    assert grid_of(whole, (96, 96), "1") == CellGrid(axis(stride, offset), axis(stride, offset))


class Turned(nn.Module):
    """Height and width change places."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x.transpose(2, 3))


class ShiftedInPlace(nn.Module):
    """The rows from the eighth on are written over those from the first on: no new tensor says so."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, 2, 1)
        self.last = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        x[:, :, :-8] = x[:, :, 8:].clone()
        return self.last(x)


@pytest.mark.parametrize("build", [Turned, ShiftedInPlace])
def test_what_moves_a_map_about_is_not_taken_as_unmoved(build: Callable[[], nn.Module]):
    assert grid_of(build(), (48, 64), "last") is None
    assert measured_grid(build().eval(), torch.zeros(1, 3, 48, 64), "last", "first") is None


def test_cells_further_apart_than_the_image_is_long_are_not_measured():
    """48 pixels within padding: 16 cells, 4 apart from -6.5 to 53.5, and not 3 apart."""

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Conv2d(3, 4, 16, 4, 14)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(x.flip(2).flip(2))

    network = Padded().eval()
    assert grid_of(network, (48, 48), "last") is None
    assert measured_grid(network, torch.zeros(1, 3, 48, 48), "last", "first") is None


def test_two_networks_that_share_a_layer_have_places_of_their_own():
    shared = nn.Conv2d(3, 4, 3, 4, 1)
    plain, padded = nn.Sequential(nn.Identity(), shared).eval(), nn.Sequential(nn.ZeroPad2d(16), shared).eval()
    image = torch.rand(1, 3, 64, 64)
    assert cell_grids(plain, image, ["1"]) == {"1": CellGrid(axis(4, 0), axis(4, 0))}
    assert cell_grids(padded, image, ["1"]) == {"1": CellGrid(axis(4, -16), axis(4, -16))}
