"""Figures of a study from plain numbers: methods on several models, ranks, curves, FROC and matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cxrlens.report.curves import SERIES_COLORS, TURNED, column_of, line_style, reference_lines, side_legend
from cxrlens.report.figures import (
    BLUES,
    GREY,
    INK,
    PALE,
    RED,
    bottom_legend,
    name_axes,
    new_figure,
    shorten,
    text_style,
    tidy,
)

_HATCHES: Final = ("", "///", "...", "xxx", "\\\\\\", "++", "oo", "--")
_FROC_TICKS: Final = {1 / 8: "1/8", 1 / 4: "1/4", 1 / 2: "1/2", 1.0: "1", 2.0: "2", 4.0: "4", 8.0: "8"}


@dataclass(frozen=True)
class Bars:
    """The scores of one model, one value a row; `lows` and `highs` are the ends of their 95 % intervals.

    NaN leaves a bar or an interval out.
    """

    label: str
    values: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]


@dataclass(frozen=True)
class FrocCurve:
    """Sensitivity in [0, 1] over false positives per image, neither falling; `mean` is the curve's summary."""

    label: str
    false_positives: Sequence[float]
    sensitivity: Sequence[float]
    mean: float


def grouped_bar_figure(
    names: Sequence[str],
    groups: Sequence[Bars],
    *,
    title: str,
    score_name: str,
    references: Mapping[str, float] | None = None,
    upper: float = 1.0,
) -> Figure:
    """Horizontal bars with intervals: one row a name, in it one bar a group, the first on top.

    Args:
        names: of the rows, such as methods.
        groups: at most 8, such as models.
        title: of the figure.
        score_name: under the axis, which runs from 0 to `upper`.
        references: levels that every row is compared with, such as baselines; drawn as lines across all rows.

    Raises:
        ValueError: when a group has another number of values than there are names, or there are too many groups.
    """
    if len(groups) > len(SERIES_COLORS):
        raise ValueError(f"{len(groups)} groups of bars; at most {len(SERIES_COLORS)} can be told apart")
    height = 0.8 / max(len(groups), 1)
    figure = new_figure(8.0, 1.7 + (0.16 + 0.16 * max(len(groups), 1)) * max(len(names), 2))
    axes = figure.add_subplot()
    for number, group in enumerate(groups):
        value, low, high = (column_of(part, names, group.label) for part in (group.values, group.lows, group.highs))
        places = np.arange(len(names)) + (number - (len(groups) - 1) / 2) * height
        axes.barh(places, value, height=0.9 * height, zorder=2, **_bar_style(number))
        whiskers = np.nan_to_num(np.maximum([value - low, high - value], 0))
        shown = np.isfinite(value) & np.isfinite(low) & np.isfinite(high)
        axes.errorbar(
            value[shown],
            places[shown],
            xerr=whiskers[:, shown],
            fmt="none",
            ecolor=INK,
            elinewidth=1.1,
            capsize=2,
            zorder=4,
        )
    handles = [Patch(label=group.label, **_bar_style(number)) for number, group in enumerate(groups)]
    lines = reference_lines(axes, references or {}, vertical=True)
    tidy(axes)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_yticks(range(len(names)), [shorten(name, 40) for name in names], **text_style(10))
    axes.set(xlim=(0, upper), ylim=(len(names) - 0.45, -0.55))
    name_axes(axes, title, score_name, "")
    interval = Line2D([], [], color=INK, linewidth=1.1, label="95 % interval")
    bottom_legend(figure, [*handles, interval, *lines], columns=4)
    return figure


