"""The operations of a forward and a backward pass as one graph, for any number of images of one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.nn.attention import SDPBackend, sdpa_kernel

from cxrlens.errors import UsageError
from cxrlens.saliency.capture import check_network, differentiate
from cxrlens.saliency.joint_graph.affine_folding import fold_affine
from cxrlens.saliency.joint_graph.gradient_rules import OPEN, Rules, gradient_rules, is_gradient, normal_forms
from cxrlens.saliency.joint_graph.tidying import tidy
from cxrlens.saliency.target import Target

aten = torch.ops.aten

_TRACED = 5  # images; an odd number that nothing else of a network is likely to be equal to


def traced_joint(
    network: nn.Module, shape: tuple[int, int, int], layers: Sequence[str], target: Target
) -> fx.GraphModule:
    """Forward operations alone that give what `cxrlens.saliency.capture.capture` gives.

    Args:
        network: in evaluation mode.
        shape: (channels, height, width) of an image.
        layers: as of `capture`, at least one.
        target: not one class per image.

    Returns:
        A module of images [N, channels, height, width] that gives the logits [N, classes] and a list with
        (activation, gradient) of each layer. It shares the network's weights, but those that batch norms were folded
        into.

    Raises:
        UsageError: as of `capture`; and where the operations depend on the images' values or number, or no rule writes
            one of the gradients as forward operations.
    """
    check_network(network, explained=True)
    if isinstance(target, Tensor):
        raise UsageError("a graph for any images takes no class for each; give 'affected', 'predicted' or one index")
    images = _stand_in(network, shape)

    def passes(images: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        logits, captured = differentiate(network, images, layers, target)
        return logits, [(captured[name].activation, captured[name].gradient) for name in layers]

    # Attention in one piece has a gradient of its own, which no rule writes; taken apart it has none.
    with _explained(network), sdpa_kernel(SDPBackend.MATH):
        recorded = _record(passes, images, OPEN)
        # Recorded anew, since what differentiates cannot be freed of in-place operations while it is recorded.
        graph = tidy(_record(functionalize(recorded, remove="mutations"), images, normal_forms()))
        fold_affine(graph)
        _reshape_views(graph)
        graph = tidy(_record(graph, images, gradient_rules()))
    if not isinstance(images.shape[0], torch.SymInt) or images.fake_mode.shape_env.replacements:
        raise UsageError(
            f"the forward pass of this {type(network).__name__} holds for one number of images only; "
            "its maps need autograd"
        )
    _refuse_gradients(graph)
    _reshape_views(graph)
    return graph


def _stand_in(network: nn.Module, shape: tuple[int, int, int]) -> Any:
    """Images without values, whose number is open."""
    weight = next(network.parameters(), torch.empty(0))
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    sizes = [DimDynamic.DYNAMIC, *[DimDynamic.STATIC] * len(shape)]
    images = torch.empty(_TRACED, *shape, dtype=weight.dtype, device=weight.device)
    return mode.from_tensor(images, symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes))


def _record(function: Callable[..., Any], images: Tensor, rules: Rules) -> fx.GraphModule:
    return make_fx(function, rules, tracing_mode="fake", _allow_non_fake_inputs=True)(images)


@contextmanager
def _explained(network: nn.Module) -> Iterator[None]:
    """What torch says of a network that cannot be recorded becomes one sentence."""
    try:
        yield
    except (UsageError, OSError, MemoryError):  # a full disk is no fault of the network
        raise
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(
            f"the operations of this {type(network).__name__} cannot be recorded for any image ({reason[0]}); "
            "its maps need autograd"
        ) from error


def _reshape_views(graph: fx.GraphModule) -> None:
    """A view was of a copy laid out for it, which is no part of the graph any more."""
    for node in graph.graph.nodes:
        if node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default
    graph.recompile()


def _refuse_gradients(graph: fx.GraphModule) -> None:
    left = sorted({node.target._schema.name for node in graph.graph.nodes if is_gradient(node.target)})
    if left:
        names = ", ".join(name.removeprefix("aten::") for name in left)
        raise UsageError(
            f"no rule writes {names} as forward operations, so that the maps of these layers need autograd; name a "
            "layer behind the operation"
        )
