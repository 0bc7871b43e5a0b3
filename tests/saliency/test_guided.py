"""Guided backprop against captum, against a chain rule written by hand, and against the plain gradient."""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from captum.attr import GuidedBackprop, GuidedGradCam
from tiny_networks import Tiny, efficientnet_b0, resnet18, scaled
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models as tv

import cxrlens
from cxrlens.errors import UsageError
from cxrlens.saliency.guided import GuidedRule


class Unshared(nn.Module):
    """captum wants each ReLU to be a module of its own that does not write in place."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        for module in self.network.modules():
            for name, child in module.named_children():
                if isinstance(child, nn.ReLU):
                    setattr(module, name, nn.ReLU())
        for block in self.network.modules():
            if isinstance(block, tv.resnet.BasicBlock):
                block.relu_out = nn.ReLU()
                block.forward = lambda x, block=block: block.relu_out(
                    block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
                    + (x if block.downsample is None else block.downsample(x))
                )

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("build", [Tiny, resnet18])
def test_guided_backprop_equals_captums_on_relu_networks(build, target: int):
    network = build()
    torch.manual_seed(30)
    images = torch.randn(2, 3, 48, 64)
    found = cxrlens.explain(network, images, methods="guided_backprop", target=target)["guided_backprop"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = GuidedBackprop(Unshared(network).eval()).attribute(images.clone(), target=target)
    torch.testing.assert_close(found, scaled(oracle.abs().sum(1)), rtol=0, atol=1e-4)


PUBLISHED: dict[str, Any] = {"grid": "areas", "interpolation": "bilinear"}


def test_guided_grad_cam_is_the_product_of_both():
    network = resnet18()
    torch.manual_seed(31)
    images = torch.randn(4, 3, 64, 96)
    found = cxrlens.explain(
        network,
        images,
        methods=["guided_grad_cam", "grad_cam", "guided_backprop"],
        grid="areas",
        interpolation="bilinear",
    )
    # Both factors begin at 0 here, so their scaled maps have the same product up to its scale.
    assert found["grad_cam"].min() == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = Unshared(network).eval()
        oracle = GuidedGradCam(other, other.network.layer4).attribute(
            images.clone(), target=1, interpolate_mode="bilinear"
        )
    shown = ~found.flat["grad_cam"]
    assert shown.any()
    expected = scaled(oracle.abs().sum(1))
    torch.testing.assert_close(found["guided_grad_cam"][shown], expected[shown], rtol=0, atol=1e-3)


class Activations(nn.Module):
    """Two layers whose activation is called in one of several ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(32)
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.head = nn.Linear(4, 2)
        self.silu, self.way = nn.SiLU(inplace=True), way
        self.eval()

    def activate(self, values: Tensor) -> Tensor:
        if self.way == "silu module":
            return self.silu(values)
        return {
            "silu": functional.silu, "relu": functional.relu, "torch.relu": torch.relu, "method": Tensor.relu,
            "gelu": functional.gelu, "leaky": functional.leaky_relu, "elu": functional.elu,
        }[self.way](values)  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.activate(self.second(self.activate(self.first(images)))).mean((2, 3)))


def by_hand(network: Activations, images: Tensor, target: int) -> Tensor:
    """The chain rule step by step, with ReLU(g) [y > 0] at each activation's output."""
    with torch.no_grad():
        before_first = network.first(images)
        before_second = network.second(network.activate(before_first.clone()))

    def through(before: Tensor, gradient: Tensor) -> Tensor:
        leaf = before.clone().requires_grad_()
        after = network.activate(leaf.clone())
        return torch.autograd.grad(after, leaf, gradient.clamp(min=0) * (after > 0))[0]

    h, w = before_second.shape[2:]
    gradient = (network.head.weight[target] / (h * w))[None, :, None, None].expand_as(before_second)
    gradient = through(before_second, gradient)
    gradient = functional.conv_transpose2d(gradient, network.second.weight)
    return functional.conv_transpose2d(through(before_first, gradient), network.first.weight).detach()


