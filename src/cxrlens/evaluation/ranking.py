"""Average ranks of several methods over images, and which of them the ranks cannot tell apart.

Friedman's test with Nemenyi's post-hoc test, as Demsar lays out for classifiers over data sets (Journal of Machine
Learning Research 2006, sections 3.2.2 and 3.2.4); here methods over images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from cxrlens.errors import ArgumentError

LEVEL = 0.05


@dataclass(frozen=True)
class Ranking:
    """Ranks of rows over images, 1 = best.

    Attributes:
        average_ranks: of each row, in [1, rows]; tied values share their mean rank. NaN without an image.
        critical_difference: two rows whose average ranks lie at least so far apart differ (Nemenyi, level 0.05); NaN
            without an image or with one row. It takes no account of ties, which makes it err on the strict side.
        p_value: of Friedman's test that all rows rank alike, corrected for ties; NaN below three rows or without an
            image.
        groups: of rows that are not told apart, best first and each in the order of its ranks; every group is as
            large as can be, so groups overlap, and a row told apart from all others is alone in its group.
        n: number of images that every row has a value for.
    """

    average_ranks: tuple[float, ...]
    critical_difference: float
    p_value: float
    groups: tuple[tuple[int, ...], ...]
    n: int


def rank_rows(values: npt.ArrayLike, higher_is_better: bool = True) -> Ranking:
    """Rank rows of per-image values within each image.

    Args:
        values: [rows, n], or [rows, seeds, n], which is averaged over seeds first. An image with a NaN in any row or
            seed is left out.
        higher_is_better: whether the highest value has rank 1.

    Raises:
        ArgumentError: when values has neither shape.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 3:
        table = table.mean(axis=1)
    if table.ndim != 2:
        raise ArgumentError(f"values should have the shape [rows, n] or [rows, seeds, n], not {list(table.shape)}")
    table = table[:, ~np.isnan(table).any(axis=0)]
    rows, n = table.shape
    if rows == 0 or n == 0:
        return Ranking((math.nan,) * rows, math.nan, math.nan, (), n)
    ranks = stats.rankdata(-table if higher_is_better else table, axis=0)
    average = ranks.mean(axis=1)
    difference = critical_difference(rows, n)
    return Ranking(tuple(average.tolist()), difference, _friedman(ranks), _groups(average, difference), n)


def critical_difference(rows: int, n: int) -> float:
    """Nemenyi's critical difference of average ranks at level 0.05: q sqrt(rows (rows + 1) / (6 n)).

    q is the 95 % point of the studentised range of so many rows and infinitely many degrees of freedom, over sqrt(2).
    """
    if rows < 2 or n < 1:
        return math.nan
    q = float(stats.studentized_range.ppf(1 - LEVEL, rows, np.inf)) / math.sqrt(2)
    return q * math.sqrt(rows * (rows + 1) / (6 * n))


def _friedman(ranks: npt.NDArray[np.float64]) -> float:
    if len(ranks) < 3:
        return math.nan
    if np.ptp(ranks) == 0:  # every image is a tie of all rows: 0 / 0 in the correction for ties
        return 1.0
    return float(stats.friedmanchisquare(*ranks).pvalue)


def _groups(average: npt.NDArray[np.float64], difference: float) -> tuple[tuple[int, ...], ...]:
    """The longest runs of sorted average ranks that span less than the difference."""
    order = np.argsort(average, kind="stable")
    sorted_ranks = average[order]
    groups: list[tuple[int, ...]] = []
    reached = 0  # end of the last run
    for start, rank in enumerate(sorted_ranks):
        end = start + 1
        while end < len(order) and sorted_ranks[end] - rank < difference:
            end += 1
        if end > reached:
            groups.append(tuple(order[start:end].tolist()))
            reached = end
    return tuple(groups)
