"""What the figures of a calibration draw equals numbers worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch
from PIL import Image

from cxrlens.calibration.figures import calibration_figure, operating_point_figure
from cxrlens.report.figures import GREEN, ORANGE, RED, save_figure

TRUTH = np.array([False, True, False, True, True])


def line(figure: Figure, label: str) -> list[tuple[float, float]]:
    (found,) = [each for each in figure.axes[0].lines if str(each.get_label()).startswith(label)]
    return [(round(float(x), 9), round(float(y), 9)) for x, y in zip(*found.get_data(), strict=True)]


def stairs(figure: Figure) -> list[list[float]]:
    return [patch.get_data().values.tolist() for patch in figure.axes[1].patches if isinstance(patch, StepPatch)]


def zones(figure: Figure, axes: int = 0) -> dict[str, tuple[float, float]]:
    """Left and right border of each shaded zone, by colour."""
    found = [patch for patch in figure.axes[axes].patches if isinstance(patch, Rectangle)]
    return {to_hex(p.get_facecolor()): (p.get_x(), p.get_x() + p.get_width()) for p in found}


def operating_points(review: float, retake: float, log_odds: np.ndarray | None = None) -> Figure:
    odds = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) if log_odds is None else log_odds
    return operating_point_figure(
        TRUTH, odds, [("sensitivity", np.linspace(1, 0, 5))], review=review, retake=retake, title="t"
    )


def test_reliability_before_and_after() -> None:
    before, after = np.array([0.02, 0.08, 0.55, 0.97, 1.0]), np.array([0.25, 0.25, 0.55, 0.55, 0.55])
    figure = calibration_figure(TRUTH, before, after, title="t", ece=(0.2, 0.1))
    assert line(figure, "before: expected calibration error 0.200") == [(0.05, 0.5), (0.55, 0.0), (0.985, 1.0)]
    assert line(figure, "after: expected calibration error 0.100") == [(0.25, 0.5), (0.55, round(2 / 3, 9))]
    assert stairs(figure) == [[2, 0, 0, 0, 0, 1, 0, 0, 0, 2], [0, 0, 2, 0, 0, 3, 0, 0, 0, 0]]


def test_zones_lie_between_the_thresholds() -> None:
    figure = operating_points(-0.5, 1.5)
    low, high = figure.axes[0].get_xlim()
    assert low < -2
    assert high > 2
    for axes in (0, 1):
        found = zones(figure, axes)
        assert found[GREEN] == pytest.approx((low, -0.5))
        assert found[ORANGE] == pytest.approx((-0.5, 1.5))
        assert found[RED] == pytest.approx((1.5, high))
    assert line(figure, "sensitivity") == [(-2, 1), (-1, 0.75), (0, 0.5), (1, 0.25), (2, 0)]
    assert sum(stairs(figure)[0]) == 2  # normal images
    assert sum(stairs(figure)[2]) == 3  # affected ones


def test_empty_zones_are_left_out() -> None:
    assert set(zones(operating_points(1.0, 1.0))) == {GREEN, RED}
    assert set(zones(operating_points(-math.inf, 1.0))) == {ORANGE, RED}


@pytest.mark.parametrize("width", [0.0, 0.5, 4.0, 30.0])
def test_the_axis_names_probabilities_where_they_are(width: float, tmp_path: Path) -> None:
    figure = operating_points(0.0, 0.0, np.linspace(-width, width, 5))
    axes = figure.axes[1]
    labels = [text.get_text() for text in axes.get_xticklabels()]
    places = axes.get_xticks()
    assert labels
    for label, place in zip(labels, places, strict=True):
        odds = label.partition("−")
        probability = 1 - float(odds[2]) if odds[2] else float(label)
        assert place == pytest.approx(math.log(probability / (1 - probability)), abs=1e-6)
    png, svg = save_figure(figure, tmp_path / "f", formats=("png", "svg"))
    with Image.open(png) as image:
        assert min(image.size) > 400
    assert "<svg" in svg.read_text()
