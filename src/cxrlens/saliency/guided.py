"""The guided rule: a backward pass that lets only positive gradients through activation functions.

At each activation function y = f(x) the arriving gradient g becomes ReLU(g) [y > 0] before f's own derivative is
applied. For a ReLU that is the rule of Springenberg et al. (ICLR workshop 2015); for SiLU, GELU and the like, where
y > 0 is x > 0 too, it is the same rule around their own derivative. No module is replaced or hooked: functions are
watched as they are called, so that functional and in-place calls count like modules.

Under the rule are the functions that rectify: ReLU, ReLU6, Hardtanh, Threshold, LeakyReLU, PReLU, RReLU, ELU, CELU,
SELU, and their smooth relatives SiLU, GELU, Mish, Hardswish and Softplus. All others pass gradients on plainly, as
they squash, shrink or gate: Tanh, Sigmoid, Hardsigmoid, LogSigmoid, Softsign, Tanhshrink, Softshrink, Hardshrink, GLU
and the softmaxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_ACTIVATIONS = frozenset(
    (
        torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, functional.relu, functional.relu_, functional.relu6,
        functional.hardtanh, functional.hardtanh_, functional.threshold, torch.threshold, torch.threshold_,
        functional.leaky_relu, functional.leaky_relu_, torch.prelu, Tensor.prelu,
        functional.rrelu, torch.rrelu, torch.rrelu_, functional.elu, functional.elu_,
        functional.celu, torch.celu, torch.celu_, functional.selu, torch.selu, torch.selu_,
        functional.silu, functional.gelu, functional.mish, functional.hardswish, functional.softplus,
    )
)  # fmt: skip


class GuidedRule(TorchFunctionMode):
    """Within this context, activation functions called by this thread pass gradients on by the guided rule.

    Attributes:
        found: how many activation functions took part in a graph.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function in _ACTIVATIONS and isinstance(result, Tensor) and result.requires_grad:
            self.found += 1
            with torch.no_grad():
                positive = result > 0
            result.register_hook(lambda gradient: gradient.relu() * positive)  # type: ignore[no-untyped-call]
        return result
