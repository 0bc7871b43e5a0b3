"""Batch norms whose weight and bias are computed on the way: maps are those of plain autograd."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from tiny_networks import PLACED, scaled
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, weight_norm

import cxrlens
from cxrlens.saliency.capture import Captured
from cxrlens.saliency.methods import METHODS


class Positive(nn.Module):
    """A parametrisation that keeps the weight above 0."""

    def forward(self, values: Tensor) -> Tensor:
        return functional.softplus(values)


class Normed(nn.Module):
    """Convolution, batch norm, convolution, and a pooled linear head; `norm` may be replaced."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(60)
        self.first, self.second = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.head = nn.Linear(6, 2)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)
        nn.init.normal_(self.norm.running_mean)
        nn.init.uniform_(self.norm.running_var, 0.3, 3)
        self.eval()

    def normalise(self, features: Tensor) -> Tensor:
        return self.norm(features)

    def behind(self, features: Tensor) -> Tensor:
        """From the output of the first convolution to the logits."""
        features = self.normalise(features).relu()
        return self.head(self.second(features).relu().mean((2, 3)))

    def forward(self, images: Tensor) -> Tensor:
        return self.behind(self.first(images))


class ByFeatures(Normed):
    """The weight and bias of the norm follow from the features themselves, so gradients reach these by both ways."""

    def normalise(self, features: Tensor) -> Tensor:
        pooled = features.mean((0, 2, 3))
        return functional_call(self.norm, {"weight": 2 * pooled.sin(), "bias": pooled * pooled}, (features,))


class ByFeaturesDirectly(Normed):
    """The same by `torch.nn.functional`, the bias alone being computed."""

    def normalise(self, features: Tensor) -> Tensor:
        norm = self.norm
        bias = 3 * features.amax((0, 2, 3))
        return functional.batch_norm(features, norm.running_mean, norm.running_var, norm.weight, bias)


def parametrised() -> Normed:
    network = Normed()
    parametrize.register_parametrization(network.norm, "weight", Positive())
    parametrize.register_parametrization(network.norm, "bias", Positive())
    return network.eval()


def weight_normed() -> Normed:
    network = Normed()
    parametrizations.weight_norm(network.norm, dim=None)
    return network.eval()


def weight_normed_by_hook() -> Normed:
    """As older code does it: a hook that computes the weight before each pass."""
    network = Normed()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weight_norm(network.norm, dim=None)
    return network.eval()


BUILDS = [Normed, ByFeatures, ByFeaturesDirectly, parametrised, weight_normed, weight_normed_by_hook]


def by_plain_autograd(network: Normed, images: Tensor) -> Captured:
    activation = network.first(images).detach()
    leaf = activation.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network.behind(leaf.clone())[:, 1].sum(), leaf)
    return Captured(activation, gradient)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
def test_maps_equal_those_of_plain_autograd(build: Callable[[], Normed], frozen: bool):
    network = build().requires_grad_(not frozen)
    images = torch.randn(2, 3, 9, 14)
    pair = by_plain_autograd(network, images)
    assert pair.gradient.abs().max() > 0
    found = cxrlens.explain(network, images, methods=PLACED, layers="first")
    for id_ in PLACED:
        assert not found.flat[id_].any(), id_
        torch.testing.assert_close(found[id_], scaled(METHODS[id_].function(pair)), rtol=0, atol=1e-5)
