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
        ValueError: when strata does not have n entries.
    """
    if strata is None:
        strata = np.zeros(n)
    if strata.shape != (n,):
        raise ValueError(f"strata should have the shape ({n},), not {strata.shape}")
    if n == 0:
        return Interval(np.nan, np.nan)
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(strata == value) for value in np.unique(strata)]
    draws = [
        statistic(np.concatenate([group[rng.integers(group.size, size=group.size)] for group in groups]))
        for _ in range(repeats)
    ]
    low, high = _percentiles(np.array(draws, dtype=np.float64)[:, None], confidence)
    return Interval(float(low[0]), float(high[0]))


def bootstrap_means(
    values: npt.NDArray[Any], *, repeats: int = 2000, confidence: float = 0.95, seed: int = 0
) -> tuple[Floats, Floats]:
    """The intervals of the row means of per-image values, from the same resamples for all rows.

    The interval of a difference of two rows is that of a row of per-image differences.

    Args:
        values: [rows, n], one column per image; NaN = not applicable, left out of that row's means.
        repeats: number of resamples of the n images.
        confidence: share of resamples inside the interval, in (0, 1).
        seed: of the resamples; `bootstrap_interval` with this seed and no strata draws the same ones.

    Returns:
        lows and highs, each float64 [rows]; NaN for a row without any value.

    Raises:
        ValueError: when values is not two-dimensional or holds an infinite number.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or np.isinf(values).any():
        raise ValueError("values should be finite or NaN numbers of the shape [rows, n]")
    rows, n = values.shape
    if n == 0:
        return np.full(rows, np.nan), np.full(rows, np.nan)
    applicable = ~np.isnan(values)
    filled = np.where(applicable, values, 0.0)
    rng = np.random.default_rng(seed)
    means = np.full((repeats, rows), np.nan)
    block = max(_BLOCK // n, 1)
    for start in range(0, repeats, block):
        part = means[start : start + block]
        counts = _counts(n, len(part), rng)
        sizes = counts @ applicable.T
        np.divide(counts @ filled.T, sizes, out=part, where=sizes > 0)
    lows, highs = _percentiles(means, confidence)
    least, most = np.fmin.reduce(values, axis=1), np.fmax.reduce(values, axis=1)
    return np.clip(lows, least, most), np.clip(highs, least, most)  # undoes the rounding of the sums


def _counts(n: int, repeats: int, rng: np.random.Generator) -> Floats:
    """How often each of n images is drawn in each resample, [repeats, n]."""
    return np.stack([np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64) for _ in range(repeats)])


def _percentiles(draws: Floats, confidence: float) -> tuple[Floats, Floats]:
    """The two ends of the central share of each column of draws [repeats, columns], NaN left out."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence should lie between 0 and 1, not {confidence}")
    tail = (1 - confidence) / 2
    ends = np.full((2, draws.shape[1]), np.nan)
    defined = ~np.isnan(draws).all(axis=0)
    if defined.any():
        ends[:, defined] = np.nanquantile(draws[:, defined], [tail, 1 - tail], axis=0)
    return ends[0], ends[1]
