"""The closed form at the last layer: equal to autograd, with no backward pass, and given up where it does not hold."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tiny_networks import LAYER_METHODS, Tiny, efficientnet_b0, resnet18
from torch import Tensor, nn

import cxrlens
from cxrlens.saliency import pooled_head
from cxrlens.saliency.capture import capture


class Alone(Tiny):
    """Its average pooling is a module."""

    def __init__(self, classes: int = 2, *, squeezed: bool = False) -> None:
        super().__init__(classes)
        self.pool: nn.Module = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.5)
        self.squeezed = squeezed
        self.eval()

    def tail(self, features: Tensor) -> Tensor:
        logits = self.head(self.drop(self.pool(features).flatten(1)))
        return logits[:, 0] if self.squeezed else logits


BUILT = [
    (Tiny, "features.3"),
    (Alone, "features.3"),
    (lambda: Tiny(classes=1), "features.3"),
    (lambda: Alone(1, squeezed=True), "features.3"),
    (lambda: Tiny(classes=4), "features.3"),
    (resnet18, "layer4.1"),
    (efficientnet_b0, "features.8.2"),
]


@pytest.mark.parametrize("target", ["affected", "predicted", 0])
@pytest.mark.parametrize(("build", "layer"), BUILT)
def test_the_closed_form_equals_autograd(build: Any, layer: str, target: Any, monkeypatch: pytest.MonkeyPatch):
    network = build()
    torch.manual_seed(20)
    images = torch.randn(3, 3, 64, 96)
    logits, first = capture(network, images, [layer], target)  # autograd, and the trial of the closed form
    monkeypatch.setattr(torch.autograd, "grad", None)  # from here on a backward pass would fail
    again, second = capture(network, images, [layer], target)
    torch.testing.assert_close(second[layer].activation, first[layer].activation)
    largest = float(first[layer].gradient.abs().max())
    assert largest > 0
    torch.testing.assert_close(second[layer].gradient, first[layer].gradient, rtol=1e-5, atol=1e-5 * largest)
    torch.testing.assert_close(again, logits, rtol=1e-5, atol=1e-6)


def test_nothing_is_saved_for_a_backward_pass():
    network, images = resnet18(), torch.rand(2, 3, 64, 96)
    saved: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    cxrlens.explain(network, images, methods=LAYER_METHODS, layers="last")
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        cxrlens.explain(network, images, methods=LAYER_METHODS, layers="last")
        assert not saved
        cxrlens.explain(network, images, methods="grad_cam", layers="layer4.0")
        assert saved  # the hooks would have seen it


class MaxPooled(Tiny):
    def tail(self, features: Tensor) -> Tensor:
        return self.head(features.amax((2, 3)))


class TwoPaths(Tiny):
    """Beside the pooled head, the features reach the logits a second way."""

    def tail(self, features: Tensor) -> Tensor:
        return self.head(features.mean((2, 3))) + features[:, :2, 1, 2]


class TwoLinears(Tiny):
    def __init__(self) -> None:
        super().__init__()
        self.middle = nn.Linear(8, 8)
        self.eval()

    def tail(self, features: Tensor) -> Tensor:
        return self.head(self.middle(features.mean((2, 3))).relu())


class Scaled(Tiny):
    def tail(self, features: Tensor) -> Tensor:
        return 2 * super().tail(features)


class InPlaceBehind(Tiny):
    """Rewrites the layer's output before it is pooled."""

    def tail(self, features: Tensor) -> Tensor:
        return self.head(features.mul_(2).mean((2, 3)))


@pytest.mark.parametrize("build", [MaxPooled, TwoPaths, TwoLinears, Scaled, InPlaceBehind])
def test_other_heads_go_on_with_autograd(build: type[Tiny]):
    network = build()
    torch.manual_seed(21)
    images = torch.randn(2, 3, 24, 32)
    with torch.no_grad():
        features = network.features(images)
    leaf = features.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network.tail(leaf.clone())[:, 1].sum(), leaf)
    for _ in range(3):
        _, captured = capture(network, images, ["features.3"], 1)
        torch.testing.assert_close(captured["features.3"].activation, features)
        torch.testing.assert_close(captured["features.3"].gradient, gradient)


def changes() -> dict[str, Any]:
    def max_pool(network: Alone) -> None:
        network.pool = nn.AdaptiveMaxPool2d(1)

    def new_head(network: Alone) -> None:
        network.head = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 2)).eval()

    def other_linear(network: Alone) -> None:
        torch.manual_seed(99)
        network.head = nn.Linear(8, 3)

    def hook(network: Alone) -> None:
        network.head.register_forward_hook(lambda _module, _inputs, output: output * 3)

    def training(network: Alone) -> None:
        with torch.no_grad():
            network.head.weight += 1

    return {change.__name__: change for change in (max_pool, new_head, other_linear, hook, training)}


@pytest.mark.parametrize("name", list(changes()))
def test_a_network_changed_since_is_explained_as_it_is_now(name: str):
    network = Alone()
    torch.manual_seed(22)
    images = torch.randn(2, 3, 24, 32)
    capture(network, images, ["features.3"], 1)
    changes()[name](network)
    fresh = copy.deepcopy(network)
    _, expected = capture(fresh, images, ["features.0", "features.3"], 1)  # by autograd: two layers
    for _ in range(2):
        _, found = capture(network, images, ["features.3"], 1)
        torch.testing.assert_close(found["features.3"].gradient, expected["features.3"].gradient)


def test_an_image_that_is_not_finite_does_not_end_the_closed_form():
    network, images = Tiny(seed=5), torch.rand(2, 3, 24, 32)
    capture(network, images, ["features.3"], 1)
    broken = images.clone()
    broken[0, 0, 3, 4] = torch.nan
    _, found = capture(network, broken, ["features.3"], 1)
    assert not found["features.3"].activation[0].isfinite().all()
    _, expected = capture(network, images, ["features.1", "features.3"], 1)
    torch.testing.assert_close(found["features.3"].gradient, expected["features.3"].gradient)
    assert pooled_head.run_closed_form(network, images, "features.3") is not None


def test_tiny_logits_are_checked_too():
    """A head whose output is scaled behind our back, with logits far below 1."""
    network, images = Alone(), torch.rand(2, 3, 24, 32)
    with torch.no_grad():
        network.head.weight *= 1e-6
        network.head.bias *= 1e-6
    capture(network, images, ["features.3"], 1)
    assert pooled_head.run_closed_form(network, images, "features.3") is not None
    network.head.register_forward_hook(lambda _module, _inputs, output: output * 3)
    _, expected = capture(network, images, ["features.0", "features.3"], 1)
    _, found = capture(network, images, ["features.3"], 1)
    torch.testing.assert_close(found["features.3"].gradient, expected["features.3"].gradient)


def test_verdicts_do_not_keep_networks_alive():
    before = len(pooled_head._verdicts)
    capture(Tiny(), torch.rand(1, 3, 16, 20), ["features.3"], 1)
    assert len(pooled_head._verdicts) <= before
