"""From layer maps to one map per image at the input's size: upsample, scale, combine, smooth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from cxrlens.errors import UsageError


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resampling of maps [N, h, w] to [N, H, W], pixel areas aligned (align_corners=False)."""
    return functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def is_flat(maps: Tensor) -> Tensor:
    """Whether each map [N, h, w] is constant or holds a value that is not finite: bool [N].

    Constant means that its range is within the rounding error of its own largest value, so that the tiny but
    structured maps of an untrained network do not count as flat.
    """
    finite = torch.isfinite(maps).flatten(1).all(1)
    low, high = maps.flatten(1).amin(1), maps.flatten(1).amax(1)
    largest = torch.maximum(low.abs(), high.abs())
    return ~finite | ((high - low) <= 4 * torch.finfo(maps.dtype).eps * largest)


def scale(maps: Tensor) -> Tensor:
    """Each map [N, H, W] min-max scaled to [0, 1] by its own range; a flat map (see `is_flat`) becomes all zero."""
    low = maps.flatten(1).amin(1)[:, None, None]
    high = maps.flatten(1).amax(1)[:, None, None]
    span = (high - low).clamp_min(torch.finfo(maps.dtype).tiny)
    return torch.where(is_flat(maps)[:, None, None], torch.zeros_like(maps), (maps - low) / span)


def combine(layer_maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """The product of the scaled, upsampled layer maps (Ozer & Oksuz, MIDL 2021), [N, H, W], scaled again.

    A layer whose map is flat has no say about places; its zeros make the whole product zero, hence flat.
    """
    product = scale(upsample(layer_maps[0], size))
    for layer_map in layer_maps[1:]:
        product = product * scale(upsample(layer_map, size))
    return scale(product)


def smooth(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian smoothing of maps [N, H, W]: separable kernel of 2 * ceil(5 sigma) + 1 taps, edges reflected.

    ``sigma=1`` is the paper's 11 x 11 kernel; a map too small to be reflected that far gets a narrower one.

    Raises:
        UsageError: when sigma is not a positive number.
    """
    if not 0 < sigma < math.inf:
        raise UsageError(f"the sigma of the smoothing must be a positive number of pixels, not {sigma}")
    radius = min(math.ceil(5 * sigma), min(maps.shape[1:]) - 1)
    positions = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (positions / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = functional.pad(maps[:, None], (radius, radius, radius, radius), mode="reflect")
    across = functional.conv2d(padded, kernel.view(1, 1, 1, -1))
    return functional.conv2d(across, kernel.view(1, 1, -1, 1))[:, 0]