def critical_difference_figure(
    names: Sequence[str],
    ranks: Sequence[float],
    groups: Sequence[Sequence[int]],
    *,
    title: str,
    critical_difference: float | None = None,
    rank_name: str = "average rank (1 = best)",
) -> Figure:
    """Average ranks on an axis, best on the left, with bars that join what could not be told apart (Demsar 2006).

    Args:
        names: of the methods.
        ranks: average rank of each, from 1 to the number of methods.
        groups: indices of methods, two or more each, none of which differs from another; a dot on the bar stands at
            each member, so a method that the bar only passes over is not taken for one.
        title: of the figure.
        critical_difference: in ranks, drawn above the axis, where the test has one for all pairs.
        rank_name: says what was ranked.

    Raises:
        ValueError: when names and ranks differ in number, there are none, or an index belongs to no method.
    """
    place = np.asarray(ranks, dtype=float)
    if not len(names) or place.shape != (len(names),):
        raise ValueError(f"{len(names)} names and ranks of shape {place.shape}")
    strange = [index for group in groups for index in group if not 0 <= index < len(names)]
    if strange:
        raise ValueError(f"a group names no method {strange[0]}: there are {len(names)}")
    order = np.argsort(place, kind="stable")
    joined = _bars_apart([sorted(set(group), key=lambda index: place[index]) for group in groups], place)
    half = math.ceil(len(names) / 2)
    lowest, highest = math.floor(place.min()), math.ceil(place.max())
    highest = max(highest, lowest + math.ceil(critical_difference or 1))
    span = highest - lowest
    top = 0.35 + 0.2 * (1 + max((level for level, _ in joined), default=-1))  # where the first name stands
    depth = top + 0.34 * max(half - 1, 0)
    figure = new_figure(10.5, 1.5 + 1.25 * (depth + 0.5))
    axes = figure.add_subplot()
    ceiling = -0.65 if critical_difference is None else -1.0
    axes.set(xlim=(lowest - 0.05 * span, highest + 0.05 * span), ylim=(depth + 0.15, ceiling))
    axes.spines[:].set_visible(False)
    axes.set_yticks([])
    axes.set_xticks([])
    axes.plot([lowest, highest], [0, 0], color=INK, linewidth=1.3)
    step = max(1, math.ceil(span / 15))
    for rank in range(lowest, highest + 1):
        labelled = (rank - lowest) % step == 0
        axes.plot([rank, rank], [0, -0.12 if labelled else -0.06], color=INK, linewidth=1.3)
        if labelled:
            axes.text(rank, -0.17, str(rank), ha="center", va="bottom", **text_style(10))
    for level, group in joined:
        y = 0.18 + 0.2 * level
        x = place[group]
        axes.plot([x[0], x[-1]], [y, y], color=RED, linewidth=3.2, solid_capstyle="round", zorder=3)
        axes.plot(x, np.full(len(x), y), linestyle="none", marker="o", markersize=6, color=RED, zorder=3)
    for number, index in enumerate(order):
        left = number < half
        row = number if left else len(names) - 1 - number
        y = top + 0.34 * row
        edge = -0.02 if left else 1.02
        text = f"{shorten(names[index], 40)}  {place[index]:.2f}"
        if not left:
            text = f"{place[index]:.2f}  {shorten(names[index], 40)}"
        transform = axes.get_yaxis_transform()
        x_edge = axes.get_xlim()[0 if left else 1]
        axes.plot([place[index], place[index], x_edge], [0, y, y], color=GREY, linewidth=1.0, zorder=1)
        axes.text(edge, y, text, ha="right" if left else "left", va="center", transform=transform, **text_style(10))
    if critical_difference is not None:
        _difference_bar(axes, lowest, critical_difference)
    axes.set_title(shorten(title, 80), pad=10, **text_style(12))
    axes.text((lowest + highest) / 2, -0.42, rank_name, ha="center", va="bottom", **text_style(10))
    if joined:
        bottom_legend(figure, [Line2D([], [], color=RED, linewidth=3.2, marker="o", label="not told apart")])
    return figure


