"""One forward pass and one partial backward pass that give activations and gradients of any layers.

The forward pass runs without a graph up to the earliest requested layer; from there on a graph is built, and
`torch.autograd.grad` differentiates the target logits with respect to the captured activations alone. No
parameter's gradient is computed, and no flag of the network is touched: the hooks are the only change, and they
are removed whatever happens.
"""

from __future__ import annotations

import difflib
import operator
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from cxrlens.errors import UsageError

Target: TypeAlias = str | int | Tensor

AFFECTED = 1  # index of the affected class among two logits


@dataclass(frozen=True)
class Captured:
    """What a layer saw.

    Attributes:
        activation: float32 [N, C, h, w], the layer's output.
        gradient: float32 [N, C, h, w], the derivative of the target logit with respect to it.
    """

    activation: Tensor
    gradient: Tensor


def capture(
    network: nn.Module, images: Tensor, layers: Sequence[str], target: Target
) -> tuple[Tensor, dict[str, Captured]]:
    """Run the network once forward and, down to the earliest of ``layers``, once backward.

    Args:
        network: in evaluation mode; gives logits [N, classes], or [N] / [N, 1] for a single affected logit.
        images: [N, channels, H, W], already preprocessed, on the network's device.
        layers: module names, each run once per forward pass and giving a map [N, C, h, w]; none for logits alone.
        target: which logit is differentiated, see `target_scores`.

    Returns:
        The logits [N, classes] (float32) and the captured pair of each layer.

    Raises:
        UsageError: on a network in training mode, an unknown layer, a layer that did not run, ran twice, gave no
            map or is not on the way to the logits, inside `torch.inference_mode`, or on an unfit target.
    """
    _check_mode(network)
    modules = {name: find_layer(network, name) for name in layers}
    outputs: dict[str, Tensor] = {}
    with _recording(modules, outputs), torch.no_grad():
        # The first hook switches gradients on; no_grad's exit switches them back to what the caller had.
        logits = _as_logits(network(images))
        missing = [name for name in layers if name not in outputs]
        if missing:
            raise UsageError(
                f"layer '{missing[0]}' did not run in the forward pass; "
                "name a layer that takes part (compiled or scripted networks do not run hooks: give the plain module)"
            )
        with torch.enable_grad():
            score = target_scores(logits, target).sum()
        gradients = _gradients(score, [outputs[name] for name in layers])
    captured = {}
    for name, gradient in zip(layers, gradients, strict=True):
        if gradient is None:
            raise UsageError(
                f"the target logit does not depend on layer '{name}'; name a layer on the way to the logits"
            )
        captured[name] = Captured(outputs[name].detach().float(), gradient.float())
    return logits.detach().float(), captured


def _gradients(score: Tensor, outputs: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """The derivative of the score with respect to each output; None where it does not depend on it."""
    if not score.requires_grad:
        return [None] * len(outputs)
    return torch.autograd.grad(score, outputs, allow_unused=True)


def target_classes(logits: Tensor, target: Target) -> Tensor:
    """The class index of each image, int64 [N]; logits are [N, classes] or a single affected logit [N, 1].

    ``"affected"`` is class 1, ``"predicted"`` the class with the highest logit; an int stands for every image, a
    tensor [N] gives one class per image.

    Raises:
        UsageError: when the target is none of these or no class of the network.
    """
    count, classes = logits.shape[0], max(logits.shape[1], 2)
    if isinstance(target, str):
        if target == "affected":
            chosen = logits.new_full((count,), AFFECTED, dtype=torch.int64)
        elif target == "predicted":
            chosen = logits.argmax(1) if logits.shape[1] > 1 else (logits[:, 0] > 0).long()
        else:
            raise UsageError(f"unknown target '{target}': use 'affected', 'predicted', or a class index")
    elif isinstance(target, Tensor):
        if target.shape != (count,) or target.is_floating_point():
            raise UsageError(f"a target tensor holds one integer per image: shape [{count}], not {list(target.shape)}")
        chosen = target.to(logits.device, torch.int64)
    else:
        try:
            chosen = logits.new_full((count,), operator.index(target), dtype=torch.int64)
        except TypeError as error:
            raise UsageError(f"target {target!r} is no class index; give an integer") from error
    if count and not (int(chosen.min()) >= 0 and int(chosen.max()) < classes):
        raise UsageError(f"target {target!r} is no class of a network with {classes} classes (0 to {classes - 1})")
    return chosen


def target_scores(logits: Tensor, target: Target) -> Tensor:
    """The target logit of each image, [N]. A single-logit network's normal evidence is minus its logit."""
    chosen = target_classes(logits, target)
    if logits.shape[1] == 1:
        return torch.where(chosen == AFFECTED, logits[:, 0], -logits[:, 0])
    return logits.gather(1, chosen[:, None])[:, 0]


def find_layer(network: nn.Module, name: str, also: Sequence[str] = ()) -> nn.Module:
    """The submodule of that name.

    Raises:
        UsageError: when there is none; the near matches are listed, of the layers and of ``also``.
    """
    known = dict(network.named_modules())
    if name in known and name:
        return known[name]
    near = difflib.get_close_matches(name, [*also, *filter(None, known)], n=4, cutoff=0.4)
    meant = f"near matches: {', '.join(near)}" if near else "list the names with network.named_modules()"
    raise UsageError(f"the network has no layer '{name}'; {meant}")


def _check_mode(network: nn.Module) -> None:
    if torch.is_inference_mode_enabled():
        raise UsageError("maps need gradients, which torch.inference_mode forbids; use torch.no_grad instead")
    if network.training:
        raise UsageError("the network is in training mode; call network.eval() before it is explained")


def _as_logits(output: Any) -> Tensor:
    if not isinstance(output, Tensor) or output.ndim not in (1, 2):
        found = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UsageError(f"the network should give logits [N, classes], but it gave {found}")
    return output[:, None] if output.ndim == 1 else output


@contextmanager
def _recording(modules: dict[str, nn.Module], outputs: dict[str, Tensor]) -> Iterator[None]:
    """Hooks that store each layer's output and hand a clone on, so that in-place operations cannot rewrite it."""
    owner = threading.get_ident()
    handles = []

    def hook_for(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            if threading.get_ident() != owner:  # another thread runs the same network
                return output
            if not isinstance(output, Tensor) or output.ndim != 4:
                raise UsageError(f"layer '{name}' gives no map [N, C, h, w]; name a convolutional layer")
            if name in outputs:
                raise UsageError(f"layer '{name}' runs more than once in a forward pass; name a layer that runs once")
            torch.set_grad_enabled(True)
            outputs[name] = output if output.requires_grad else output.detach().requires_grad_()
            return outputs[name].clone()

        return hook

    try:
        for name, module in modules.items():
            handles.append(module.register_forward_hook(hook_for(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()
