"""The joint graph gives what autograd gives, without autograd."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import LAYER_METHODS, Tiny, efficientnet_b0, resnet18
from torch import Tensor, nn
from torch.nn import functional

from cxrlens.errors import UsageError
from cxrlens.models.registry import stages_of
from cxrlens.saliency.capture import INPUT, Captured, differentiate
from cxrlens.saliency.explain import Row, explain_rows, make_row
from cxrlens.saliency.fusion import Fusion
from cxrlens.saliency.joint_graph.map_graph import JointGraph, MapGraph
from cxrlens.saliency.joint_graph.tidying import to_single
from cxrlens.saliency.methods.registry import method
from cxrlens.saliency.resizing import PUBLISHED_RESIZE, MapResize

aten = torch.ops.aten
ACTIVATIONS = (
    lambda: nn.ReLU(inplace=True),
    lambda: nn.SiLU(inplace=True),
    nn.Sigmoid,
    nn.Tanh,
    lambda: nn.Hardswish(inplace=True),
    nn.GELU,
    lambda: nn.LeakyReLU(0.1, inplace=True),
    nn.ELU,
    nn.Identity,
)
POOLS = (
    nn.Identity,
    lambda: nn.MaxPool2d(3, 2, 1),
    lambda: nn.AvgPool2d(2, ceil_mode=True),
    lambda: nn.AdaptiveAvgPool2d((4, 3)),
    lambda: nn.ZeroPad2d((0, 1, 2, 0)),
)


class Excitation(nn.Module):
    """A gate per channel that sees the whole map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        return features * self.gate(features.mean((2, 3), keepdim=True)).sigmoid()


class Masked(nn.Module):
    """Shares of channels, those below 0 left out by the lowest number that there is."""

    def forward(self, features: Tensor) -> Tensor:
        return features.masked_fill(features < 0, torch.finfo(features.dtype).min).softmax(1)


class Block(nn.Module):
    """A convolution with what may lie behind and beside it."""

    def __init__(self, draw: Any, inputs: int, outputs: int) -> None:
        super().__init__()
        fitting = [each for each in (1, 2, inputs) if inputs % each == 0 and outputs % each == 0]
        groups = draw(st.sampled_from(fitting))
        kernel, stride = draw(st.sampled_from([1, 2, 3, 5])), draw(st.sampled_from([1, 1, 2, 3]))
        padding, bias = draw(st.integers(0, 2)), draw(st.booleans())
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=bias)
        self.norm = nn.BatchNorm2d(outputs) if draw(st.booleans()) else nn.Identity()
        self.activation = draw(st.sampled_from(ACTIVATIONS))()
        self.excitation = Excitation(outputs) if draw(st.booleans()) else nn.Identity()
        self.pool = draw(st.sampled_from(POOLS))()
        self.is_residual = draw(st.booleans())

    def forward(self, features: Tensor) -> Tensor:
        found = self.norm(self.conv(features))
        if self.is_residual and found.shape == features.shape:
            found += features
        return self.pool(self.excitation(self.activation(found)))


class Stack(nn.Module):
    """A few random blocks, and a head of one or two logits, linear or not."""

    def __init__(self, draw: Any) -> None:
        super().__init__()
        widths = [3, *(draw(st.sampled_from([4, 6])) for _ in range(3))]
        self.blocks = nn.Sequential(*(Block(draw, *pair) for pair in pairwise(widths)))
        classes = draw(st.sampled_from([1, 2, 3]))
        linear = nn.Linear(widths[-1], classes)
        deep = nn.Sequential(nn.Linear(widths[-1], 5), nn.Tanh(), nn.Linear(5, classes))
        self.head = draw(st.sampled_from([linear, deep]))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(images).mean((2, 3)))


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """Norms with statistics and weights of any size and sign, float64, in which no rounding decides a ReLU."""
    stream = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.running_mean.copy_(torch.randn(module.num_features, generator=stream))
                module.running_var.copy_(torch.rand(module.num_features, generator=stream) * 3 + 1e-3)
                module.weight.copy_(torch.randn(module.num_features, generator=stream))
                module.bias.copy_(torch.randn(module.num_features, generator=stream))
    return network.double().eval()


