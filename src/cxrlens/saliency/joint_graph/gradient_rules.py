"""Gradients written as ordinary forward operations, which every runtime knows.

The gradients of activation functions, norms and reshapes are torch's own decompositions; those of convolutions and of
pooling, for which torch has none, follow here. A rule takes the arguments of the operation that it stands for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

aten = torch.ops.aten

Rules: TypeAlias = dict[Any, Callable[..., Any]]  # by overload of ``torch.ops.aten``


def normal_forms() -> Rules:
    """Operations that are brought into the form in which `affine_folding` looks for them."""
    return OPEN | {
        aten.native_batch_norm.default: _batch_norm,
        aten._native_batch_norm_legit_no_training.default: _fixed_norm,
    }


def gradient_rules() -> Rules:
    """For each gradient operation that can be written as forward operations, how."""
    known: Any = torch.export.default_decompositions()
    own: Rules = {
        aten.convolution_backward.default: _convolution_backward,
        aten.max_pool2d_with_indices_backward.default: _max_pool_backward,
        aten.avg_pool2d_backward.default: _average_pool_backward,
        aten._adaptive_avg_pool2d_backward.default: _adaptive_pool_backward,
        aten.select_backward.default: _select_backward,
        aten.slice_backward.default: _slice_backward,
        aten.silu.default: _silu,
        aten.silu_backward.default: _silu_backward,
    }
    return OPEN | {operation: rule for operation, rule in known.items() if is_gradient(operation)} | own


def is_gradient(operation: Any) -> bool:
    """True of an operation that only a backward pass runs."""
    return isinstance(operation, torch._ops.OpOverload) and "backward" in operation._schema.name


def input_gradient(
    gradient: Tensor,
    weight: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """The gradient of a convolution's input, from that of its output.

    Of stride 1 it is a convolution with flipped weights whose channels are exchanged. Of larger strides it is a
    transposed convolution; where each channel has its own filter, which runtimes transpose slowly, zeros between the
    entries make it one of stride 1.

    Args:
        gradient: [N, out, ...] by the output.
        weight: [out, in / groups, ...].
        size: of the input, without N and channels.
    """
    reach = [step * (taps - 1) for step, taps in zip(dilation, weight.shape[2:], strict=True)]
    fits = all(pad <= wide for pad, wide in zip(padding, reach, strict=True))
    if fits and (max(stride) == 1 or groups == gradient.shape[1] > 1):
        spread = _with_zeros_between(gradient, stride)
        around = [wide - pad for wide, pad in zip(reach, padding, strict=True)]
        ones = [1] * len(size)
        full = aten.convolution.default(
            spread, _exchanged(weight, groups), None, ones, around, dilation, False, [0] * len(size), groups
        )
        return _cut(full, size)
    rest = [
        side - ((out - 1) * step - 2 * pad + wide + 1)
        for side, out, step, pad, wide in zip(size, gradient.shape[2:], stride, padding, reach, strict=True)
    ]
    return aten.convolution.default(gradient, weight, None, stride, padding, dilation, True, rest, groups)


def _exchanged(weight: Tensor, groups: int) -> Tensor:
    """[out, in / groups, ...] -> [in, out / groups, ...], flipped along what follows."""
    turned = [dim for dim in range(2, weight.ndim) if weight.shape[dim] > 1]
    flipped = weight.flip(turned) if turned else weight
    if weight.shape[:2] == (groups, 1):
        return flipped
    if groups == 1:
        return flipped.transpose(0, 1)
    split = flipped.reshape(groups, weight.shape[0] // groups, *weight.shape[1:]).transpose(1, 2)
    return split.reshape(groups * weight.shape[1], weight.shape[0] // groups, *weight.shape[2:])


def _with_zeros_between(values: Tensor, stride: Sequence[int]) -> Tensor:
    """[N, C, h, ...] -> [N, C, h * stride, ...]: each entry is followed by stride - 1 zeros.

    By a product with ones and zeros, which runtimes do in one pass; joining with zeros took OpenVINO several.
    """
    if max(stride) == 1:
        return values
    sizes = list(values.shape[2:])
    apart = values.reshape(*values.shape[:2], *(each for size in sizes for each in (size, 1)))
    first = torch.tensor([1.0, *[0.0] * (math.prod(stride) - 1)], dtype=values.dtype, device=values.device)
    spread = apart * first.view(1, 1, *(each for step in stride for each in (1, step)))
    return spread.reshape(*values.shape[:2], *(size * step for size, step in zip(sizes, stride, strict=True)))


def _cut(values: Tensor, size: Sequence[int]) -> Tensor:
    for dim, side in enumerate(size, 2):
        if values.shape[dim] != side:
            values = values.narrow(dim, 0, side)
    return values


def _convolution_backward(
    gradient: Tensor,
    features: Tensor,
    weight: Tensor,
    _bias: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    _output_padding: Sequence[int],
    groups: int,
    mask: Sequence[bool],
) -> Any:
    """Of the input alone: the parameters' gradients are asked for where the weights are computed in the pass."""
    if any(mask[1:]):
        return NotImplemented
    size = features.shape[2:]
    stride, padding, dilation = (_each(setting, len(size)) for setting in (stride, padding, dilation))
    if transposed:
        none = [0] * len(size)
        of_input = aten.convolution.default(gradient, weight, None, stride, padding, dilation, False, none, groups)
    else:
        of_input = input_gradient(gradient, weight, size, stride, padding, dilation, groups)
    return of_input, None, None


