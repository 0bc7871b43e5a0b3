"""Study figures: bars, ranks, curves and cells hold the numbers given, and long or awkward names do not overlap."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from cxrlens.report.curves import Curve, curve_figure
from cxrlens.report.figures import save_figure
from cxrlens.study.plots import (
    Bars,
    FrocCurve,
    critical_difference_figure,
    froc_figure,
    grouped_bar_figure,
    heat_map_figure,
)
from unwarned import no_warnings

NAN = math.nan
NAMES = ("normgrad_conv3x3", "Guided Grad-CAM", "Input x Gradient", "$a_b$", "Guided Backprop", "normgrad_scaling")
LONG = [f"{name} {layers}" for name in (*NAMES, "a very long name of a method that") for layers in ("last", "combined")]


def many_bars() -> Figure:
    value = np.linspace(0.1, 0.9, len(LONG))
    groups = [Bars(f"EfficientNet-B0 (seed {i})", value, value - 0.05, value + 0.05) for i in range(4)]
    references = {"centre point": 0.12, "mean annotation map": 0.31, "random point": 0.05, "brightest": 0.2}
    return grouped_bar_figure(LONG, groups, title="t" * 90, score_name="accuracy", references=references)


def many_ranks() -> Figure:
    ranks = np.linspace(1.2, 13.8, len(LONG))
    return critical_difference_figure(LONG, ranks, [[0, 1, 2], [1, 2, 3]], title="t" * 90, critical_difference=1.5)


def many_curves() -> Figure:
    x = [f"features.{i}.0" for i in range(10)]
    curves = [Curve(name, np.linspace(0, 1, 10), np.zeros(10), np.ones(10)) for name in LONG]
    return curve_figure(x, curves, title="t" * 90, x_name="layer", y_name="score", references={"random pair": 0.2})


def many_froc() -> Figure:
    return froc_figure([FrocCurve(name, [0.1, 1, 9], [0.2, 0.5, 0.9], 0.5) for name in LONG], title="t" * 90)


def many_cells() -> Figure:
    return heat_map_figure(LONG, np.eye(len(LONG)), title="t" * 90, value_name="similarity")


MANY = [many_bars, many_ranks, many_curves, many_froc, many_cells]


def shown_texts(figure: Figure) -> list[Text]:
    FigureCanvasAgg(figure).draw()
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]  # type: ignore


@pytest.mark.parametrize("draw", MANY)
def test_texts_do_not_overlap(draw: Callable[[], Figure]) -> None:
    """Upright texts are compared by their boxes; turned ones by their anchors' distance along the axis."""
    texts = shown_texts(draw())
    upright = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_rotation() in (0, 90)]
    assert len(upright) > 10
    for (first, one), (second, other) in combinations(upright, 2):
        overlap = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(overlap) < 1.5, (first, second)
    anchors = sorted(text.get_window_extent().x1 for text in texts if text.get_rotation() not in (0, 90))
    assert all(gap > 15 for gap in np.diff(anchors))


@pytest.mark.parametrize("draw", MANY)
def test_figures_are_saved_without_warning_and_alike(draw: Callable[[], Figure], tmp_path: Path) -> None:
    with no_warnings():
        (first,) = save_figure(draw(), tmp_path / "a", formats=("svg",))
        (second,) = save_figure(draw(), tmp_path / "b", formats=("svg",))
    assert first.read_bytes() == second.read_bytes()


def test_bars_stand_beside_each_other_with_their_intervals() -> None:
    groups = [Bars("A", [0.8, 0.1], [0.7, 0.0], [0.9, 0.3]), Bars("B", [0.5, NAN], [0.4, NAN], [NAN, NAN])]
    figure = grouped_bar_figure(["x", "y"], groups, title="t", score_name="s", references={"centre": 0.25})
    axes = figure.axes[0]
    bars = [(bar.get_width(), round(bar.get_y() + bar.get_height() / 2, 6)) for bar in axes.patches]
    assert bars[:3] == [(0.8, -0.2), (0.1, 0.8), (0.5, 0.2)]
    assert math.isnan(bars[3][0])
    whiskers = [segment[:, 0].tolist() for part in axes.collections for segment in part.get_segments()]
    assert whiskers == [pytest.approx([0.7, 0.9]), pytest.approx([0.0, 0.3])]
    assert axes.yaxis_inverted()
    assert [0.25, 0.25] in [list(line.get_xdata()) for line in axes.lines]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["A", "B", "95 % interval", "centre 0.250"]
    looks = {(bar.get_facecolor(), bar.get_hatch()) for bar in axes.patches}
    assert len({hatch for _, hatch in looks}) == 2


def test_bars_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="A: 1 values for 2 places"):
        grouped_bar_figure(["x", "y"], [Bars("A", [0.5], [0.5], [0.5])], title="t", score_name="s")
    with pytest.raises(ValueError, match="9 groups"):
        grouped_bar_figure(["x"], [Bars("A", [0.5], [0.5], [0.5])] * 9, title="t", score_name="s")