@pytest.mark.parametrize("way", ["silu", "silu module", "relu", "torch.relu", "method", "gelu", "leaky", "elu"])
def test_the_rule_by_hand_however_the_activation_is_called(way: str):
    network = Activations(way)
    images = torch.randn(2, 3, 9, 13)
    found = cxrlens.explain(network, images, methods=["guided_backprop", "gradient"])
    torch.testing.assert_close(
        found["guided_backprop"], scaled(by_hand(network, images, 1).abs().sum(1)), rtol=0, atol=1e-5
    )
    assert not torch.allclose(found["guided_backprop"], found["gradient"], atol=0.05)


@pytest.mark.parametrize("build", [resnet18, efficientnet_b0])
def test_it_is_not_the_plain_gradient_and_leaves_none_changed(build):
    network = build()
    torch.manual_seed(33)
    images = torch.randn(1, 3, 64, 96)
    before = cxrlens.explain(network, images, methods="gradient")["gradient"]
    both = cxrlens.explain(network, images, methods=["guided_backprop", "gradient"])
    assert not torch.allclose(both["guided_backprop"], both["gradient"], atol=0.1)
    torch.testing.assert_close(both["gradient"], before)
    torch.testing.assert_close(cxrlens.explain(network, images, methods="gradient")["gradient"], before)


def test_a_network_without_activation_functions_is_refused():
    class Linear(Tiny):
        def forward(self, images: Tensor) -> Tensor:
            return self.tail(self.features[2](self.features[0](images)))

    with pytest.raises(UsageError, match="guided backprop"):
        cxrlens.explain(Linear(), torch.rand(1, 3, 16, 20), methods="guided_backprop")


def test_the_rule_counts_the_activations_of_its_own_graph_alone():
    network = Tiny()
    with GuidedRule() as rule:
        with torch.no_grad():
            network(torch.rand(1, 3, 16, 20))
        assert rule.found == 0
        network(torch.rand(1, 3, 16, 20, requires_grad=True))
        assert rule.found == 2


SLOPE = torch.full((1,), 0.25, dtype=torch.float64)
UNDER_THE_RULE: dict[str, tuple[Any, ...]] = {  # class of torch.nn, and what it is built with
    "ReLU": (), "ReLU6": (), "Hardtanh": (), "Threshold": (0.1, -0.2), "LeakyReLU": (), "PReLU": (), "RReLU": (),
    "ELU": (), "CELU": (), "SELU": (), "SiLU": (), "GELU": (), "Mish": (), "Hardswish": (), "Softplus": (),
}  # fmt: skip
PASS_PLAINLY: dict[str, tuple[Any, ...]] = {
    "Sigmoid": (), "Hardsigmoid": (), "LogSigmoid": (), "Tanh": (), "Tanhshrink": (), "Softsign": (),
    "Softshrink": (), "Hardshrink": (), "GLU": (1,), "Softmax": (1,), "Softmin": (1,), "LogSoftmax": (1,),
    "Softmax2d": (),
}  # fmt: skip
MIXES_CHANNELS = ("GLU", "Softmax", "Softmin", "LogSoftmax", "Softmax2d")
FUNCTIONS: dict[str, tuple[Any, ...]] = {  # as they are named in torch.nn.functional, torch and Tensor; with arguments
    "relu": (), "relu6": (), "hardtanh": (), "threshold": (0.1, -0.2), "leaky_relu": (), "prelu": (SLOPE,), "rrelu": (),
    "elu": (), "celu": (), "selu": (), "silu": (), "gelu": (), "mish": (), "hardswish": (), "softplus": (),
}  # fmt: skip
PLAIN_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "sigmoid": (), "hardsigmoid": (), "logsigmoid": (), "tanh": (), "tanhshrink": (), "softsign": (),
    "softshrink": (), "hardshrink": (),
}  # fmt: skip


