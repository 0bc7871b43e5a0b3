"""Norms that neither vanish nor overflow in float32, whatever the size of a network's values.

The squares of an untrained network's gradients (1e-20 and less) are zero in float32. Where an image's values are
out of range, they are brought near 1 by a power of two first, which changes no digit. A graph that is exported cannot
ask whether they are: it always divides by the largest.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_SMALLEST, _LARGEST = 1e-10, 1e16  # norms in between have squares that float32 holds


def norm1(vectors: Tensor) -> Tensor:
    """Sum of magnitudes over the channels, [N, C, h, w] -> [N, h, w]."""
    return torch.linalg.vector_norm(vectors, 1, dim=1)


def norm2(vectors: Tensor) -> Tensor:
    """Euclidean norm over the channels, [N, C, h, w] -> [N, h, w]."""
    if torch.compiler.is_exporting():
        near_one, size = _divided_by_largest(vectors)
        return torch.linalg.vector_norm(near_one, dim=1) * size
    norms = torch.linalg.vector_norm(vectors, dim=1)
    in_range = _in_range(norms)
    if bool(in_range.all()):
        return norms
    near_one, size = _near_one(vectors)
    again = torch.linalg.vector_norm(near_one, dim=1) * size
    return torch.where(in_range[:, None, None], norms, again)


def box_norm(norms: Tensor) -> Tensor:
    """Norm over the 3 x 3 neighbourhood of each location, from each location's own norm; zero padding.

    The squared norm of a neighbourhood is the sum of its locations' squared norms, so that no vector is copied
    nine times. [N, h, w] -> [N, h, w].
    """
    if torch.compiler.is_exporting():
        near_one, size = _divided_by_largest(norms[:, None])
        return _box(near_one[:, 0]) * size
    in_range = _in_range(norms)
    if bool(in_range.all()):
        return _box(norms)
    near_one, size = _near_one(norms[:, None])
    again = _box(near_one[:, 0]) * size
    return torch.where(in_range[:, None, None], _box(norms), again)


def _box(norms: Tensor) -> Tensor:
    squares = functional.avg_pool2d(norms.square()[:, None], 3, stride=1, padding=1, divisor_override=1)
    return squares.sqrt_()[:, 0]


def _in_range(norms: Tensor) -> Tensor:
    """True where float32 holds the squares of a map [N, h, w], as far as they matter beside its largest: bool [N]."""
    top = norms.flatten(1).amax(1)
    return (top > _SMALLEST) & (top < _LARGEST)


def _near_one(values: Tensor) -> tuple[Tensor, Tensor]:
    """Each image's values [N, C, h, w] divided by a power of two near their largest, and that power [N, 1, 1]."""
    exponent = torch.frexp(values.abs().amax((1, 2, 3))).exponent.clamp(-126, 126)
    one = torch.ones_like(exponent, dtype=values.dtype)
    return values * torch.ldexp(one, -exponent)[:, None, None, None], torch.ldexp(one, exponent)[:, None, None]


def _divided_by_largest(values: Tensor) -> tuple[Tensor, Tensor]:
    """Each image's values [N, C, h, w] divided by their largest magnitude, and that magnitude [N, 1, 1]."""
    largest = values.abs().amax((1, 2, 3)).clamp_min(torch.finfo(values.dtype).tiny)
    return values / largest[:, None, None, None], largest[:, None, None]
