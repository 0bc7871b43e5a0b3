"""Figures of a calibration: reliability before and after, and what every threshold would give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from cxrlens.report.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    RED,
    BoolArray,
    FloatArray,
    bottom_legend,
    name_axes,
    new_figure,
    reliability_bins,
    text_style,
    tidy,
)

_BINS: Final = 10
_ZONES: Final = {"pass": GREEN, "review": ORANGE, "retake": RED}
_BELOW_HALF: Final = (1e-6, 1e-5, 1e-4, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
_TICKS: Final = (*_BELOW_HALF, 0.5, *(1 - p for p in reversed(_BELOW_HALF)))
_PURPLE: Final = "#cc79a7"


def calibration_figure(
    truth: BoolArray, before: FloatArray, after: FloatArray, *, title: str, ece: tuple[float, float]
) -> Figure:
    """Observed share of affected images against mean probability in bins of equal width, over the bins' counts.

    Args:
        truth: [n], whether an image is affected.
        before: [n], the network's own probability; ``after``: the calibrated one of the same images.
        ece: the expected calibration errors, before and after.
    """
    figure = new_figure(5.4, 6.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    upper.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="perfect calibration")
    drawn = (("before", before, ORANGE, "s", "--"), ("after", after, BLUE, "o", "-"))
    for (name, probabilities, color, marker, line), error in zip(drawn, ece, strict=True):
        mean, observed, counts, edges = reliability_bins(truth, probabilities, _BINS)
        upper.plot(
            mean,
            observed,
            color=color,
            linewidth=2,
            linestyle=line,
            marker=marker,
            markersize=6,
            label=f"{name}: expected calibration error {error:.3f}",
        )
        lower.stairs(counts, edges, color=color, linewidth=2, linestyle=line)
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    lower.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    tidy(upper)
    tidy(lower)
    name_axes(upper, title, "", "observed share of affected images")
    name_axes(lower, "", "probability of affected", "images")
    legend = upper.legend(loc="upper left", frameon=True, framealpha=0.9, edgecolor="none", facecolor="white")
    for text in legend.get_texts():
        text.set(**text_style(9))
    return figure


def operating_point_figure(
    truth: BoolArray,
    log_odds: FloatArray,
    curves: Sequence[tuple[str, FloatArray]],
    *,
    review: float,
    retake: float,
    title: str,
) -> Figure:
    """Scores at each threshold, with the zones of pass, review and retake, over the images of both classes.

    Args:
        truth: [n], whether an image is affected.
        log_odds: [n], calibrated and finite; the axis is linear in them and labelled by probabilities.
        curves: up to three names and the shares [n] that a threshold at each image's log-odds, in rising order, gives.
        review: log-odds of the thresholds, review <= retake; infinite ones lie outside the image.
        retake: likewise.
    """
    figure = new_figure(7.4, 6.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
    margin = 0.04 * max(float(np.ptp(log_odds)), 1.0)
    ends = float(log_odds.min()) - margin, float(log_odds.max()) + margin
    low, high = (float(np.clip(cut, *ends)) for cut in (review, retake))
    _shade(upper, (ends[0], low, high, ends[1]))
    _shade(lower, (ends[0], low, high, ends[1]))
    places = np.sort(log_odds)
    handles: list[Line2D | Patch] = []
    for (name, shares), color, line in zip(curves, (BLUE, INK, _PURPLE), ("-", "--", "-."), strict=False):
        handles += upper.plot(
            places, shares, color=color, linestyle=line, linewidth=2, drawstyle="steps-pre", label=name
        )
    edges = np.linspace(*ends, 31)
    for chosen, name, color in ((~truth, "normal images", BLUE), (truth, "affected images", RED)):
        counts, _ = np.histogram(log_odds[chosen], bins=edges)
        lower.stairs(counts, edges, color=color, linewidth=1.6, fill=True, alpha=0.35)
        lower.stairs(counts, edges, color=color, linewidth=1.6)
        handles.append(Patch(facecolor=color, alpha=0.5, label=name))
    handles += [Patch(facecolor=color, alpha=0.18, label=name) for name, color in _ZONES.items()]
    upper.set(xlim=ends, ylim=(-0.02, 1.02))
    lower.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    tidy(upper)
    tidy(lower)
    ticks = _ticks(*ends)
    lower.set_xticks([float(np.log(p / (1 - p))) for p in ticks], [_share(p) for p in ticks], **text_style(9))
    name_axes(upper, title, "", "share")
    name_axes(lower, "", "calibrated probability of affected (scale of its odds)", "images")
    bottom_legend(figure, handles, columns=4)
    return figure


def _shade(axes: Axes, borders: tuple[float, float, float, float]) -> None:
    for left, right, color in zip(borders, borders[1:], _ZONES.values(), strict=False):
        if right > left:
            axes.axvspan(left, right, color=color, alpha=0.13, linewidth=0)
    for border in borders[1:3]:
        axes.axvline(border, color=GREY, linewidth=1.2)


def _ticks(low: float, high: float) -> list[float]:
    """Probabilities between two log-odds, thinned where they would touch."""
    inside = [p for p in _TICKS if low <= np.log(p / (1 - p)) <= high]
    kept: list[float] = []
    for p in inside:
        if not kept or np.log(p / (1 - p)) - np.log(kept[-1] / (1 - kept[-1])) > (high - low) / 11:
            kept.append(p)
    return kept


def _share(p: float) -> str:
    return f"{p:g}" if p < 0.99989 else f"1−{1 - p:.0e}".replace("e-0", "e-")
