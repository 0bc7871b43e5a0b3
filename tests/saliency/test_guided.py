"""Guided backprop against captum, against a chain rule written by hand, and against the plain gradient."""

from __future__ import annotations

import copy
import warnings

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


def test_guided_grad_cam_is_the_product_of_both():
    network = resnet18()
    torch.manual_seed(31)
    images = torch.randn(4, 3, 64, 96)
    found = cxrlens.explain(network, images, methods=["guided_grad_cam", "grad_cam", "guided_backprop"])
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
