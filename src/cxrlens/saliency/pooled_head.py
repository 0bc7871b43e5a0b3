"""The gradient at the last layer in closed form: global average pooling and a linear layer behind it.

With logits = W mean_u(a_u) + b, the derivative of logit c with respect to a_u is W[c] / (h w) at every location u,
so that a forward pass is all it takes. That a network has this form is read from the modules that run behind the
layer and compared with autograd once; later passes make sure that the linear layer still sees the layer's mean and
gives the logits.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from cxrlens.saliency.hooks import forward_hooks
from cxrlens.saliency.target import as_rows

_PASSED_THROUGH = (nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d, nn.AlphaDropout)  # in evaluation mode

# Per network and layer: the name of the linear layer, or None where autograd is needed.
_verdicts: WeakKeyDictionary[nn.Module, dict[str, str | None]] = WeakKeyDictionary()
_lock = threading.Lock()


class HeadPass:
    """A forward pass whose gradient at one layer is known without a backward pass.

    Attributes:
        activation: [N, C, h, w], the layer's output.
        linear: the head.
    """

    def __init__(self, activation: Tensor, linear: nn.Linear) -> None:
        self.activation = activation
        self.linear = linear

    def gradient(self, classes: Tensor) -> Tensor:
        """The derivative of each image's class logit with respect to the activation, [N, C, h, w] without memory."""
        rows = as_rows(self.linear.weight.detach().float())[classes]
        height, width = self.activation.shape[2:]
        return (rows / (height * width))[:, :, None, None].expand(-1, -1, height, width)


def run_closed_form(network: nn.Module, images: Tensor, layer: str) -> tuple[Tensor, HeadPass] | None:
    """Run the network once without a graph; None where the form is not known to hold, or holds no longer.

    Returns:
        The network's output and the pass.
    """
    name = _verdicts.get(network, {}).get(layer)
    if name is None:
        return None
    try:
        linear, module = network.get_submodule(name), network.get_submodule(layer)
    except AttributeError:
        linear = None
    if type(linear) is not nn.Linear:
        _forget(network, layer)
        return None
    seen: dict[str, tuple[Tensor, Tensor, int]] = {}
    runs = []

    def see(module: str, inputs: tuple[Any, ...], output: Any) -> None:
        seen[module] = (inputs[0], output, output._version)
        runs.append(module)

    with torch.no_grad(), forward_hooks({layer: module, name: linear}, see):
        output = network(images)
    if runs == [layer, name]:
        _, activation, version = seen[layer]
        features = seen[name][0]
        if activation._version == version and _is_mean(features, activation) and _is_linear(output, features, linear):
            return output, HeadPass(activation, linear)
    _forget(network, layer)  # changed since, or values that are not finite: to be judged anew
    return None


def pooled_head(network: nn.Module, layer: str) -> nn.Linear | None:
    """The linear layer behind a layer's pooling; None where the form does not hold, or no pass has shown it yet."""
    name = _verdicts.get(network, {}).get(layer)
    linear = None if name is None else network.get_submodule(name)
    return linear if isinstance(linear, nn.Linear) else None


@contextmanager
def head_trial(network: nn.Module, layer: str) -> Iterator[HeadTrial | None]:
    """Watch one forward pass for a pooled head behind the layer; nothing is watched where the verdict is known."""
    if layer in _verdicts.get(network, {}):
        yield None
        return
    trial = HeadTrial(network, layer)
    leaves = {name: module for name, module in network.named_modules() if not list(module.children())}
    watched = {name: module for name, module in leaves.items() if name != layer}
    with forward_hooks({**watched, layer: network.get_submodule(layer)}, trial.see):
        yield trial


class HeadTrial:
    """The modules that ran behind a layer, judged as a pooled linear head."""

    def __init__(self, network: nn.Module, layer: str) -> None:
        self._network = network
        self._layer = layer
        self._behind: list[str] = []

    def see(self, name: str, _inputs: tuple[Any, ...], _output: Any) -> None:
        self._behind = [] if name == self._layer else [*self._behind, name]

    def judge(self, activation: Tensor, gradient: Tensor, classes: Tensor) -> None:
        """Compare the closed form with the gradient from autograd, and remember the outcome.

        A gradient that is zero everywhere proves nothing, and nothing is remembered.
        """
        largest = float(gradient.abs().max()) if gradient.numel() else 0.0
        if largest == 0:
            return
        name = self._linear()
        if name is not None:
            linear = self._network.get_submodule(name)
            assert isinstance(linear, nn.Linear)
            expected = HeadPass(activation, linear).gradient(classes)
            if expected.shape != gradient.shape or not (
                float((expected - gradient).abs().max()) <= self._tolerance(linear) * largest
            ):
                name = None
        _remember(self._network, self._layer, name)

    def dismiss(self) -> None:
        """Remember that the layer needs autograd: its output is no [N, C, h, w], which the form is about."""
        _remember(self._network, self._layer, None)

    def _tolerance(self, linear: nn.Linear) -> float:
        """Relative, for autograd's own rounding: half precision, and TF32 on a GPU."""
        device = linear.weight.device.type
        exact = device == "cpu" and linear.weight.dtype.itemsize >= 4 and not torch.is_autocast_enabled(device)
        return 1e-5 if exact else 1e-2

    def _linear(self) -> str | None:
        """The name of the linear layer at the end, if only pooling and what passes values through lies before it."""
        if not self._behind:
            return None
        modules = [self._network.get_submodule(name) for name in self._behind]
        passed = all(isinstance(module, _PASSED_THROUGH) or _pools(module) for module in modules[:-1])
        return self._behind[-1] if passed and type(modules[-1]) is nn.Linear else None


def _pools(module: nn.Module) -> bool:
    return isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1))


def _is_mean(features: Any, activation: Tensor) -> bool:
    means = activation.float().mean((2, 3))
    if not isinstance(features, Tensor) or features.shape != means.shape:
        return False
    tolerance = 1e-4 if activation.dtype == torch.float32 else 2e-2
    distance = (features.float() - means).abs().amax(1)
    return bool((distance <= tolerance * activation.abs().amax((1, 2, 3))).all())


def _is_linear(output: Any, features: Tensor, linear: nn.Linear) -> bool:
    """True where the output is what the layer makes of its features, up to the rounding of the terms it sums."""
    bias = None if linear.bias is None else linear.bias.detach()
    weight = linear.weight.detach()
    expected = functional.linear(features, weight, bias)
    if not isinstance(output, Tensor) or output.numel() != expected.numel():
        return False
    size = functional.linear(features.abs(), weight.abs(), None if bias is None else bias.abs())
    tolerance = 1e-4 if expected.dtype == torch.float32 else 2e-2
    return bool(((output.reshape(-1) - expected.reshape(-1)).abs() <= tolerance * size.reshape(-1)).all())


def _forget(network: nn.Module, layer: str) -> None:
    with _lock:
        _verdicts.get(network, {}).pop(layer, None)


def _remember(network: nn.Module, layer: str, linear: str | None) -> None:
    with _lock:
        _verdicts.setdefault(network, {})[layer] = linear
