"""Similarity of two sets of maps, and agreement of two methods' hits."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import cohen_kappa_score
from torch import Tensor

from cxrlens.errors import ArgumentError
from cxrlens.saliency.gaussian import smooth

_C1, _C2 = 0.01**2, 0.03**2  # of values that span [0, 1]
_SIGMA, _REACH = 1.5, 5  # the window, in pixels: 11 taps


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity of maps [N, H, W] in [0, 1], image by image, float64 [N] in [-1, 1].

    Wang et al., IEEE Transactions on Image Processing 2004: the mean of `ssim_map`.
    """
    values = first.new_empty(len(first), dtype=torch.float64)
    for index, local in enumerate(_local_ssim(first, second)):
        values[index] = image_sums(local[None])[0] / local.numel()
    return values


def is_flat(maps: Tensor) -> Tensor:
    """Which maps [N, ...] are constant, bool [N]: they show nothing, and two of them are alike for no reason."""
    values = maps.flatten(1)
    return values.amax(1) == values.amin(1)


def map_likeness(first: Tensor, second: Tensor) -> Tensor:
    """As `ssim`, but NaN where either map is flat."""
    return ssim(first, second).masked_fill(is_flat(first) | is_flat(second), torch.nan)


def image_sums(values: Tensor) -> Tensor:
    """The sum of each image's values [N, ...], float64 [N], on a CPU in the same order with any number of threads."""
    flat = values.flatten(1)
    if flat.device.type != "cpu":
        return flat.sum(1, dtype=torch.float64)
    return torch.from_numpy(flat.detach().numpy().sum(axis=1, dtype=np.float64))


def ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity around each pixel of maps [N, H, W] in [0, 1], float64 [N, H, W] in [-1, 1].

    Gaussian window of sigma 1.5 (11 taps), edges mirrored; narrower where a side has fewer than 6 pixels.
    """
    values = torch.empty_like(first, dtype=torch.float64)
    for index, local in enumerate(_local_ssim(first, second)):
        values[index] = local
    return values


def _local_ssim(first: Tensor, second: Tensor) -> Iterator[Tensor]:
    """One image at a time, which keeps the intermediate results in a processor's cache."""
    for one, other in zip(first.double(), second.double(), strict=True):
        mean1, mean2, square1, square2, product = (
            smooth(values[None], _SIGMA, radius=_REACH)[0]
            for values in (one, other, one * one, other * other, one * other)
        )
        covariance = product - mean1 * mean2
        variances = square1 - mean1.square() + square2 - mean2.square()
        means = mean1.square() + mean2.square()
        yield (2 * mean1 * mean2 + _C1) * (2 * covariance + _C2) / ((means + _C1) * (variances + _C2))


def pixel_ranks(maps: Tensor) -> Tensor:
    """The rank of each pixel of maps [N, H, W], less the mean rank: float64 [N, H * W] on the CPU; ties share theirs.

    For `rank_correlation`, where one set of maps is compared with many.
    """
    ranks = np.empty((len(maps), maps[0].numel() if len(maps) else 0))
    for row, values in zip(ranks, maps.detach().cpu().flatten(1).numpy(), strict=True):
        order = np.argsort(values)
        ordered = values[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))  # of runs of one value
        lengths = np.diff(starts, append=len(values))
        row[order] = np.repeat(starts + (lengths - len(values)) / 2, lengths)
    return torch.from_numpy(ranks)


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's correlation of `pixel_ranks` [N, pixels], float64 [N]; NaN where all of an image's ranks tie."""
    scale = (image_sums(first.square()) * image_sums(second.square())).sqrt()
    return torch.where(scale > 0, image_sums(first * second) / scale, torch.nan)


def hit_agreement(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Cohen's kappa of two rows of hits (0 or 1) on the same images, in [-1, 1].

    An image that is NaN (not applicable) in either row is left out. 1 where both are the same constant, for which
    kappa is 0 / 0; NaN without an image.

    Raises:
        ArgumentError: when the rows differ in length or hold anything but 0, 1 and NaN.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 1:
        raise ArgumentError(f"rows of hits should have the same length, not {list(one.shape)} and {list(other.shape)}")
    present = ~(np.isnan(one) | np.isnan(other))
    one, other = one[present], other[present]
    if not (np.isin(one, (0, 1)).all() and np.isin(other, (0, 1)).all()):
        raise ArgumentError("hits should be 0, 1 or NaN")
    if not one.size:
        return math.nan
    if np.array_equal(one, other):
        return 1.0
    return float(cohen_kappa_score(one.astype(bool), other.astype(bool)))
