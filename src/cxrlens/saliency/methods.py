"""The saliency methods: each a pure function of (activation, gradient) -> map, in one registry.

Notation: a_u and g_u are the vectors over channels of activation and gradient at location u; norm2 is the
Euclidean norm. NormGrad's variants are the Frobenius norms of the gradient that a virtual identity layer at u
would get for its weights (Rebuffi et al., CVPR 2020, section 3).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from cxrlens.errors import UsageError

MapFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Method:
    """A registered method.

    Attributes:
        id: its name on the command line and in results.
        title: its name in figures.
        formula: the map at location u.
        source: where it is defined.
        combines: whether the paper also combines it over layers.
        function: (activation, gradient), both [N, C, h, w], -> map [N, h, w].
    """

    id: str
    title: str
    formula: str
    source: str
    combines: bool
    function: MapFunction


METHODS: dict[str, Method] = {}


def method(
    id_: str, *, title: str, formula: str, source: str, combines: bool = True
) -> Callable[[MapFunction], MapFunction]:
    """Register a map function under an id."""

    def register(function: MapFunction) -> MapFunction:
        METHODS[id_] = Method(id_, title, formula, source, combines, function)
        return function

    return register


def find_method(id_: str) -> Method:
    """Look a method up by its id.

    Raises:
        UsageError: when it is unknown; the near matches are listed.
    """
    if id_ in METHODS:
        return METHODS[id_]
    near = difflib.get_close_matches(id_.lower().replace("-", "_"), METHODS, n=3, cutoff=0.4)
    meant = f"near matches: {', '.join(near)}" if near else "no near match"
    raise UsageError(f"unknown method '{id_}'; {meant} (known: {', '.join(METHODS)})")


def norm2(vectors: Tensor) -> Tensor:
    """Euclidean norm over the channels, [N, C, h, w] -> [N, h, w].

    Each image is divided by its largest entry first: the squares of an untrained network's values (1e-20 and
    less) would vanish in float32.
    """
    largest = _largest(vectors)
    return (vectors / largest).square().sum(1).sqrt() * largest[:, 0]


def _largest(values: Tensor) -> Tensor:
    """The largest magnitude of each image, [N, C, h, w] -> [N, 1, 1, 1]; never zero."""
    return values.abs().amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)


@method(
    "grad_cam",
    title="Grad-CAM",
    formula="ReLU( sum_k mean_u(g^k) a_u^k )",
    source="Selvaraju et al., ICCV 2017, eq. 1-2",
    combines=False,
)
def grad_cam(activation: Tensor, gradient: Tensor) -> Tensor:
    weight = gradient.mean((2, 3), keepdim=True)
    return (weight * activation).sum(1).relu()


@method(
    "normgrad_scaling",
    title="NormGrad scaling",
    formula="norm2(a_u * g_u), elementwise product",
    source="Rebuffi et al., CVPR 2020, table 1",
)
def normgrad_scaling(activation: Tensor, gradient: Tensor) -> Tensor:
    return norm2(activation * gradient)


@method(
    "normgrad_conv1x1",
    title="NormGrad conv1x1",
    formula="norm_F(g_u a_u^T) = norm2(a_u) norm2(g_u)",
    source="Rebuffi et al., CVPR 2020, table 1",
)
def normgrad_conv1x1(activation: Tensor, gradient: Tensor) -> Tensor:
    return norm2(activation) * norm2(gradient)


@method(
    "normgrad_conv3x3",
    title="NormGrad conv3x3",
    formula="norm2(3x3 neighbourhood of a around u, zero padding 1) norm2(g_u)",
    source="Rebuffi et al., CVPR 2020, table 1",
)
def normgrad_conv3x3(activation: Tensor, gradient: Tensor) -> Tensor:
    # The squared norm of a neighbourhood is the sum of its locations' squared norms: no unfolding of 9 C channels.
    norms = norm2(activation)[:, None]
    largest = _largest(norms)
    squares = functional.avg_pool2d((norms / largest).square(), 3, stride=1, padding=1, divisor_override=1)
    return (squares.sqrt() * largest)[:, 0] * norm2(gradient)
