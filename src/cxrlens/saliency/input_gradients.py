"""Convolutions and batch norms that keep nothing of their input for the backward pass.

torch's own keep it for the gradients of their parameters, also where nobody asks for those. The gradient of the input
needs the weight alone: a transposed convolution, and for a batch norm in evaluation mode, which is an affine map per
channel, one factor per channel. Within `InputGradients` the forward pass is torch's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_CONV = inspect.signature(lambda input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1: None)
_NORM = inspect.signature(functional.batch_norm)


class InputGradients(TorchFunctionMode):
    """Within this context, convolutions and batch norms that this thread runs pass on gradients of their input only.

    Their parameters get none: it is for passes that ask for no parameter's gradient. Parameters that are computed in
    the pass, and may depend on the input themselves, are left to torch; so are batch norms in training mode.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if torch.is_grad_enabled():
            if function is functional.conv2d:
                given = _arguments(_CONV, args, kwargs)
                if _is_fixed(given) and given["input"].ndim == 4 and not isinstance(given["padding"], str):
                    return _Convolution.apply(*given.values())
            elif function is functional.batch_norm:
                given = _arguments(_NORM, args, kwargs)
                if _is_fixed(given) and not given["training"]:
                    names = ("input", "running_mean", "running_var", "weight", "bias", "eps")
                    return _Norm.apply(*(given[name] for name in names))
        return function(*args, **(kwargs or {}))


class _Convolution(torch.autograd.Function):
    """A convolution whose backward is that of its input."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.settings = features.shape, settings
        channels_last = features.is_contiguous(memory_format=torch.channels_last) and not features.is_contiguous()
        ctx.layout = torch.channels_last if channels_last else torch.contiguous_format
        return functional.conv2d(features, weight, bias, *settings)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (weight,) = ctx.saved_tensors
        (gradient,) = gradients
        stride, padding, dilation, groups = ctx.settings
        # The input's values have no part in its gradient: memory that nobody fills stands for them.
        unread = torch.empty(ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=ctx.layout)
        of_input, _, _ = torch.ops.aten.convolution_backward(
            gradient,
            unread,
            weight.to(gradient.dtype),
            None,
            _pair(stride),
            _pair(padding),
            _pair(dilation),
            False,
            [0, 0],
            groups,
            [True, False, False],
        )
        return of_input, *[None] * (2 + len(ctx.settings))


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


def _arguments(signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    given = signature.bind(*args, **(kwargs or {}))
    given.apply_defaults()
    return dict(given.arguments)


def _is_fixed(given: Mapping[str, Any]) -> bool:
    """True where the input takes gradients and the parameters are not themselves computed in the pass."""
    parameters = (given["weight"], given["bias"])
    return given["input"].requires_grad and all(each is None or each.is_leaf for each in parameters)


def _pair(value: int | tuple[int, ...]) -> list[int]:
    return [value, value] if isinstance(value, int) else [*value] * (2 // len(value))