def test_ranks_are_joined_to_names_on_both_sides_and_bars_that_overlap_lie_apart() -> None:
    ranks = [3.5, 1.25, 2.0, 3.0]
    figure = critical_difference_figure(["d", "a", "b", "c"], ranks, [[2, 1], [2, 3], [3, 0], [0]], title="t")
    axes = figure.axes[0]
    lines = [tuple(map(tuple, line.get_xydata().tolist())) for line in axes.lines]  # type: ignore
    joined = [(line.get_xdata()[0], line.get_xdata()[-1], line.get_ydata()[0]) for line in axes.lines
              if line.get_marker() == "o"]  # fmt: skip
    first, second = joined[0][2], joined[1][2]
    assert joined == [(1.25, 2.0, first), (2.0, 3.0, second), (3.0, 3.5, first)]
    assert second > first
    names = [text.get_text() for text in axes.texts if "  " in text.get_text()]
    assert names == ["a  1.25", "b  2.00", "3.00  c", "3.50  d"]
    connectors = [line for line in lines if len(line) == 3]
    assert [line[0] for line in connectors] == [(1.25, 0), (2.0, 0), (3.0, 0), (3.5, 0)]
    left, right = axes.get_xlim()
    assert [line[2][0] for line in connectors] == [left, left, right, right]
    ticks = [text.get_text() for text in axes.texts if text.get_text().isdigit()]
    assert ticks == ["1", "2", "3", "4"]


def test_the_critical_difference_is_as_long_as_it_says_and_fits() -> None:
    figure = critical_difference_figure(["a", "b"], [1.4, 1.6], [[0, 1]], title="t", critical_difference=2.4)
    axes = figure.axes[0]
    (ruler,) = [line for line in axes.lines if line.get_marker() == "|"]
    assert list(ruler.get_xdata()) == [1.0, pytest.approx(3.4)]
    assert axes.get_xlim()[1] > 3.4
    assert "critical difference 2.40" in [text.get_text() for text in axes.texts]


def test_ranks_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="2 names"):
        critical_difference_figure(["a", "b"], [1.0], [], title="t")
    with pytest.raises(ValueError, match="0 names"):
        critical_difference_figure([], [], [], title="t")
    with pytest.raises(ValueError, match="no method 2"):
        critical_difference_figure(["a", "b"], [1.0, 2.0], [[0, 2]], title="t")


def test_curves_hold_their_numbers_and_the_legend_is_sorted_by_the_last() -> None:
    low, high = [0.0, 0.2, 0.3], [0.2, 0.4, 0.5]
    curves = [Curve("low", [0.1, 0.3, 0.4], low, high), Curve("high", [0.2, 0.9, NAN]), Curve("none", [NAN] * 3)]
    figure = curve_figure([5, 15, 25], curves, title="t", x_name="x", y_name="y", references={"random pair": 0.2},
                          marked_x={"15 px": 15})  # fmt: skip
    axes = figure.axes[0]
    assert [list(line.get_xdata()) for line in axes.lines[:3]] == [[5, 15, 25]] * 3
    assert list(axes.lines[0].get_ydata()) == [0.1, 0.3, 0.4]
    assert math.isnan(axes.lines[1].get_ydata()[2])
    band = {tuple(point) for point in axes.collections[0].get_paths()[0].vertices.round(6).tolist()}
    assert band == set(zip([5, 15, 25] * 2, low + high, strict=True))
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["high", "low", "none", "random pair 0.200"]
    assert axes.lines[3].get_linestyle() == "--"
    assert list(axes.lines[3].get_ydata()) == [0.2, 0.2]
    assert list(axes.lines[4].get_xdata()) == [15, 15]
    with pytest.raises(ValueError, match="c: 2 values for 3 places"):
        curve_figure([1, 2, 3], [Curve("c", [1, 2])], title="t", x_name="x", y_name="y")


def test_named_places_keep_their_order() -> None:
    figure = curve_figure(["fc", "conv1"], [Curve("c", [1, 0])], title="t", x_name="x", y_name="y", y_range=None)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["fc", "conv1"]
    assert list(axes.lines[0].get_xdata()) == [0, 1]


def test_no_two_of_many_curves_look_alike() -> None:
    curves = [Curve(str(i), [0, 1]) for i in range(24)]
    lines = curve_figure([0, 1], curves, title="t", x_name="x", y_name="y").axes[0].lines
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}) == 24


def test_froc_steps_from_an_eighth_to_eight() -> None:
    curves = [
        FrocCurve("early", [0.0, 0.1, 0.5, 20.0], [0.1, 0.2, 0.6, 0.9], 0.55),
        FrocCurve("late", [0.25, 2.0], [0.3, 0.4], 0.7),
        FrocCurve("empty", [], [], NAN),
    ]
    axes = froc_figure(curves, title="t").axes[0]
    # the legend's order is that of the means: late, early, empty
    assert [list(line.get_xdata()) for line in axes.lines] == [[0.25, 2, 8], [0.125, 0.5, 20, 20]]
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.3, 0.4, 0.4], [0.2, 0.6, 0.9, 0.9]]
    assert {line.get_drawstyle() for line in axes.lines} == {"steps-post"}
    assert axes.get_xscale() == "log"
    assert axes.get_xlim() == (0.125, 8)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1/8", "1/4", "1/2", "1", "2", "4", "8"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["0.700  late", "0.550  early", "n/a  empty"]


def test_cells_hold_their_numbers() -> None:
    matrix = [[1.0, 0.256, NAN], [-0.5, 0.9, 0.0]]
    figure = heat_map_figure(["r", "s"], matrix, title="t", value_name="v", columns=["x", "y", "z"])
    axes = figure.axes[0]
    texts = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "1.00", (1, 0): "0.26", (2, 0): "–", (0, 1): "-0.50", (1, 1): "0.90", (2, 1): "0.00"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "z"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["r", "s"]
    with pytest.raises(ValueError, match=r"\(2, 3\) for 2 rows and 2 columns"):
        heat_map_figure(["r", "s"], matrix, title="t", value_name="v")


def test_figures_can_be_saved_as_jpeg_alike_each_time(tmp_path: Path) -> None:
    paths = [save_figure(many_cells(), tmp_path / name, formats=("jpg",), dpi=40)[0] for name in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with Image.open(paths[0]) as picture:
        assert picture.format == "JPEG"
