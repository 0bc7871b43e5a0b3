"""Batch normalisation in evaluation mode as what it is: an affine map per channel.

torch's backward pass of it keeps the layer's input and runs over it for the parameters' gradients, also where nobody
asks for them. The gradient of the input needs one factor per channel alone. Within `FrozenNorms` the forward pass is
torch's own, and the backward pass is that factor.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_SIGNATURE = inspect.signature(functional.batch_norm)


class FrozenNorms(TorchFunctionMode):
    """Within this context, batch norms that this thread runs in evaluation mode pass on gradients of their input only.

    Their parameters get none: it is for passes that ask for no parameter's gradient.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is functional.batch_norm and torch.is_grad_enabled():
            given = _SIGNATURE.bind(*args, **(kwargs or {}))
            given.apply_defaults()
            values = given.arguments
            fixed = all(values[name] is None or values[name].is_leaf for name in ("weight", "bias"))
            if fixed and not values["training"] and values["input"].requires_grad:
                return _Norm.apply(
                    *(values[name] for name in ("input", "running_mean", "running_var", "weight", "bias", "eps"))
                )
        return function(*args, **(kwargs or {}))


class _Norm(torch.autograd.Function):
    """Evaluation-mode batch norm whose backward multiplies by weight / sqrt(variance + eps)."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        mean: Tensor,
        variance: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
    ) -> Tensor:
        factor = torch.rsqrt(variance + eps)
        ctx.save_for_backward(factor if weight is None else factor * weight)
        return functional.batch_norm(features, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (factor,) = ctx.saved_tensors
        (gradient,) = gradients
        shape = (1, -1, *[1] * (gradient.ndim - 2))
        return (gradient * factor.view(shape)).to(gradient.dtype), None, None, None, None, None
