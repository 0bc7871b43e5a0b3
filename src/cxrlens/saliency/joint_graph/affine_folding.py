"""Affine maps per channel behind a convolution, such as batch norms, become part of its weights.

conv(x, W) s + t = conv(x, s W) + t; and the gradient of its input, whose output's gradient is multiplied by s first, is
that of a convolution with the weights s W.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx

from cxrlens.saliency.joint_graph.tidying import constant, store

aten = torch.ops.aten


@dataclass(frozen=True)
class _Affine:
    """A convolution, the factor and the shift per channel behind it, and its input gradients."""

    convolution: fx.Node
    product: fx.Node
    total: fx.Node
    factor: Tensor
    shift: Tensor
    gradients: tuple[fx.Node, ...]


def fold_affine(module: fx.GraphModule) -> None:
    """Fold whatever can be folded, in a tidy graph that holds ``convolution_backward`` as it was recorded.

    A convolution whose own output is captured, or whose weights take part elsewhere, stays as it is.
    """
    for node in list(module.graph.nodes):
        found = _affine(module, node) if node.target is aten.convolution.default else None
        if found is not None:
            _fold(module, found)
    module.graph.eliminate_dead_code()
    module.recompile()


def _affine(module: fx.GraphModule, convolution: fx.Node) -> _Affine | None:
    weight, bias, transposed = convolution.args[1], convolution.args[2], convolution.args[6]
    if transposed or constant(module, weight) is None or (bias is not None and constant(module, bias) is None):
        return None
    product = _only_user(convolution)
    factor = None if product is None else _other(module, product, convolution, aten.mul.Tensor)
    total = None if product is None else _only_user(product)
    if product is None or total is None or factor is None:
        return None
    shift = _other(module, total, product, aten.add.Tensor)
    if shift is None or not isinstance(weight, fx.Node):
        return None
    gradients = tuple(user for user in weight.users if user is not convolution)
    if not all(_takes(module, gradient, weight, factor) for gradient in gradients):
        return None
    return _Affine(convolution, product, total, factor, shift, gradients)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _other(module: fx.GraphModule, node: fx.Node, value: fx.Node, operation: object) -> Tensor | None:
    """The constant per channel, [1, C, 1, ...], that an operation joins with a value."""
    if node.target is not operation or len(node.args) != 2 or node.kwargs:
        return None
    others = [each for each in node.args if each is not value]
    found = constant(module, others[0]) if len(others) == 1 else None
    is_per_channel = found is not None and found.ndim > 2 and found.numel() == found.shape[1]
    return found if is_per_channel else None


def _takes(module: fx.GraphModule, gradient: fx.Node, weight: fx.Node, factor: Tensor) -> bool:
    """True of an input gradient by that weight alone, of a gradient that the factor is the last to multiply."""
    if gradient.target is not aten.convolution_backward.default or gradient.args[2] is not weight:
        return False
    product = gradient.args[0]
    if not isinstance(product, fx.Node) or len(product.users) != 1 or product.target is not aten.mul.Tensor:
        return False
    return any(
        (found := _other(module, product, each, aten.mul.Tensor)) is not None and torch.equal(found, factor)
        for each in product.all_input_nodes
    )


def _fold(module: fx.GraphModule, found: _Affine) -> None:
    convolution = found.convolution
    factor, shift = found.factor.detach().double(), found.shift.detach().double()
    weight, bias = constant(module, convolution.args[1]), constant(module, convolution.args[2])
    assert weight is not None
    own = torch.zeros(1, dtype=torch.float64, device=weight.device) if bias is None else bias.detach().double()
    per_output = factor.view(-1, *[1] * (weight.ndim - 1))
    with module.graph.inserting_before(convolution):
        folded = store(module, (weight.detach().double() * per_output).to(weight.dtype))
        moved = store(module, (own * factor.flatten() + shift.flatten()).to(weight.dtype))
    convolution.update_arg(1, folded)
    convolution.update_arg(2, moved)
    found.total.replace_all_uses_with(convolution)
    for gradient in found.gradients:
        product = gradient.args[0]
        assert isinstance(product, fx.Node)
        plain = next(each for each in product.args if constant(module, each) is None)
        gradient.update_arg(0, plain)
        gradient.update_arg(2, folded)