def forms(names: dict[str, tuple[Any, ...]]) -> list[Any]:
    """Every way in which torch offers the functions, in place ones included."""
    found = []
    for name, arguments in names.items():
        places = {"functional": functional, "torch": torch, "Tensor": Tensor}
        ways = {f"{key}.{form}": getattr(places[key], form, None) for key in places for form in (name, f"{name}_")}
        function = getattr(functional, name)
        if inspect.isfunction(function) and "inplace" in inspect.signature(function).parameters:
            ways[f"functional.{name}-inplace"] = functools.partial(function, inplace=True)
        found += [pytest.param(way, arguments, id=id_) for id_, way in ways.items() if way is not None]
    return found


def modules(names: dict[str, tuple[Any, ...]]) -> list[Any]:
    """Each class, and its in-place variant where it has one."""
    found = []
    for name, arguments in names.items():
        kind = getattr(nn, name)
        for inplace in (False, True)[: 1 + ("inplace" in inspect.signature(kind).parameters)]:
            options = {"inplace": True} if inplace else {}
            build = functools.partial(kind, *arguments, **options)
            found.append(pytest.param(build, name in MIXES_CHANNELS, id=f"{name}{'-inplace' * inplace}"))
    return found


def guided_and_expected(activate: Callable[[Tensor], Tensor], *, ruled: bool) -> tuple[Tensor, Tensor, int]:
    """The gradient under the rule, the same from central differences of a pointwise function, and what was found.

    Under the rule the arriving gradient g becomes ReLU(g) [y > 0].
    """
    torch.manual_seed(34)
    values = 3 * torch.randn(2, 4, 5, 7, dtype=torch.float64)  # ReLU6's and the hard functions' bends among them
    leaf = values.clone().requires_grad_()
    with GuidedRule() as rule:
        output = activate(leaf * 1)
    arriving = torch.randn(output.shape, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(output, leaf, arriving)
    with torch.no_grad():
        step = 1e-6
        slope = (activate(values + step) - activate(values - step)) / (2 * step)
        passed = arriving.clamp(min=0) * (activate(values.clone()) > 0) if ruled else arriving
    return gradient, passed * slope, rule.found


def test_every_activation_class_of_torch_is_decided_on():
    """One that torch adds later has to be looked at."""
    known = {*UNDER_THE_RULE, *PASS_PLAINLY, "MultiheadAttention"}  # the last is no activation function
    assert set(nn.modules.activation.__all__) <= known


@pytest.mark.parametrize(("build", "mixes"), modules(UNDER_THE_RULE))
def test_the_rule_at_every_activation_class(build: Any, mixes: bool):
    assert not mixes
    found, expected, count = guided_and_expected(build().double().eval(), ruled=True)
    assert count == 1
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("function", "arguments"), forms(FUNCTIONS))
def test_the_rule_at_every_functional_form(function: Any, arguments: tuple[Any, ...]):
    found, expected, count = guided_and_expected(lambda values: function(values, *arguments), ruled=True)
    assert count == 1
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("build", "mixes"), modules(PASS_PLAINLY))
def test_other_activation_classes_pass_the_gradient_plainly(build: Any, mixes: bool):
    activate = build().double().eval()
    if mixes:
        values = torch.randn(2, 4, 5, 7, dtype=torch.float64, requires_grad=True)
        plain = activate(values)
        with GuidedRule() as rule:
            guided = activate(values)
        arriving = torch.randn(plain.shape, dtype=torch.float64)
        assert rule.found == 0
        both = [torch.autograd.grad(output, values, arriving)[0] for output in (plain, guided)]
        assert torch.equal(*both)
        return
    found, expected, count = guided_and_expected(activate, ruled=False)
    assert count == 0
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("function", "arguments"), forms(PLAIN_FUNCTIONS))
def test_other_functional_forms_pass_the_gradient_plainly(function: Any, arguments: tuple[Any, ...]):
    found, expected, count = guided_and_expected(lambda values: function(values, *arguments), ruled=False)
    assert count == 0
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
