"""One forward pass and one partial backward pass that give activations and gradients of any layers.

The forward pass runs without a graph up to the earliest requested layer; from there on a graph is built, and
`torch.autograd.grad` differentiates the target logits with respect to the captured activations alone. No
parameter's gradient is computed, and no flag of the network is touched: the hooks are the only change, and they
are removed whatever happens. At the last layer of most networks no backward pass is needed, see `pooled_head`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError

from cxrlens.errors import UsageError
from cxrlens.saliency.hooks import forward_hooks
from cxrlens.saliency.input_gradients import InputGradients
from cxrlens.saliency.layout import (
    AmbiguousLayoutError,
    Layout,
    LayoutTrial,
    channels_first,
    known_layout,
    settle_layouts,
)
from cxrlens.saliency.norms import norm2
from cxrlens.saliency.pooled_head import head_trial, run_closed_form
from cxrlens.saliency.target import Target, as_logits, target_classes, target_scores

INPUT = ""  # names the network's input among the layers
_CHECKPOINTED = (
    "parts of the network run under torch.utils.checkpoint, which saves memory in training and keeps no gradients of "
    "layers; switch it off to explain the network"
)
_HALF_FACTOR = 2.0**10
_MIND_TRAINING = (
    nn.modules.batchnorm._NormBase,
    nn.modules.dropout._DropoutNd,
    nn.RReLU,
    nn.RNNBase,
    nn.MultiheadAttention,
)


@dataclass(frozen=True)
class Captured:
    """A layer's output and gradient, and the norms that several methods share.

    Attributes:
        activation: float32 [N, C, h, w], the layer's output, or the network's input.
        gradient: float32 [N, C, h, w], the derivative of the target logit with respect to it.
    """

    activation: Tensor
    gradient: Tensor

    @cached_property
    def activation_norm(self) -> Tensor:
        """norm2 of the activation at each location, [N, h, w]."""
        return norm2(self.activation)

    @cached_property
    def gradient_norm(self) -> Tensor:
        """norm2 of the gradient at each location, [N, h, w]."""
        return norm2(self.gradient)


def capture(
    network: nn.Module, images: Tensor, layers: Sequence[str], target: Target
) -> tuple[Tensor, dict[str, Captured]]:
    """Run the network once forward and, down to the earliest of ``layers``, once backward.

    Args:
        network: in evaluation mode; gives logits [N, classes], or [N] / [N, 1] for a single affected logit. Parts that
            run under `torch.utils.checkpoint` without re-entry are taken like others.
        images: [N, channels, H, W], already preprocessed, on the network's device.
        layers: module names, each run once per forward pass and giving a map [N, C, h, w], or [N, h, w, C], or tokens
            [N, L, C] of patches (see `cxrlens.saliency.layout`), or `INPUT`; none for logits alone.
        target: which logit is differentiated, see `target_classes`.

    Returns:
        The logits [N, classes] (float32) and the captured pair of each layer.

    Raises:
        UsageError: on a network in training mode, an unknown layer, a layer that did not run, ran twice, gave no
            map or is not on the way to the logits, inside `torch.inference_mode`, or on an unfit target.
    """
    check_network(network, explained=bool(layers))
    if images.is_inference():
        images = images.clone()
    if len(layers) != 1 or INPUT in layers:
        return differentiate(network, images, layers, target)
    (layer,) = layers
    find_layer(network, layer)
    closed = run_closed_form(network, images, layer)
    if closed is not None:
        output, head = closed
        logits = as_logits(output).float()
        gradient = head.gradient(target_classes(logits, target))
        return logits, {layer: Captured(head.activation.float(), gradient)}
    with head_trial(network, layer) as trial:
        logits, captured = differentiate(network, images, layers, target)
    if trial is not None and known_layout(network.get_submodule(layer), _size(images)) != "first":
        trial.dismiss()
    elif trial is not None:
        trial.judge(captured[layer].activation, captured[layer].gradient, target_classes(logits, target))
    return logits, captured


def differentiate(
    network: nn.Module, images: Tensor, layers: Sequence[str], target: Target
) -> tuple[Tensor, dict[str, Captured]]:
    """As `capture`, by autograd whatever the network's head is.

    A network that runs parts under `torch.utils.checkpoint` runs these anew in the backward pass, where no function
    mode acts, and the checkpoint finds other tensors kept: such a one is run again with torch's own functions.
    """
    modules = {name: find_layer(network, name) for name in layers if name != INPUT}
    for _ in range(len(layers) + 1):  # each ambiguous layout is settled once
        try:
            return _by_autograd(network, images, layers, modules, target, InputGradients())
        except AmbiguousLayoutError as error:
            if not settle_layouts(network, images[:1].detach(), [error.layer]):
                raise
        except CheckpointError:
            break
    try:
        return _by_autograd(network, images, layers, modules, target, nullcontext())
    except CheckpointError as error:
        raise UsageError(_CHECKPOINTED) from error


def _by_autograd(
    network: nn.Module,
    images: Tensor,
    layers: Sequence[str],
    modules: dict[str, nn.Module],
    target: Target,
    mode: AbstractContextManager[Any],
) -> tuple[Tensor, dict[str, Captured]]:
    outputs: dict[str, Tensor] = {}
    layouts: dict[str, Layout] = {}
    trial = LayoutTrial(network, images.shape[0], _size(images))
    leaves = trial.watched(network, modules)
    is_over = False

    def see(name: str, inputs: tuple[Any, ...], output: Any) -> Tensor | None:
        if is_over:  # the backward pass runs checkpointed parts anew
            return None
        if name in leaves:
            trial.see(leaves[name], inputs, output)
        return store(name, inputs, output) if name in modules else None

    def store(name: str, _inputs: tuple[Any, ...], output: Any) -> Tensor:
        """Switch gradients on, keep the output and hand a clone on, which in-place operations may rewrite."""
        if not isinstance(output, Tensor) or output.ndim not in (3, 4):
            raise UsageError(f"layer '{name}' gives no map [N, C, h, w]; name a convolutional layer")
        if name in outputs:
            raise UsageError(f"layer '{name}' runs more than once in a forward pass; name a layer that runs once")
        if name != INPUT:
            layouts[name] = trial.layout(name, modules[name], output)
        torch.set_grad_enabled(True)
        outputs[name] = output if output.requires_grad else output.detach().requires_grad_()
        return outputs[name].clone()

    with forward_hooks({**leaves, **modules}, see), mode, torch.no_grad():
        # The first hook switches gradients on; no_grad's exit switches them back to what the caller had.
        if INPUT in layers:
            images = store(INPUT, (), images.detach())
        output = as_logits(network(images))
        is_over = True
        _check_ran(layers, outputs)
        with torch.enable_grad():
            score = target_scores(output, target_classes(output, target)).sum()
        gradients = _gradients(score, [outputs[name] for name in layers])
    captured = {}
    for name, gradient in zip(layers, gradients, strict=True):
        if gradient is None:
            raise UsageError(
                f"the target logit does not depend on {_title(name)}, or the network cuts the graph behind it "
                "(by no_grad or detach); name a layer on the way to the logits, behind any such cut"
            )
        pair = (channels_first(each, layouts.get(name, "first")) for each in (outputs[name].detach().float(), gradient))
        captured[name] = Captured(*pair)
    return output.detach().float(), captured


def _gradients(score: Tensor, outputs: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """The derivative of the score with respect to each output, float32; None where it does not depend on it.

    In float16 the score is multiplied by a power of two on the way, so that small gradients do not vanish.
    """
    if not score.requires_grad:
        return [None] * len(outputs)
    factor = _HALF_FACTOR if any(each.dtype == torch.float16 for each in (score, *outputs)) else 1
    try:
        gradients = torch.autograd.grad(score * factor, outputs, allow_unused=True)
    except RuntimeError as error:
        if isinstance(error, CheckpointError) or "torch.utils.checkpoint" not in str(error):
            raise
        raise UsageError(_CHECKPOINTED) from error
    return [None if each is None else each.float() / factor if factor > 1 else each.float() for each in gradients]


def find_layer(network: nn.Module, name: str, also: Sequence[str] = ()) -> nn.Module:
    """The submodule of that name.

    Raises:
        UsageError: when there is none; the near matches are listed, of the layers and of ``also``.
    """
    if name:
        with suppress(AttributeError):
            return network.get_submodule(name)
    known = dict(network.named_modules())
    near = difflib.get_close_matches(name, [*also, *filter(None, known)], n=4, cutoff=0.4)
    meant = f"near matches: {', '.join(near)}" if near else "list the names with network.named_modules()"
    raise UsageError(f"the network has no layer '{name}'; {meant}")


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]


def _title(name: str) -> str:
    return "the input" if name == INPUT else f"layer '{name}'"


def check_network(network: nn.Module, *, explained: bool) -> None:
    """Refuse a network that cannot be run, or explained, as it is.

    Raises:
        UsageError: in training mode, inside `torch.inference_mode`, or compiled.
    """
    if torch.is_inference_mode_enabled():
        raise UsageError("maps need gradients, which torch.inference_mode forbids; use torch.no_grad instead")
    for name, module in network.named_modules():
        if module.training and (not name or _minds_training(module)):
            part = f"its module '{name}' is" if name else "the network is"
            raise UsageError(f"{part} in training mode; call network.eval() before the network is explained")
        if explained and (hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None):
            part = f"module '{name}'" if name else "the network"
            raise UsageError(f"{part} is compiled, and its layers run no hooks; give the plain module it was made from")
    if explained and any(parameter.is_inference() for parameter in network.parameters()):
        raise UsageError("the network was built under torch.inference_mode and takes no gradients; build it outside")


def _minds_training(module: nn.Module) -> bool:
    """True of a module that may act otherwise in training mode: torch's own that do, and whatever is not torch's."""
    return not type(module).__module__.startswith("torch.nn.") or isinstance(module, _MIND_TRAINING)


def _check_ran(layers: Sequence[str], outputs: dict[str, Tensor]) -> None:
    missing = [name for name in layers if name not in outputs]
    if missing:
        raise UsageError(
            f"layer '{missing[0]}' did not run in the forward pass; "
            "name a layer that takes part (compiled or scripted networks do not run hooks: give the plain module)"
        )