def froc_figure(curves: Sequence[FrocCurve], *, title: str) -> Figure:
    """Free-response ROC: sensitivity over 1/8 to 8 false positives per image, on a logarithmic axis.

    A curve starts where its first point lies, further right than 1/8 if need be, and stays level behind its last.
    """
    figure = new_figure(9.0, max(4.6, 1.2 + 0.26 * len(curves)))
    axes = figure.add_subplot()
    first, *_, end = _FROC_TICKS
    handles = []
    for number in sorted(range(len(curves)), key=lambda number: -np.nan_to_num(curves[number].mean, nan=-1.0)):
        curve = curves[number]
        x, y = np.asarray(curve.false_positives, dtype=float), np.asarray(curve.sensitivity, dtype=float)
        mean = f"{curve.mean:.3f}" if math.isfinite(curve.mean) else "n/a"
        style: dict[str, Any] = line_style(number) | {"label": f"{mean}  {shorten(curve.label, 40)}", "marker": ""}
        handles.append(Line2D([], [], **style))
        if not x.size:
            continue
        at_first = np.flatnonzero(x <= first)
        if at_first.size:  # what is reached by the left edge
            x, y = np.append(first, x[at_first[-1] + 1 :]), np.append(y[at_first[-1]], y[at_first[-1] + 1 :])
        axes.plot(np.append(x, max(end, x[-1])), np.append(y, y[-1]), drawstyle="steps-post", **style)
    axes.set_xscale("log")
    axes.set(xlim=(first, end), ylim=(0, 1.02))
    axes.minorticks_off()
    tidy(axes)
    axes.set_xticks(list(_FROC_TICKS), list(_FROC_TICKS.values()), **text_style(9))
    name_axes(axes, title, "false positives per image", "sensitivity (objects found)")
    side_legend(axes, handles, title="mean sensitivity at the marked rates")
    return figure


def heat_map_figure(
    names: Sequence[str],
    matrix: npt.ArrayLike,
    *,
    title: str,
    value_name: str,
    columns: Sequence[str] | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    digits: int = 2,
) -> Figure:
    """Numbers in coloured cells, such as the similarity of every two methods; NaN is an empty cell with a dash.

    Args:
        names: of the rows, and of the columns unless those are given.
        matrix: [rows, columns].
        title: of the figure.
        value_name: beside the colour bar.
        columns: names.
        value_range: that of the colours: white at its lower, blue at its upper end.
        digits: after the point.

    Raises:
        ValueError: when the matrix does not fit the names.
    """
    values = np.asarray(matrix, dtype=float)
    columns = names if columns is None else columns
    if values.shape != (len(names), len(columns)):
        raise ValueError(f"a matrix of shape {values.shape} for {len(names)} rows and {len(columns)} columns")
    cell = 0.5
    figure = new_figure(3.6 + cell * len(columns), 2.6 + cell * len(names))
    axes = figure.add_subplot()
    axes.set_facecolor(PALE)
    low, high = value_range
    drawn = axes.imshow(np.ma.masked_invalid(values), cmap=BLUES, vmin=low, vmax=high)
    for row, column in np.ndindex(*values.shape):
        value = values[row, column]
        text = f"{value:.{digits}f}" if math.isfinite(value) else "–"
        color = "white" if math.isfinite(value) and value - low > 0.8 * (high - low) else INK
        axes.text(column, row, text, ha="center", va="center", **text_style(9, color=color))
    axes.set_xticks(range(len(columns)), [shorten(name, 30) for name in columns], **TURNED, **text_style(9))
    axes.set_yticks(range(len(names)), [shorten(name, 30) for name in names], **text_style(9))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.suptitle(shorten(title, 30 + 5 * len(columns)), **text_style(12))
    bar = figure.colorbar(drawn, ax=axes, shrink=0.7, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=9, length=0)
    bar.set_label(value_name, **text_style(9))
    return figure


def _bar_style(number: int) -> dict[str, Any]:
    """Colour and hatching, so that bars differ without colour too."""
    return {"facecolor": SERIES_COLORS[number], "hatch": _HATCHES[number], "edgecolor": "white", "linewidth": 0}


def _bars_apart(groups: Sequence[list[int]], place: npt.NDArray[np.float64]) -> list[tuple[int, list[int]]]:
    """Each group with the level that it is drawn at, so that bars which overlap lie on different levels."""
    gap = 0.025 * float(np.ptp(place))
    ends: list[float] = []  # right end of the last bar on each level
    placed = []
    for group in sorted((group for group in groups if len(group) > 1), key=lambda group: place[group[0]]):
        left, right = float(place[group[0]]), float(place[group[-1]])
        level = next((level for level, end in enumerate(ends) if end + gap < left), len(ends))
        ends[level : level + 1] = [right]
        placed.append((level, group))
    return placed


def _difference_bar(axes: Axes, start: float, length: float) -> None:
    """A ruler of the critical difference above the axis and its name."""
    axes.plot([start, start + length], [-0.76, -0.76], color=INK, linewidth=1.5, marker="|", markersize=9)
    axes.text(start, -0.83, f"critical difference {length:.2f}", va="bottom", **text_style(9))
