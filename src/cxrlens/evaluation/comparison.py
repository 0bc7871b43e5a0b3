"""Whether two methods differ: paired bootstrap over images, corrected for the number of comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from cxrlens.evaluation.bootstrap import Interval, bootstrap_means


@dataclass(frozen=True)
class Comparison:
    """Row ``first`` against row ``second``.

    Attributes:
        difference: mean of first minus second over the images that both have a value for.
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
        """Whether the difference stands at a family-wise error rate of 5 %."""
        return self.adjusted < 0.05


def compare_rows(values: npt.ArrayLike, *, repeats: int = 10_000, seed: int = 0) -> list[Comparison]:
    """Compare every two rows of per-image values.

    The p value is that of the bootstrap distribution of the mean difference, shifted to zero: the share of resamples
    at least as far from zero as the difference found, counting the data themselves.

    Args:
        values: [rows, n], one column per image; NaN = not applicable.
        repeats: number of resamples.
        seed: of the resamples.
    """
    table = np.asarray(values, dtype=np.float64)
    pairs = list(combinations(range(len(table)), 2))
    if not pairs:
        return []
    differences = np.stack([table[first] - table[second] for first, second in pairs])
    lows, highs = bootstrap_means(differences, repeats=repeats, seed=seed)
    p_values = np.array([_p_value(row, repeats, seed) for row in differences])
    adjusted = holm(p_values)
    return [
        Comparison(first, second, _mean(row), Interval(float(low), float(high)), float(p), float(q))
        for (first, second), row, low, high, p, q in zip(
            pairs, differences, lows, highs, p_values, adjusted, strict=True
        )
    ]


def holm(p_values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Holm's step-down adjustment (Scandinavian Journal of Statistics 1979); NaN is no comparison and stays NaN."""
    adjusted = np.full(p_values.shape, np.nan)
    defined = np.flatnonzero(~np.isnan(p_values))
    order = defined[np.argsort(p_values[defined], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1) if len(order) else []
    return adjusted


def _p_value(differences: npt.NDArray[np.float64], repeats: int, seed: int) -> float:
    present = differences[~np.isnan(differences)]
    if not present.size:
        return np.nan
    centred = present - present.mean()
    rng = np.random.default_rng(seed)
    draws = np.array([centred[rng.integers(present.size, size=present.size)].mean() for _ in range(repeats)])
    as_far = np.abs(draws) >= abs(present.mean()) * (1 - 1e-12)
    return float((1 + as_far.sum()) / (1 + repeats))


def _mean(values: npt.NDArray[np.float64]) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else np.nan
