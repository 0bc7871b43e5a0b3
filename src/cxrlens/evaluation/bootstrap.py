"""Percentile bootstrap intervals over images (Efron & Tibshirani 1993, chapter 13).

`scipy.stats.bootstrap` does the same but refuses classes of one image and has no NaN for "not applicable";
for many rows the counts used here replace its gather of rows x repeats x n values by a matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cxrlens.errors import ArgumentError

Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.intp]

_BLOCK = 1 << 22  # entries of the count matrix held at once


@dataclass(frozen=True)
class Interval:
    """A confidence interval; both ends are NaN where the statistic is undefined."""

    low: float
    high: float


def bootstrap_interval(
    statistic: Callable[[Indices], float],
    n: int,
    *,
    repeats: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    strata: npt.NDArray[Any] | None = None,
) -> Interval:
    """The interval of a statistic of n images.

    Args:
        statistic: maps indices [n] of drawn images (with repeats, in any order) to a number; resamples for
            which it is NaN are left out.
        n: number of images; 0 gives a NaN interval.
        repeats: number of resamples.
        confidence: share of resamples inside the interval, in (0, 1).
        seed: of the resamples.
        strata: [n], a group per image, for example its class. Each group is drawn by itself and keeps its
            size, so no resample lacks a class.

    Raises:
        ArgumentError: when strata does not have n entries.
    """
    draws = bootstrap_draws(statistic, n, repeats=repeats, seed=seed, strata=strata)
    low, high = percentile_interval(draws[:, None], confidence)
    return Interval(float(low[0]), float(high[0]))


def bootstrap_draws(
    statistic: Callable[[Indices], float],
    n: int,
    *,
    repeats: int,
    seed: int,
    strata: npt.NDArray[Any] | None = None,
) -> Floats:
    """The statistic of each resample, float64 [repeats], arguments as of `bootstrap_interval`; NaN for no image.

    Two statistics of the same n images, seed and strata are of the same resamples.

    Raises:
        ArgumentError: when strata does not have n entries.
    """
    if strata is None:
        strata = np.zeros(n)
    if strata.shape != (n,):
        raise ArgumentError(f"strata should have the shape ({n},), not {strata.shape}")
    if n == 0:
        return np.full(repeats, np.nan)
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(strata == value) for value in np.unique(strata)]
    draws = [
        statistic(np.concatenate([group[rng.integers(group.size, size=group.size)] for group in groups]))
        for _ in range(repeats)
    ]
    return np.array(draws, dtype=np.float64)


def bootstrap_means(
    values: npt.NDArray[Any], *, repeats: int = 2000, confidence: float = 0.95, seed: int = 0
) -> tuple[Floats, Floats]:
    """The intervals of the row means of per-image values, from the same resamples for all rows.

    The interval of a difference of two rows is that of a row of per-image differences.

    Args:
        values: [rows, n], one column per image, or [rows, seeds, n], several trainings of one recipe scored on the
            same images; NaN = not applicable, left out of that row's means. See `resampled_means`.
        repeats: number of resamples of the n images.
        confidence: share of resamples inside the interval, in (0, 1).
        seed: of the resamples; `bootstrap_interval` with this seed and no strata draws the same ones.

    Returns:
        lows and highs, each float64 [rows]; NaN for a row without any value.

    Raises:
        ArgumentError: when values has neither shape or holds an infinite number, or confidence is no share.
    """
    return percentile_interval(resampled_means(values, repeats=repeats, seed=seed), confidence)


def resampled_means(values: npt.NDArray[Any], *, repeats: int, seed: int) -> Floats:
    """The bootstrap distribution of the row means, float64 [repeats, rows]; NaN where a resample holds no value.

    A resample draws the images once for all rows and seeds, since they are the same images, and above them the seeds
    with replacement, once for all rows (a seed of every row is the same training); its statistic is the mean over
    the drawn seeds of each seed's mean over the drawn images. This is the pigeonhole bootstrap of Owen (Annals of
    Applied Statistics 2007), which errs on the wide side for images. With S seeds it sees only (S - 1) / S of the
    variance between trainings: with 2 or 3 seeds it understates their spread (the variance by a half or a third) and
    knows nothing of its tails, so such an interval speaks of these trainings more than of their recipe. A single seed
    gives exactly the distribution of [rows, n].

    Args:
        values: [rows, n] or [rows, seeds, n]; NaN = not applicable. A seed without a value in a resample is left out
            of that row's mean over seeds.

    Raises:
        ArgumentError: when values has neither shape or holds an infinite number.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim not in (2, 3) or np.isinf(values).any():
        raise ArgumentError("values should be finite or NaN numbers of the shape [rows, n] or [rows, seeds, n]")
    rows, n = values.shape[0], values.shape[-1]
    seeds = values.shape[1] if values.ndim == 3 else 1
    means = np.full((repeats, rows), np.nan)
    if values.size == 0:
        return means
    flat = values.reshape(rows * seeds, n)
    applicable = ~np.isnan(flat)
    filled = np.where(applicable, flat, 0.0)
    rng = np.random.default_rng(seed)
    weights = _counts(seeds, repeats, rng.spawn(1)[0])[:, None]  # [repeats, 1, seeds], a stream of its own
    block = max(_BLOCK // max(n, len(flat)), 1)
    for start in range(0, repeats, block):
        part = means[start : start + block]
        counts = _counts(n, len(part), rng)
        sizes = counts @ applicable.T
        sums = np.divide(_product(counts, filled), sizes, out=np.zeros_like(sizes), where=sizes > 0)
        weight = weights[start : start + block] * (sizes > 0).reshape(len(part), rows, seeds)
        total = weight.sum(axis=2)
        weighted = (weight * sums.reshape(weight.shape)).sum(axis=2)
        np.divide(weighted, total, out=part, where=total > 0)
    by_row = values.reshape(rows, -1)
    least, most = np.fmin.reduce(by_row, axis=1), np.fmax.reduce(by_row, axis=1)
    return np.clip(means, least, most)  # undoes the rounding of the sums


def row_means(values: Floats) -> Floats:
    """The statistic of `resampled_means` of the data themselves: float64 [rows], NaN for a row without any value."""
    by_seed = values[:, None] if values.ndim == 2 else values
    sizes = (~np.isnan(by_seed)).sum(axis=2)
    means = np.divide(np.nansum(by_seed, axis=2), sizes, out=np.zeros(sizes.shape), where=sizes > 0)
    present = (sizes > 0).sum(axis=1)
    return np.divide(means.sum(axis=1), present, out=np.full(len(values), np.nan), where=present > 0)


def _counts(n: int, repeats: int, rng: np.random.Generator) -> Floats:
    """Number of times that each of n items is drawn in each resample, [repeats, n]."""
    drawn = rng.integers(n, size=(repeats, n)) + n * np.arange(repeats)[:, None]
    return np.bincount(drawn.ravel(), minlength=repeats * n).reshape(repeats, n).astype(np.float64)


def _product(counts: Floats, values: Floats) -> Floats:
    """counts [repeats, n] @ values [rows, n].T, the same to the last bit in whatever order a BLAS adds.

    A BLAS adds in another order with another number of threads. The values are written as sums of two numbers of so
    few digits that no partial sum is rounded; what is left out lies below the last digit of a row's largest value.

    Args:
        counts: whole numbers of which each row adds up to n.
    """
    upper = _few_digits(values)
    return counts @ upper.T + counts @ _few_digits(values - upper).T


def _few_digits(values: Floats) -> Floats:
    """The values rounded to so few binary digits that n of a row add up without rounding."""
    largest = np.abs(values).max(axis=1, keepdims=True)
    spacing = np.ldexp(1.0, np.maximum(np.frexp(largest * values.shape[1])[1] - 52, -1074))
    return np.asarray(np.rint(values / spacing) * spacing)


def percentile_interval(draws: Floats, confidence: float) -> tuple[Floats, Floats]:
    """The two ends of the central share of each column of draws [repeats, columns], NaN left out.

    Raises:
        ArgumentError: when confidence does not lie between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ArgumentError(f"confidence should lie between 0 and 1, not {confidence}")
    tail = (1 - confidence) / 2
    ends = np.full((2, draws.shape[1]), np.nan)
    undefined = np.isnan(draws)
    partly, defined = undefined.any(axis=0) & ~undefined.all(axis=0), ~undefined.any(axis=0)
    for chosen, quantile in ((defined, np.quantile), (partly, np.nanquantile)):  # the latter is many times slower
        if chosen.any():
            ends[:, chosen] = quantile(draws[:, chosen], [tail, 1 - tail], axis=0)
    return ends[0], ends[1]
