"""Curves with bands, and what figures of many lines share: styles that can be told apart, and legends beside."""

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

from cxrlens.report.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    RED,
    name_axes,
    new_figure,
    shorten,
    text_style,
    tidy,
)

SERIES_COLORS: Final = (
    BLUE,
    ORANGE,
    GREEN,
    RED,
    "#cc79a7",
    "#56b4e9",
    INK,
    "#8c6d1f",
)  # Okabe and Ito's, ink and a brown
_LINES: Final = ("-", "--", "-.")
_MARKERS: Final = "osD^vPX*"
_REFERENCE_LINES: Final = ("--", ":", "-.", (0, (1, 4)), (0, (6, 3, 1, 3, 1, 3)))
TURNED: Final[dict[str, Any]] = {"rotation": 42, "ha": "right", "rotation_mode": "anchor"}


@dataclass(frozen=True)
class Curve:
    """y over x; `lows` and `highs`, if given, bound a band. NaN leaves a gap."""

    label: str
    y: Sequence[float]
    lows: Sequence[float] | None = None
    highs: Sequence[float] | None = None


def curve_figure(
    x: Sequence[float] | Sequence[str],
    curves: Sequence[Curve],
    *,
    title: str,
    x_name: str,
    y_name: str,
    references: Mapping[str, float] | None = None,
    marked_x: Mapping[str, float] | None = None,
    y_range: tuple[float, float] | None = (0.0, 1.0),
) -> Figure:
    """Curves with bands over common places: numbers, or names such as layers or stages in their order.

    Args:
        x: numbers, rising, or names.
        curves: each with one y per place; the legend lists them by their last value, the highest on top.
        title: of the figure.
        x_name: under the axis.
        y_name: beside the axis.
        references: levels drawn as lines across the figure, such as baselines or the similarity of a random pair.
        marked_x: upright lines, such as the tolerance of the published score; only where `x` are numbers.
        y_range: of the axis; None fits the data.

    Raises:
        ValueError: when a curve has another number of values than there are places.
    """
    named = any(isinstance(place, str) for place in x)
    places = np.arange(len(x), dtype=float) if named else np.asarray(x, dtype=float)
    figure = new_figure(9.0, max(4.6, 1.2 + 0.26 * (len(curves) + len(references or {}))))
    axes = figure.add_subplot()
    last: dict[int, float] = {}
    for number, curve in enumerate(curves):
        y = column_of(curve.y, x, curve.label)
        style = line_style(number)
        if curve.lows is not None and curve.highs is not None:
            low, high = column_of(curve.lows, x, curve.label), column_of(curve.highs, x, curve.label)
            axes.fill_between(places, low, high, color=style["color"], alpha=0.13, linewidth=0)
        axes.plot(places, y, label=curve.label, **style)
        present = y[np.isfinite(y)]
        last[number] = float(present[-1]) if present.size else -math.inf
    lines = reference_lines(axes, references or {}, vertical=False)
    for label, place in (marked_x or {}).items():
        axes.axvline(place, color=GREY, linewidth=1.0, zorder=1)
        axes.text(
            place,
            0.995,
            f" {label}",
            va="top",
            transform=axes.get_xaxis_transform(),
            **text_style(8, color=GREY),
        )
    tidy(axes)
    if named:
        longest = max(len(str(name)) for name in x)
        turned: dict[str, Any] = TURNED if longest * len(x) > 60 else {}
        axes.set_xticks(places, [shorten(str(name), 24) for name in x], **turned, **text_style(9))
    if y_range is not None:
        axes.set_ylim(y_range[0], y_range[1] + 0.02 * (y_range[1] - y_range[0]))
    name_axes(axes, title, x_name, y_name)
    ordered = sorted(last, key=lambda number: -last[number])
    handles = [Line2D([], [], label=shorten(curves[number].label, 40), **line_style(number)) for number in ordered]
    side_legend(axes, [*handles, *lines])
    return figure


def column_of(numbers: Sequence[float], places: Sequence[Any], label: str) -> npt.NDArray[np.float64]:
    """The numbers of a curve or bar, one a place.

    Raises:
        ValueError: when there are more or fewer.
    """
    column = np.asarray(numbers, dtype=np.float64)
    if column.shape != (len(places),):
        raise ValueError(f"{label}: {column.size} values for {len(places)} places")
    return column


def line_style(number: int) -> dict[str, Any]:
    """Colour, dashes and marker that no other of the first 24 curves has together."""
    cycle, place = divmod(number, len(SERIES_COLORS))
    return {
        "color": SERIES_COLORS[place],
        "linestyle": _LINES[cycle % len(_LINES)],
        "marker": _MARKERS[place],
        "markersize": 4.5,
        "linewidth": 1.8,
    }


def reference_lines(axes: Axes, references: Mapping[str, float], *, vertical: bool) -> list[Line2D]:
    """A grey line at each level; returns what the legend shows."""
    handles = []
    for number, (label, level) in enumerate(references.items()):
        style: dict[str, Any] = {
            "color": GREY,
            "linestyle": _REFERENCE_LINES[number % len(_REFERENCE_LINES)],
            "linewidth": 1.6,
        }
        (axes.axvline if vertical else axes.axhline)(level, zorder=3, **style)
        handles.append(Line2D([], [], label=f"{shorten(label, 36)} {level:.3f}", **style))
    return handles


def side_legend(axes: Axes, handles: Sequence[Line2D], *, title: str = "") -> None:
    """A legend right of the axes, where it hides no curve."""
    legend = axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, handlelength=3.2)
    legend.set_title(title)
    for text in [legend.get_title(), *legend.get_texts()]:
        text.set(**text_style(9))