def assert_same(
    network: nn.Module,
    size: tuple[int, int],
    layers: list[str],
    target: Any,
    batches: list[int],
    dtype: torch.dtype = torch.float64,
) -> None:
    graph = JointGraph(network, (3, *size), layers, target)
    for count in batches:
        images = torch.randn(count, 3, *size, dtype=dtype)
        logits, captured = differentiate(network, images, layers, target)
        with torch.no_grad():
            found_logits, found = graph(images)
        torch.testing.assert_close(found_logits, logits)
        for name in layers:
            torch.testing.assert_close(found[name].activation, captured[name].activation)
            scale = captured[name].gradient.abs().max().item()
            torch.testing.assert_close(found[name].gradient, captured[name].gradient, atol=1e-6 * scale, rtol=1e-5)


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_random_stacks(data: st.DataObject):
    torch.manual_seed(data.draw(st.integers(0, 99)))
    network = randomised(Stack(data.draw))
    size = (data.draw(st.integers(30, 41)), data.draw(st.integers(30, 41)))
    layers = [*data.draw(st.sets(st.sampled_from(["blocks.0", "blocks.1.conv", "blocks.1", "blocks.2"]), min_size=1))]
    layers += data.draw(st.sampled_from([[], [INPUT]]))
    target = data.draw(st.sampled_from(["predicted", "affected", 0]))
    try:
        differentiate(network, torch.randn(2, 3, *size).double(), layers, target)
    except (UsageError, RuntimeError):  # a map too small for its kernel, or one whose layout could be either
        return
    try:
        assert_same(network, size, layers, target, [1, 3])
    except UsageError as error:  # such as operations that torch cannot record for any number of images
        if "need autograd" not in str(error):
            raise


@pytest.mark.parametrize("build", [resnet18, efficientnet_b0])
def test_known_networks(build: Any):
    network = randomised(build())
    stages = stages_of(network)
    assert stages is not None
    assert_same(network, (70, 97), list(stages.combined), "affected", [1, 2])


@pytest.mark.parametrize("build", [resnet18, efficientnet_b0])
def test_all_rows_of_a_known_network_at_once(build: Any):
    """Against `explain_rows`, at an odd size that is not square."""
    network = build().double()
    images = torch.rand(3, 3, 75, 101, dtype=torch.float64)
    rows = [Row(id_, layers) for id_ in LAYER_METHODS for layers in ("combined", "last")]
    expected = explain_rows(network, images, rows)
    graph = MapGraph(network, images[:1], rows)
    with torch.no_grad():
        logits, maps, flat = graph(images)
    torch.testing.assert_close(logits, expected.logits)
    for row, map_, is_flat in zip(rows, maps, flat, strict=True):
        torch.testing.assert_close(map_, expected.maps[row], atol=1e-5, rtol=0, msg=str(row))
        assert is_flat.tolist() == expected.flat[row].tolist()
    assert graph.cells == expected.cells


def test_a_method_of_another_package_is_exported_for_any_number_of_images(on_path: pytest.MonkeyPatch):
    """What it gives is checked (`cxrlens.saliency.methods.checked`), but for values, which no graph has."""

    @method("plugged_energy", title="", formula="", source="")
    def energy(pair: Captured) -> Tensor:
        return (pair.activation * pair.gradient).square().sum(1)

    network, images = Tiny(), torch.rand(3, 3, 33, 46)
    rows = [Row("plugged_energy", "features.1+features.3")]
    program = torch.export.export(
        MapGraph(network, images[:2], rows), (images[:2],), dynamic_shapes=({0: torch.export.Dim("N")},)
    )
    _, (found,), _ = program.module()(images)
    torch.testing.assert_close(found, explain_rows(network, images, rows).maps[rows[0]], atol=1e-5, rtol=0)


def test_maps_of_the_input_and_of_several_layers_in_any_way():
    network = Tiny(classes=1)
    images = torch.rand(2, 3, 33, 46)
    images[1] = torch.nan
    rows = [
        make_row("gradient", "last"),
        make_row("input_x_gradient", "last"),
        Row("layer_cam", "features.1+features.3"),
    ]
    for fusion in (
        Fusion("mean", (1, 3), 1.0, MapResize("centres", "bspline")),
        Fusion("geometric", resize=PUBLISHED_RESIZE),
        Fusion("max"),
    ):
        expected = explain_rows(network, images, rows, fusion=fusion)
        with torch.no_grad():
            _, maps, flat = MapGraph(network, images, rows, fusion=fusion)(images)
        for row, map_, is_flat in zip(rows, maps, flat, strict=True):
            torch.testing.assert_close(map_, expected.maps[row], atol=1e-5, rtol=0)
            assert is_flat.tolist() == expected.flat[row].tolist() == [False, True]


