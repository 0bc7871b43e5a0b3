"""From layer maps to one map per image at the input's size: upsample, scale, combine."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from cxrlens.errors import UsageError

COMBINATIONS = ("product", "geometric", "mean", "max")


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resampling of maps [N, h, w] to [N, H, W], pixel areas aligned (align_corners=False)."""
    return functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def scale(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Each map [N, H, W] min-max scaled to [0, 1] by its own range, and which maps are flat, bool [N].

    A map is flat when it is constant or holds a value that is not finite; it becomes all zero. Constant means that its
    range is within the rounding error of its own largest value, so that the tiny but structured maps of an
    untrained network do not count as flat.
    """
    low, high = maps.flatten(1).amin(1), maps.flatten(1).amax(1)  # torch.aminmax is many times slower on a CPU
    largest = torch.maximum(low.abs(), high.abs())
    span = high - low
    flat = ~span.isfinite() | (span <= 4 * torch.finfo(maps.dtype).eps * largest)
    scaled = (maps - low[:, None, None]).div_(torch.where(flat, 1, span)[:, None, None])
    if torch.compiler.is_exporting() or bool(flat.any()):
        scaled = scaled.masked_fill_(flat[:, None, None], 0)
    return scaled, flat


def combine(
    layer_maps: Sequence[Tensor],
    size: tuple[int, int],
    combination: str = "product",
    weights: Sequence[float] | None = None,
) -> Tensor:
    """One map [N, H, W] from the maps [N, h, w] of several layers, each upsampled and scaled to [0, 1] first.

    ``product`` multiplies them (Ozer & Oksuz, MIDL 2021); ``geometric`` is the weighted geometric mean, the product
    of m_l ** w_l with weights that sum to 1 (Rebuffi et al., CVPR 2020); ``mean`` the weighted
    mean; ``max`` the largest value. Without weights all layers count alike.

    A layer whose map is flat has no say about places: its zeros make a product flat, and add nothing to a mean.

    Raises:
        UsageError: on an unknown combination, or weights that do not fit.
    """
    shares = layer_shares(combination, weights, len(layer_maps))
    total: Tensor | None = None
    for layer_map, share in zip(layer_maps, shares, strict=True):
        current, _ = scale(upsample(layer_map, size))
        if combination == "geometric":
            current = current.pow_(share)
        elif combination == "mean":
            current = current.mul_(share)
        if total is None:
            total = current
        elif combination == "mean":
            total += current
        elif combination == "max":
            torch.maximum(total, current, out=total)
        else:
            total *= current
    assert total is not None, "at least one layer"
    return total


def layer_shares(combination: str, weights: Sequence[float] | None, layers: int) -> list[float]:
    """The weight of each layer in a combination, their sum being 1.

    Raises:
        UsageError: on an unknown combination, or weights that do not fit.
    """
    if combination not in COMBINATIONS:
        raise UsageError(f"unknown combination '{combination}': use {', '.join(COMBINATIONS)}")
    if weights is None:
        return [1 / layers] * layers
    if combination in ("product", "max"):
        raise UsageError(f"'{combination}' takes no layer weights; 'geometric' and 'mean' do")
    total = math.fsum(weights)
    if len(weights) != layers or min(weights) < 0 or not 0 < total < math.inf:
        raise UsageError(f"{layers} layers need {layers} weights of 0 or more that are not all 0, not {list(weights)}")
    return [weight / total for weight in weights]
