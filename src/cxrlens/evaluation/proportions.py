"""Intervals of shares of images, which hold at their ends too: 0 of 10 is not 0 to 0.

A bootstrap sees no more than its images: where all of them are alike it has no width, and near that it is too narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from cxrlens.errors import ArgumentError
from cxrlens.evaluation.bootstrap import Floats, Interval, resampled_means, row_means

Count: TypeAlias = tuple[float, float]  # (hits, images)

_LEVELS = 200  # of each share in `melded_interval`


def clopper_pearson(hits: npt.ArrayLike, n: npt.ArrayLike, *, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """The exact intervals of shares of independent images (Clopper & Pearson, Biometrika 1934).

    An interval holds the truth at least as often as ``confidence`` says, whatever the truth is.

    Args:
        hits: of each share, in [0, n]; need not be whole (see `proportion_intervals`).
        n: number of images; 0 gives NaN.
        confidence: in (0, 1); each end leaves out half of the rest.

    Returns:
        lows and highs, of the common shape of hits and n.
    """
    return _ends(hits, n, (1 - confidence) / 2)


def clopper_pearson_interval(hits: float, n: float) -> Interval:
    """The 95 % interval of `clopper_pearson` of one share."""
    low, high = clopper_pearson(hits, n)
    return Interval(float(low), float(high))


def proportion_intervals(
    values: npt.ArrayLike, *, repeats: int = 2000, confidence: float = 0.95, seed: int = 0
) -> tuple[Floats, Floats]:
    """The intervals of the row means of outcomes, hit or miss, of images.

    Of one training they are those of `clopper_pearson`. Of several trainings on the same images they are those of its
    formula with the effective number of images (Korn & Graubard, Survey Methodology 1998): p (1 - p) / variance, where
    the variance of the share p is that of `resampled_means`. It is never more than the number of images, however many
    trainings there are, and it is that where all outcomes are alike.

    Args:
        values: [rows, n] or [rows, seeds, n], 1 = hit, 0 = miss, NaN = not applicable.
        repeats: resamples, where there are several seeds; ``seed`` is theirs.
        confidence: in (0, 1).

    Returns:
        lows and highs, each float64 [rows]; NaN for a row without any value.

    Raises:
        ArgumentError: when values has neither shape or holds another number.
    """
    outcomes = np.asarray(values, dtype=np.float64)
    if outcomes.ndim not in (2, 3) or not (np.isin(outcomes, (0, 1)) | np.isnan(outcomes)).all():
        raise ArgumentError("values should be 0, 1 or NaN and of the shape [rows, n] or [rows, seeds, n]")
    shares, n = row_means(outcomes), _images(outcomes)
    if outcomes.ndim == 3 and outcomes.shape[1] > 1:
        draws = resampled_means(outcomes, repeats=repeats, seed=seed)
        squares, defined = np.nansum(np.square(draws - shares), axis=0), (~np.isnan(draws)).sum(axis=0)
        n = np.minimum(n, np.divide(shares * (1 - shares) * defined, squares, out=n.copy(), where=squares > 0))
    return clopper_pearson(shares * n, n, confidence=confidence)


def melded_interval(
    score: Callable[[Floats, Floats], Floats], first: Count, second: Count, *, confidence: float = 0.95
) -> Interval:
    """The interval of a score that grows with two shares of independent images.

    Melded confidence intervals (Fay, Proschan & Brittain, Biometrics 2015) of two Clopper-Pearson intervals: of one
    share alone they would be just those. The lower end is a quantile of the score over all pairs of lower ends, at
    levels of confidence spread evenly over (0, 1); the upper end likewise.

    Args:
        score: of shares of common shape; falls in neither.
        first: hits and images of the first share; ``second`` likewise, on other images.
        confidence: in (0, 1).
    """
    levels = (np.arange(_LEVELS) + 0.5) / _LEVELS
    (lows, highs), (other_lows, other_highs) = (_ends(hits, n, levels) for hits, n in (first, second))
    tail = (1 - confidence) / 2
    low = np.quantile(score(lows[:, None], other_lows), tail, method="hazen")
    high = np.quantile(score(highs[:, None], other_highs), 1 - tail, method="hazen")
    return Interval(float(low), float(high))


def alike_interval(value: float, n: int) -> Interval:
    """The 95 % interval of the mean of n independent values in [0, 1] that are all ``value``.

    If n of n are alike, a share of at least 0.025^(1/n) is (`clopper_pearson`); the rest may be anything.
    """
    alike = clopper_pearson_interval(n, n).low
    return Interval(alike * value, alike * value + 1 - alike)


def bounded_where_alike(differences: Floats, ends: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """The intervals of row means of differences, with a bound where all images differ alike, or none does.

    If n of n images differ by d, or by nothing, a share s = 0.025^(1/n) of all at least does (`clopper_pearson`), and
    the rest by 1 at most: from s d - (1 - s) to s d + (1 - s), never beyond -1 and 1.

    Args:
        differences: [rows, n] or [rows, seeds, n], of scores in [0, 1]; NaN = not applicable.
        ends: lows and highs, each [rows].
    """
    flat = differences.reshape(len(differences), -1)
    least, most = np.fmin.reduce(flat, axis=1), np.fmax.reduce(flat, axis=1)
    n = _images(differences)
    share = clopper_pearson(n, n)[0]
    lows, highs = np.maximum(share * (least + 1) - 1, -1), np.minimum(share * (least - 1) + 1, 1)
    return np.where(least == most, lows, ends[0]), np.where(least == most, highs, ends[1])


def _ends(hits: npt.ArrayLike, n: npt.ArrayLike, tail: npt.ArrayLike) -> tuple[Floats, Floats]:
    """The ends that leave out ``tail`` each: quantiles of beta distributions."""
    found, images = np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64)
    missed = images - found
    low = np.where(found > 0, beta.ppf(tail, found, missed + 1), 0.0)
    high = np.where(missed > 0, beta.isf(tail, found + 1, missed), 1.0)
    known = images > 0
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def _images(values: Floats) -> Floats:
    """Number of images behind each row mean, float64 [rows].

    Where the seeds of a row have values for different images, the number at which a share is no more certain than the
    mean over seeds: a standard deviation of a mean is at most the mean of the standard deviations.
    """
    sizes = (~np.isnan(values if values.ndim == 3 else values[:, None])).sum(axis=2).astype(np.float64)
    present = (sizes > 0).sum(axis=1)
    errors = np.divide(1, np.sqrt(sizes), out=np.zeros_like(sizes), where=sizes > 0).sum(axis=1)
    return np.square(np.divide(present, errors, out=np.zeros(len(sizes)), where=present > 0))