def _max_pool_backward(
    gradient: Tensor,
    features: Tensor,
    _kernel: Sequence[int],
    _stride: Sequence[int],
    _padding: Sequence[int],
    _dilation: Sequence[int],
    _ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """Each output's gradient goes to the input that was the largest of its window."""
    zeros = torch.zeros_like(features).flatten(2)
    return zeros.scatter_add(2, indices.flatten(2), gradient.flatten(2)).view_as(features)


def _average_pool_backward(
    gradient: Tensor,
    features: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """Pooling is linear and does the same along rows and columns: the gradient is multiplied by its two matrices."""
    height, width = features.shape[2:]
    kernel, padding = _each(kernel, 2), _each(padding, 2)
    stride = _each(stride, 2) if stride else kernel

    def matrix(side: int, dim: int) -> Tensor:
        taps, step, pad = kernel[dim], stride[dim], padding[dim]
        eye = torch.eye(side, dtype=gradient.dtype, device=gradient.device)[None]
        means = functional.avg_pool1d(eye, taps, step, pad, ceil_mode, count_include_pad)[0]
        return means if divisor_override is None else (means > 0).to(means.dtype)

    of_input = _transposed_rows(gradient, matrix(height, 0), matrix(width, 1))
    return of_input if divisor_override is None else of_input / divisor_override


def _adaptive_pool_backward(gradient: Tensor, features: Tensor) -> Tensor:
    """As of average pooling, whose windows have several sizes here."""

    def matrix(side: int, count: int) -> Tensor:
        eye = torch.eye(side, dtype=gradient.dtype, device=gradient.device)[None, None]
        return functional.adaptive_avg_pool2d(eye, (side, count))[0, 0]

    (height, width), (rows, columns) = features.shape[2:], gradient.shape[2:]
    return _transposed_rows(gradient, matrix(height, rows), matrix(width, columns))


def _transposed_rows(gradient: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """[N, C, h, w] -> [N, C, H, W] by matrices [H, h] and [W, w]."""
    return down @ (gradient @ across.T)


def _select_backward(gradient: Tensor, sizes: Sequence[int], dim: int, index: int) -> Tensor:
    index %= sizes[dim]
    return _slice_backward(gradient.unsqueeze(dim), sizes, dim, index, index + 1, 1)


def _slice_backward(gradient: Tensor, sizes: Sequence[int], dim: int, start: int, end: int, step: int) -> Tensor:
    """Zeros around what was taken."""
    if step != 1:
        return NotImplemented
    start = start + sizes[dim] if start < 0 else start
    dim %= len(sizes)
    pads = [0, 0] * (len(sizes) - 1 - dim) + [start, sizes[dim] - start - gradient.shape[dim]]
    return _constant_pad(gradient, pads)


def _silu(features: Tensor) -> Tensor:
    return features * features.sigmoid()


def _silu_backward(gradient: Tensor, features: Tensor) -> Tensor:
    """The derivative is s + x s (1 - s), whose parts the forward pass has made."""
    sigmoid = features.sigmoid()
    return gradient * (sigmoid + (features * sigmoid) * (1 - sigmoid))


def _batch_norm(
    features: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    if training or mean is None or variance is None:
        return NotImplemented
    return _fixed_norm(features, weight, bias, mean, variance, momentum, eps)


def _fixed_norm(
    features: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    _momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """In evaluation mode an affine map per channel."""
    factor = torch.rsqrt(variance + eps)
    if weight is not None:
        factor = factor * weight
    shift = -mean * factor if bias is None else bias - mean * factor
    shape = (1, -1, *[1] * (features.ndim - 2))
    unused = features.new_empty(0)
    return features * factor.view(shape) + shift.view(shape), unused, unused


def _constant_pad(values: Tensor, pads: Sequence[int], value: float = 0) -> Tensor:
    for index in range(0, len(pads), 2):
        dim = values.ndim - 1 - index // 2
        before, after = pads[index], pads[index + 1]
        start, end = max(-before, 0), values.shape[dim] - max(-after, 0)
        if (start, end) != (0, values.shape[dim]):
            values = values.narrow(dim, start, end - start)
        sides = [
            values.new_full((*values.shape[:dim], count, *values.shape[dim + 1 :]), value) if count > 0 else None
            for count in (before, after)
        ]
        parts = [each for each in (sides[0], values, sides[1]) if each is not None]
        values = torch.cat(parts, dim) if len(parts) > 1 else values
    return values


def _as_strided(values: Tensor, size: Sequence[int], stride: Sequence[int], offset: int | None = None) -> Tensor:
    """A view where it holds all entries in their order, as average pooling makes one for the sake of its layout."""
    expected = 1
    steps: list[int] = []
    for side in reversed(size):
        steps.insert(0, expected)
        expected = expected * side
    is_whole = not offset and values.is_contiguous() and values.numel() == expected
    if is_whole and all(side == 1 or own == step for side, own, step in zip(size, stride, steps, strict=True)):
        return values.view(size)
    return NotImplemented


def _each(setting: Sequence[int], count: int) -> list[int]:
    """One for each dimension; a single one stands for all."""
    return [*setting] * (count if len(setting) == 1 else 1)


OPEN: Rules = {aten.constant_pad_nd.default: _constant_pad, aten.as_strided.default: _as_strided}
"""Operations that torch records for one number of images, or one layout in memory, so that both stay open."""
