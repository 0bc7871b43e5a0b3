"""Differences of methods: paired bootstrap over images, exact where few differ, corrected for all comparisons made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from cxrlens.errors import ArgumentError
from cxrlens.evaluation.bootstrap import Floats, Interval, percentile_interval, resampled_means, row_means
from cxrlens.evaluation.proportions import bounded_where_alike, clopper_pearson
from cxrlens.evaluation.sign_flips import smallest_p, with_few_that_differ

_ROUNDING = 1e-12  # share of a difference by which a resample's may fall short of it and still count as being as far


@dataclass(frozen=True)
class Comparison:
    """Row ``first`` against row ``second``.

    Attributes:
        difference: mean of first minus second over the images that both have a value for (and over seeds).
        interval: 95 % bootstrap interval of it, uncorrected.
        p_value: two-sided, uncorrected.
        adjusted: after Holm's correction over all comparisons made.
    """

    first: int
    second: int
    difference: float
    interval: Interval
    p_value: float
    adjusted: float

    @property
    def differs(self) -> bool:
        """True where the difference stands at a family-wise error rate of 5 %."""
        return self.adjusted < 0.05


@dataclass(frozen=True)
class BaselineComparison:
    """A row against the best baseline.

    Attributes:
        baseline: index of the baseline with the largest mean.
        difference: mean of the row minus that baseline over the images that both have a value for (and over seeds).
        interval: 95 % bootstrap interval of it, uncorrected.
        p_value: one-sided (the row is above), uncorrected.
        adjusted: after Holm's correction over all rows.
    """

    row: int
    baseline: int
    difference: float
    interval: Interval
    p_value: float
    adjusted: float

    @property
    def beats(self) -> bool:
        """True where the row is above the best baseline at a family-wise error rate of 5 %; False without a value."""
        return self.difference > 0 and self.adjusted < 0.05


def compare_rows(
    values: npt.ArrayLike,
    *,
    repeats: int = 10_000,
    seed: int = 0,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> list[Comparison]:
    """Compare rows of per-image values two by two.

    The p value is that of the bootstrap distribution of the mean difference, shifted to zero: the share of resamples
    at least as far from zero as the difference found, counting the data themselves; where few images differ, that of
    the exact sign-flip test, see `with_few_that_differ`. All pairs share the resamples, from which their intervals are
    taken too; where all images differ alike, or none does, the interval is that of
    `bounded_where_alike`, which takes values for scores in [0, 1].

    Args:
        values: [rows, n], one column per image, or [rows, seeds, n], several trainings of one recipe on the same
            images, drawn as in `resampled_means`; NaN = not applicable.
        repeats: number of resamples.
        seed: of the resamples.
        pairs: (first, second) rows to compare; every two when None. Holm's correction counts these pairs.

    Raises:
        ArgumentError: when values has neither shape or holds an infinite number.
    """
    table = np.asarray(values, dtype=np.float64)
    chosen = list(combinations(range(len(table)), 2)) if pairs is None else list(pairs)
    if not chosen:
        return []
    first, second = np.array(chosen).T
    evidence = _compared(table[first] - table[second], repeats=repeats, seed=seed, one_sided=False)
    return [Comparison(a, b, *found) for (a, b), found in zip(chosen, evidence, strict=True)]


def compare_statistics(values: Floats, draws: Floats, *, pairs: Sequence[tuple[int, int]], n: int) -> list[Comparison]:
    """As `compare_rows`, of statistics that are no means over images, such as the FROC.

    Where no resample differs, the interval is what n images without a difference leave open, as in
    `bounded_where_alike`; no p value is below `smallest_p` of n images.

    Args:
        values: [rows].
        draws: [repeats, rows], the same resamples for all rows; NaN where one has no value.
        pairs: (first, second) rows to compare.
        n: number of images that a difference may come from.
    """
    if not pairs:
        return []
    first, second = np.array(pairs).T
    differences = draws[:, first] - draws[:, second]
    lows, highs = percentile_interval(differences, 0.95)
    equal = np.fmax.reduce(np.abs(differences), axis=0, initial=0) == 0
    bound = float(clopper_pearson(np.zeros(1), np.full(1, n))[1][0])
    ends = np.where(equal, -bound, lows), np.where(equal, bound, highs)
    found = values[first] - values[second]
    p_values = np.maximum(_p_values(found, differences, one_sided=False), smallest_p(n))
    evidence = _evidence(found, ends, p_values)
    return [Comparison(a, b, *found) for (a, b), found in zip(pairs, evidence, strict=True)]


def beats_best_baseline(
    values: npt.ArrayLike, baselines: npt.ArrayLike, *, repeats: int = 10_000, seed: int = 0
) -> list[BaselineComparison]:
    """Compare every row with the best baseline: the one with the largest mean over its images.

    A row beats it (`BaselineComparison.beats`) when its paired mean difference is positive and the one-sided p value
    of the same tests as in `compare_rows`, Holm-corrected over the rows, is below 0.05. The best baseline
    is chosen on the same images, which favours the baseline: the test errs on the strict side.

    Args:
        values: [rows, n] or [rows, seeds, n]; NaN = not applicable.
        baselines: [baselines, n], per image, possibly expected values between 0 and 1; the same for every seed. Those
            without any value are passed over.
        repeats: number of resamples.
        seed: of the resamples.

    Raises:
        ArgumentError: when the shapes do not fit, a number is infinite, or no baseline has a value.
    """
    table, simple = np.asarray(values, dtype=np.float64), np.asarray(baselines, dtype=np.float64)
    if simple.ndim != 2 or simple.shape[-1] != table.shape[-1]:
        raise ArgumentError(f"baselines should have the shape [baselines, {table.shape[-1]}], not {list(simple.shape)}")
    means = row_means(simple)
    if np.isnan(means).all():
        raise ArgumentError("no baseline has a value")
    best = int(np.nanargmax(means))
    evidence = _compared(table - simple[best], repeats=repeats, seed=seed, one_sided=True)
    return [BaselineComparison(row, best, *found) for row, found in enumerate(evidence)]


def holm(p_values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Holm's step-down adjustment (Scandinavian Journal of Statistics 1979); NaN is no comparison and stays NaN."""
    adjusted = np.full(p_values.shape, np.nan)
    defined = np.flatnonzero(~np.isnan(p_values))
    order = defined[np.argsort(p_values[defined], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1) if len(order) else []
    return adjusted


def _compared(
    differences: Floats, *, repeats: int, seed: int, one_sided: bool
) -> list[tuple[float, Interval, float, float]]:
    """As `_evidence`, of differences [rows, n] or [rows, seeds, n]."""
    found = row_means(differences)
    draws = resampled_means(differences, repeats=repeats, seed=seed)
    ends = bounded_where_alike(differences, percentile_interval(draws, 0.95))
    p_values = _p_values(found, draws, one_sided=one_sided)
    return _evidence(found, ends, with_few_that_differ(p_values, differences, most=repeats, one_sided=one_sided))


def _p_values(found: Floats, draws: Floats, *, one_sided: bool) -> Floats:
    """Of differences [rows] with their resamples [repeats, rows], shifted to zero."""
    shifted = draws - found
    reach = found - np.abs(found) * _ROUNDING
    as_far = shifted >= reach if one_sided else np.abs(shifted) >= np.abs(found) * (1 - _ROUNDING)
    p_values = (1 + as_far.sum(axis=0)) / (1 + (~np.isnan(draws)).sum(axis=0))
    return np.where(np.isnan(found), np.nan, p_values)


def _evidence(
    found: Floats, ends: tuple[Floats, Floats], p_values: Floats
) -> list[tuple[float, Interval, float, float]]:
    """(mean, interval, p value, adjusted p value) of each row of differences."""
    intervals = [Interval(low, high) for low, high in zip(ends[0].tolist(), ends[1].tolist(), strict=True)]
    return list(zip(found.tolist(), intervals, p_values.tolist(), holm(p_values).tolist(), strict=True))
