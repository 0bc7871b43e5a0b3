"""The control chart of a share: a p chart with exact limits, which follow the number of images of each period.

Shewhart's p chart (Montgomery, Introduction to Statistical Quality Control, section 7.2) with probability limits: a
period lies outside where a binomial count, if nothing has changed, would lie there with a probability of at most
0.00135, that of three standard deviations of a normal distribution. With few images such limits hold where 3 sqrt(p
(1 - p) / n) does not. A second rule sees small changes that last: nine periods in a row on one side (Nelson, Journal
of Quality Technology 1984, test 2). The side is that of the binomial's median, and a period on the median is on
neither side, so that chance puts a period on a side with a probability of at most one half, however few images it
has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, norm

Signal: TypeAlias = Literal["", "above", "below", "run above", "run below"]
Counts: TypeAlias = npt.NDArray[np.integer]

TAIL: Final = float(norm.sf(3))
"""Probability beyond each limit of a period in which nothing has changed."""

RUN: Final = 9
"""Periods in a row on one side that are a signal."""


@dataclass(frozen=True)
class ControlPoint:
    """A period of a chart.

    Attributes:
        period: its name.
        hits: among so many ``images``.
        low: the least share that is no signal; ``high`` the largest.
        signal: "above" or "below" the limits, "run above" or "run below" from the ninth period in a row on.
        in_baseline: it has a part in the centre line.
    """

    period: str
    hits: int
    images: int
    low: float
    high: float
    signal: Signal
    in_baseline: bool

    @property
    def share(self) -> float:
        return self.hits / self.images


@dataclass(frozen=True)
class ControlChart:
    """A chart of periods in their order; those without images are left out.

    Attributes:
        centre: the share of the periods of the baseline together.
    """

    centre: float
    points: Sequence[ControlPoint]

    @property
    def signals(self) -> list[ControlPoint]:
        return [point for point in self.points if point.signal]

    @property
    def expected_by_chance(self) -> float:
        """An upper bound of the number of signals that a chart of so many periods has where nothing changes."""
        runs = max(len(self.points) - RUN + 1, 0)
        return 2 * TAIL * len(self.points) + 2 * 0.5**RUN * runs


def control_chart(
    counts: Sequence[tuple[str, int, int]], is_baseline: Sequence[bool] | None = None
) -> ControlChart | None:
    """The chart of (period, hits, images) in the order of time; None of fewer than two periods with images.

    Args:
        is_baseline: which of them the centre line is of; None = all. Of none with images there is no chart.
    """
    chosen = [True] * len(counts) if is_baseline is None else list(is_baseline)
    kept = [(name, hits, n, own) for (name, hits, n), own in zip(counts, chosen, strict=True) if n]
    behind = sum(n for _, _, n, own in kept if own)
    if len(kept) < 2 or not behind:
        return None
    centre = sum(hits for _, hits, _, own in kept if own) / behind
    hits, images = (np.array([entry[place] for entry in kept]) for place in (1, 2))
    lows, highs = limits(images, centre)
    signals = _signals(hits, images, centre, lows, highs)
    points = [
        ControlPoint(name, int(x), int(n), float(low / n), float(high / n), signal, own)
        for (name, x, n, own), low, high, signal in zip(kept, lows, highs, signals, strict=True)
    ]
    return ControlChart(centre, points)


def limits(images: Counts, centre: float) -> tuple[Counts, Counts]:
    """The least and the largest counts [n] that are no signal: fewer, or more, have a probability of at most `TAIL`."""
    return (
        binom.ppf(TAIL, images, centre).astype(np.intp).clip(0),
        binom.isf(TAIL, images, centre).astype(np.intp).clip(0),
    )


def _signals(hits: Counts, images: Counts, centre: float, lows: Counts, highs: Counts) -> list[Signal]:
    sides = np.sign(hits - binom.median(images, centre))
    found: list[Signal] = []
    run, last = 0, 0.0
    for count, side, low, high in zip(hits, sides, lows, highs, strict=True):
        run = run + 1 if side and side == last else int(side != 0)
        last = side
        if count > high or count < low:
            found.append("above" if count > high else "below")
        elif run >= RUN:
            found.append("run above" if side > 0 else "run below")
        else:
            found.append("")
    return found
