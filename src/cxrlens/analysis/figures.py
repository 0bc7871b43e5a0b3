"""Figures of an analysis: control charts, and scores beside those that were expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.special import logit

from cxrlens.analysis.control import ControlChart
from cxrlens.analysis.drift import DriftTest, Reference, critical_distance
from cxrlens.evaluation.bootstrap import Floats
from cxrlens.report.figures import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PALE,
    RED,
    bottom_legend,
    name_axes,
    new_figure,
    text_style,
    tidy,
)

_NAMES: Final = 12  # of periods, at most, under an axis
_MARKS: Final = {"outside": (RED, "D", "outside the limits"), "run": (ORANGE, "s", "nine in a row on one side")}
_PROBABILITIES: Final = (1e-6, 1e-5, 1e-4, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)


def control_figure(chart: ControlChart, *, title: str, what: str) -> Figure:
    """The shares of periods in per cent over the centre line and the limits, which follow the numbers of images.

    Args:
        what: is counted, under the name of the axis.
    """
    figure = new_figure(9.0, 4.4)
    axes = figure.add_subplot()
    places = np.arange(len(chart.points))
    shares, lows, highs = (
        100 * np.array(values)
        for values in zip(*((point.share, point.low, point.high) for point in chart.points), strict=True)
    )
    edges = np.append(places - 0.5, len(places) - 0.5)
    axes.stairs(highs, edges, baseline=lows, fill=True, color=PALE, alpha=0.75)
    for ends in (lows, highs):
        axes.stairs(ends, edges, baseline=None, color=GREY, linewidth=1.2)
    axes.axhline(100 * chart.centre, color=INK, linewidth=1.2, linestyle="--")
    axes.plot(places, shares, color=BLUE, linewidth=1.6, marker="o", markersize=4.5)
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=BLUE, marker="o", label=what),
        Line2D([], [], color=INK, linestyle="--", label=f"centre {100 * chart.centre:.3g} %"),
        Patch(facecolor=PALE, edgecolor=GREY, label="within the limits"),
    ]
    for kind, (color, marker, label) in _MARKS.items():
        chosen = [
            place
            for place, point in enumerate(chart.points)
            if point.signal and point.signal.startswith("run") == (kind == "run")
        ]
        if chosen:
            style: dict[str, Any] = {
                "color": color,
                "marker": marker,
                "markersize": 9,
                "linestyle": "none",
                "markeredgecolor": "white",
            }
            axes.plot(chosen, shares[chosen], **style)
            handles.append(Line2D([], [], **style, label=label))
    axes.set_ylim(bottom=0, top=1.1 * max(float(shares.max()), float(np.quantile(highs, 0.75)), 1.0))
    axes.set_xlim(-0.5, len(places) - 0.5)
    tidy(axes)
    _name_periods(axes, [point.period for point in chart.points])
    name_axes(axes, title, "", f"{what}, %")
    bottom_legend(figure, handles, columns=min(len(handles), 5))
    return figure


def score_figure(probabilities: Floats, reference: Reference, *, title: str) -> Figure:
    """The cumulative distribution of the images' scores beside the one that the calibration lets expect.

    Args:
        probabilities: [n], n > 0.
    """
    figure = new_figure(7.0, 4.4)
    axes = figure.add_subplot()
    scores = np.sort(np.clip(logit(probabilities), -16, 16))
    ends = reference.quantiles.normal[0], reference.quantiles.affected[-1]
    low, high = min(float(scores[0]), *ends), max(float(scores[-1]), *ends)
    margin = 0.03 * max(high - low, 1.0)
    places = np.linspace(low - margin, high + margin, 800)
    axes.plot(
        places,
        reference.cumulative(places, reference.share),
        color=INK,
        linestyle="--",
        linewidth=1.8,
        label=f"expected: the calibration's images at {100 * reference.share:.3g} % affected",
    )
    found = np.concatenate([[places[0]], scores, [places[-1]]])
    axes.plot(
        found,
        np.concatenate([[0], np.arange(1, len(scores) + 1) / len(scores), [1]]),
        color=BLUE,
        drawstyle="steps-post",
        linewidth=2,
        label=f"found: {len(scores):,} screened images",
    )
    axes.set(xlim=(places[0], places[-1]), ylim=(-0.02, 1.02))
    tidy(axes)
    shown = [p for p in _PROBABILITIES if places[0] <= logit(p) <= places[-1]]
    axes.set_xticks([float(logit(p)) for p in shown], [f"{p:g}" for p in shown], **text_style(9))
    name_axes(axes, title, "probability of affected (scale of its odds)", "share of images up to it")
    handles, _ = axes.get_legend_handles_labels()
    bottom_legend(figure, handles, columns=1)
    return figure


def drift_figure(
    tests: Sequence[DriftTest], reference: Reference, *, title: str, false_alarms: float, level: float
) -> Figure:
    """The distances of periods from the expected scores, beside those that would be an alarm.

    Args:
        tests: of periods in their order.
        false_alarms: see `DriftTest.is_alarm`.
        level: the p value that is an alarm, whatever those of the other periods are.
    """
    figure = new_figure(9.0, 3.8)
    axes = figure.add_subplot()
    places = np.arange(len(tests))
    edges = np.append(places - 0.5, len(places) - 0.5)
    critical = np.array([critical_distance(test.images, reference, level) for test in tests])
    tested = np.array([not np.isnan(test.p) for test in tests])
    axes.stairs(np.where(tested, critical, np.nan), edges, baseline=None, color=GREY, linewidth=1.4)
    axes.plot(places, [test.distance for test in tests], color=BLUE, linewidth=1.4, marker="o", markersize=4.5)
    handles: list[Line2D] = [
        Line2D([], [], color=BLUE, marker="o", label="distance from the expected scores"),
        Line2D([], [], color=GREY, label="an alarm in any case from here on"),
    ]
    alarms = [place for place, test in enumerate(tests) if test.is_alarm(false_alarms)]
    if alarms:
        mark: dict[str, Any] = {
            "color": RED,
            "marker": "D",
            "markersize": 9,
            "linestyle": "none",
            "markeredgecolor": "white",
        }
        axes.plot(alarms, [tests[place].distance for place in alarms], **mark)
        handles.append(Line2D([], [], **mark, label="alarm"))
    axes.set(ylim=(0, 1.05 * max(0.1, *(test.distance for test in tests), *critical[tested].tolist(), 0.1)))
    axes.set_xlim(-0.5, len(places) - 0.5)
    tidy(axes)
    _name_periods(axes, [test.name for test in tests])
    name_axes(axes, title, "", "distance D")
    bottom_legend(figure, handles)
    return figure


def _name_periods(axes: Axes, names: Sequence[str]) -> None:
    step = -(-len(names) // _NAMES)
    places = list(range(0, len(names), step))
    axes.set_xticks(places, [names[place] for place in places], rotation=30, ha="right", **text_style(9))