def operations(graph: JointGraph) -> list[Any]:
    return [node.target for node in graph.passes.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("pool", POOLS)
def test_a_graph_of_double_precision_becomes_that_of_single(pool: Any):
    stem = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU(), pool(), Excitation(8))
    rest = (nn.Conv2d(8, 8, 3, 2, 1, groups=8), nn.BatchNorm2d(8), nn.Hardswish())
    network = randomised(nn.Sequential(*stem, *rest, Masked(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)))
    layers, size, images = ["2", "4", "7"], (33, 46), torch.rand(3, 3, 33, 46)
    right = JointGraph(copy.deepcopy(network).float(), (3, *size), layers, "affected")
    graph = JointGraph(network, (3, *size), layers, "affected")
    to_single(graph.passes)
    assert aten._to_copy.default not in operations(graph)
    assert {each.dtype for each in graph.buffers()} == {each.dtype for each in right.buffers()}
    with torch.no_grad():
        (logits, found), (right_logits, expected) = graph(images), right(images)
    torch.testing.assert_close(logits, right_logits)  # of single precision too
    for name in layers:
        torch.testing.assert_close(found[name].activation, expected[name].activation, atol=1e-5, rtol=1e-5)
        scale = expected[name].gradient.abs().max().item()
        torch.testing.assert_close(found[name].gradient, expected[name].gradient, atol=1e-5 * scale, rtol=1e-5)


def test_norms_are_folded_and_nothing_is_made_or_stored_twice():
    network = resnet18()
    before = copy.deepcopy(network.state_dict())
    graph = JointGraph(network, (3, 64, 96), ["layer2.0", "layer4.1"], "affected")
    names = operations(graph)
    behind = [f"layer2.1.conv{i}" for i in (1, 2)] + [
        name
        for name, each in network.named_modules()
        if isinstance(each, nn.Conv2d) and name[:6] in ("layer3", "layer4")
    ]
    assert names.count(aten.convolution.default) == 20 + len(behind)
    assert aten.rsqrt.default not in names
    assert aten.native_batch_norm.default not in names
    assert names.count(aten.relu.default) == 17
    stored = sum(buffer.numel() for buffer in graph.buffers())
    assert stored <= sum(parameter.numel() for parameter in network.parameters())
    assert not any(value.requires_grad for value in graph.state_dict().values())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_norm_behind_a_captured_convolution_is_left_as_it_is():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    assert_same(randomised(network), (12, 15), ["0"], "affected", [2])
    shared = nn.Conv2d(3, 3, 3, padding=1)  # its weights take part twice, behind other norms
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    network = nn.Sequential(nn.Conv2d(3, 3, 1), shared, nn.BatchNorm2d(3), shared, nn.SiLU(), *head)
    assert_same(randomised(network), (12, 15), ["0"], "affected", [2])


def test_the_layout_in_memory_is_no_part_of_the_graph():
    """Average pooling of what lies in memory with its channels last makes a view of its own."""
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 4, 3), nn.SiLU(), *head).eval()
    network = network.to(memory_format=torch.channels_last)
    assert aten.as_strided.default not in operations(JointGraph(network, (3, 12, 15), ["1"], "affected"))
    assert_same(network, (12, 15), ["1"], "affected", [1, 2], torch.float32)


class Forked(nn.Module):
    """What it runs depends on the images' values, or on their number."""

    def __init__(self, by_number: bool) -> None:
        super().__init__()
        self.by_number = by_number
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv(images)
        if self.by_number:
            features = features.reshape(int(features.shape[0]), 4, -1)[..., None]
        elif features.mean() > 0:
            features = features * 2
        return self.head(features.mean((2, 3)))


class Sampling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv(images)
        grid = functional.affine_grid(torch.eye(2, 3).expand(features.shape[0], 2, 3), features.shape, False)
        return self.head(functional.grid_sample(features, grid, align_corners=False).mean((2, 3)))


def test_what_no_graph_can_give_is_refused():
    images = torch.rand(1, 3, 12, 15)

    def refused(network: nn.Module, row: Row, match: str, **how: Any) -> None:
        with pytest.raises(UsageError, match=match):
            MapGraph(network, images, [row], **how)

    tiny = Tiny()
    refused(tiny, Row("smoothgrad", "input"), "'smoothgrad' takes more than one forward and one backward pass")
    refused(tiny, Row("grad_cam", "features.9"), "no layer 'features.9'")
    refused(tiny, Row("grad_cam", "features"), "mirrored images; leave the flip out", fusion=Fusion(flip=True))
    refused(tiny, Row("grad_cam", "features"), "a graph for any images takes no class for each", target=torch.ones(1))
    refused(Tiny().train(), Row("grad_cam", "features"), "training mode")
    refused(Forked(False).eval(), Row("grad_cam", "conv"), "the operations of this Forked cannot be recorded")
    refused(Forked(True).eval(), Row("grad_cam", "conv"), "this Forked holds for one number of images only")
    refused(Sampling().eval(), Row("grad_cam", "conv"), "no rule writes grid_sampler_2d_backward as forward operations")
