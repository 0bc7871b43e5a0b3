"""Gradients written as forward operations, against autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from cxrlens.saliency.joint_graph.gradient_rules import gradient_rules, input_gradient

aten = torch.ops.aten


def by_autograd(function: Callable[[Tensor], Tensor], features: Tensor) -> tuple[Tensor, Tensor]:
    """A random gradient of the output, and what autograd makes of it at the input."""
    leaf = features.clone().requires_grad_()
    output = function(leaf)
    gradient = torch.randn_like(output)
    (expected,) = torch.autograd.grad(output, leaf, gradient)
    return gradient, expected


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
    kernel, stride, dilation = draw(pair), draw(pair), draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    groups = draw(st.sampled_from([1, 2, 6]))
    inputs = draw(st.sampled_from([6, 12]))
    outputs = draw(st.sampled_from([6, 12]))
    reach = [wide * (taps - 1) + 1 for wide, taps in zip(dilation, kernel, strict=True)]
    size = [draw(st.integers(max(need - 2 * pad, 1), 13)) for need, pad in zip(reach, padding, strict=True)]
    return {
        "features": (draw(st.integers(1, 3)), inputs, *size),
        "weight": (outputs, inputs // groups, *kernel),
        "settings": {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
    }


@settings(max_examples=100, deadline=None)
@given(convolutions())
def test_the_input_gradient_of_any_convolution(case: dict[str, Any]):
    torch.manual_seed(0)
    features = torch.randn(case["features"], dtype=torch.float64)
    weight = torch.randn(case["weight"], dtype=torch.float64)
    how = case["settings"]
    gradient, expected = by_autograd(lambda values: functional.conv2d(values, weight, None, **how), features)
    torch.testing.assert_close(input_gradient(gradient, weight, features.shape[2:], *how.values()), expected)


@pytest.mark.parametrize("groups", [1, 3])
def test_the_input_gradient_of_a_transposed_convolution(groups: int):
    features, weight = torch.randn(2, 6, 5, 7).double(), torch.randn(6, 4, 3, 2).double()
    how = {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 0), "groups": groups, "dilation": (1, 2)}
    gradient, expected = by_autograd(lambda values: functional.conv_transpose2d(values, weight, None, **how), features)
    rule = gradient_rules()[aten.convolution_backward.default]
    mask = [True, False, False]
    found, _, _ = rule(gradient, features, weight, None, (2, 3), (1, 0), (1, 2), True, (1, 0), groups, mask)
    torch.testing.assert_close(found, expected)


pools = st.fixed_dictionaries(
    {
        "kernel_size": st.tuples(st.integers(2, 4), st.integers(2, 4)),
        "stride": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "padding": st.tuples(st.integers(0, 1), st.integers(0, 1)),
        "ceil_mode": st.booleans(),
    }
)
sizes = st.tuples(st.integers(4, 11), st.integers(4, 11))


@settings(max_examples=40, deadline=None)
@given(pools, sizes)
def test_the_gradient_of_max_pooling(how: dict[str, Any], size: tuple[int, int]):
    torch.manual_seed(0)
    features = torch.randn(2, 3, *size).double()
    gradient, expected = by_autograd(lambda values: functional.max_pool2d(values, **how), features)
    _, indices = functional.max_pool2d(features, **how, return_indices=True)
    rule = gradient_rules()[aten.max_pool2d_with_indices_backward.default]
    found = rule(
        gradient, features, how["kernel_size"], how["stride"], how["padding"], (1, 1), how["ceil_mode"], indices
    )
    torch.testing.assert_close(found, expected)


@settings(max_examples=100, deadline=None)
@given(pools, sizes, st.booleans(), st.sampled_from([None, 5]))
def test_the_gradient_of_average_pooling(how: dict[str, Any], size: tuple[int, int], padded: bool, divisor: int | None):
    torch.manual_seed(0)
    features = torch.randn(2, 3, *size).double()
    settings_ = (how["kernel_size"], how["stride"], how["padding"], how["ceil_mode"], padded, divisor)
    gradient, expected = by_autograd(lambda values: functional.avg_pool2d(values, *settings_), features)
    found = gradient_rules()[aten.avg_pool2d_backward.default](gradient, features, *settings_)
    torch.testing.assert_close(found, expected)


@settings(max_examples=30, deadline=None)
@given(sizes, sizes)
def test_the_gradient_of_adaptive_average_pooling(size: tuple[int, int], output: tuple[int, int]):
    torch.manual_seed(0)
    features = torch.randn(2, 3, *size).double()
    gradient, expected = by_autograd(lambda values: functional.adaptive_avg_pool2d(values, output), features)
    found = gradient_rules()[aten._adaptive_avg_pool2d_backward.default](gradient, features)
    torch.testing.assert_close(found, expected)


def test_the_derivative_of_silu():
    features = torch.linspace(-9, 9, 101).double()
    gradient, expected = by_autograd(functional.silu, features)
    torch.testing.assert_close(gradient_rules()[aten.silu_backward.default](gradient, features), expected)
