"""The Gaussian: smoothing of maps and images by a separable kernel, edges mirrored without repeating them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from cxrlens.errors import UsageError


def smooth(maps: Tensor, sigma: float, radius: int | None = None) -> Tensor:
    """Maps [N, H, W] under a Gaussian of 2 * radius + 1 taps, by default 2 * ceil(5 sigma) + 1.

    ``sigma=1`` is the paper's 11 x 11 kernel; a map too small to be mirrored that far gets a narrower one.

    Raises:
        UsageError: when sigma is not a positive number.
    """
    check_sigma(sigma)
    reach = min(math.ceil(5 * sigma) if radius is None else radius, min(maps.shape[1:]) - 1)
    taps = kernel(sigma, reach)
    padded = functional.pad(maps[:, None], (reach,) * 4, mode="reflect")[:, 0]
    return _correlated(_correlated(padded, taps, dim=2), taps, dim=1)


def smooth_widely(images: Tensor, sigma: float, radius: int) -> Tensor:
    """Images [N, C, H, W] under a Gaussian of 2 * radius + 1 taps, by a matrix for each side.

    For kernels as wide as a tenth of a side several times faster than `smooth`, for narrow ones slower.
    """
    down, across = (_matrix(side, sigma, min(radius, side - 1)).to(images) for side in images.shape[-2:])
    return down @ images @ across.T


def kernel(sigma: float, radius: int) -> list[float]:
    """The 2 * radius + 1 taps of a Gaussian, their sum being 1."""
    taps = [math.exp(-0.5 * (position / sigma) ** 2) for position in range(-radius, radius + 1)]
    total = math.fsum(taps)
    return [tap / total for tap in taps]


def check_sigma(sigma: float) -> None:
    """Refuse what is no standard deviation of a smoothing, in pixels.

    Raises:
        UsageError: when it is not a positive number.
    """
    if not 0 < sigma < math.inf:
        raise UsageError(f"the sigma of the smoothing must be a positive number of pixels, not {sigma}")


def _correlated(padded: Tensor, taps: Sequence[float], dim: int) -> Tensor:
    """Correlation along one dimension, without padding; on a CPU many times faster than `conv2d` of one channel."""
    length = padded.shape[dim] - len(taps) + 1
    total = torch.zeros_like(padded.narrow(dim, 0, length))
    for shift, weight in enumerate(taps):
        total.add_(padded.narrow(dim, shift, length), alpha=weight)
    return total


def _matrix(side: int, sigma: float, radius: int) -> Tensor:
    """The matrix [side, side] that smooths a line of pixels, float64."""
    places = (torch.arange(side)[:, None] + torch.arange(-radius, radius + 1)).abs()
    places = (side - 1) - (side - 1 - places).abs()  # mirrored at both ends
    taps = torch.tensor(kernel(sigma, radius), dtype=torch.float64)
    return torch.zeros(side, side, dtype=torch.float64).scatter_add_(1, places, taps.expand(side, -1))
