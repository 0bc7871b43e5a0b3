"""Small seeded networks, and ways to take a network apart, shared by the tests of this folder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torchvision import models as tv

from cxrlens.saliency.methods import METHODS

LAYER_METHODS = [method.id for method in METHODS.values() if method.reads == "layer"]
PLACED = [id_ for id_ in LAYER_METHODS if id_ != "normgrad_bias"]  # constant behind global average pooling: no place


class Tiny(nn.Module):
    """Two strided convolutions with in-place ReLUs, global average pooling and a linear head."""

    def __init__(self, classes: int = 2, *, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 8, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(8, classes)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.tail(self.features(images))

    def tail(self, features: Tensor) -> Tensor:
        return self.head(features.mean((2, 3)))


def lively(network: nn.Module, *, seed: int = 0) -> nn.Module:
    """The network in evaluation mode, its batch norms set so that random weights give activations around 1."""
    torch.manual_seed(seed)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    network.train()
    with torch.no_grad():
        network(torch.rand(4, 3, 64, 96))
    return network.eval()


def resnet18() -> nn.Module:
    return copy.deepcopy(_built(tv.resnet18))


def efficientnet_b0() -> nn.Module:
    return copy.deepcopy(_built(tv.efficientnet_b0))


@cache
def _built(build: Callable[..., nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return lively(build(num_classes=2))


def chain(network: nn.Module) -> list[nn.Module]:
    """The modules that a network runs one after another up to its pooling."""
    if isinstance(network, tv.ResNet):
        stages = (network.layer1, network.layer2, network.layer3, network.layer4)
        blocks = [block for stage in stages for block in stage]
        return [network.conv1, network.bn1, network.relu, network.maxpool, *blocks]
    if isinstance(network, tv.EfficientNet):
        return [module for stage in network.features for module in stage]
    assert isinstance(network, Tiny)
    return list(network.features)


def head(network: nn.Module, features: Tensor) -> Tensor:
    """From the pooling on: features [N, C, h, w] -> logits."""
    if isinstance(network, Tiny):
        return network.tail(features)
    pooled = features.mean((2, 3))
    return network.fc(pooled) if isinstance(network, tv.ResNet) else network.classifier(pooled)


def run(modules: Sequence[nn.Module], features: Tensor) -> Tensor:
    """The modules one after another; the given tensor itself is not written to."""
    features = features.clone()
    for module in modules:
        features = module(features)
    return features


def scaled(map_: Tensor) -> Tensor:
    """Maps [N, H, W] min-max scaled to [0, 1]."""
    low, high = map_.amin((1, 2), keepdim=True), map_.amax((1, 2), keepdim=True)
    return (map_ - low) / (high - low)


def module_names(network: nn.Module) -> dict[nn.Module, str]:
    return {module: name for name, module in network.named_modules()}


def plain_autograd(network: nn.Module, images: Tensor, target: int) -> list[tuple[Tensor, Tensor]]:
    """Activation behind each module of the chain, and the gradient of the target logit with respect to it.

    The network is taken apart: each module is differentiated by itself, and the chain rule joins them. No hook
    takes part, and no module writes into what is kept.
    """
    activations = [images]
    with torch.no_grad():
        for module in chain(network):
            activations.append(module(activations[-1].clone()))
    leaf = activations[-1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(head(network, leaf)[:, target].sum(), leaf)
    pairs = [(activations[-1], gradient)]
    for module, before in zip(chain(network)[:0:-1], activations[-2:0:-1], strict=True):
        leaf = before.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(module(leaf.clone()), leaf, gradient)
        pairs.append((before, gradient))
    return pairs[::-1]
