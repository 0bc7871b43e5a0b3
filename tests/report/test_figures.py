"""Score figures: what they draw equals numbers worked out by hand; saving is whole and repeatable."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from cxrlens.report.figures import (
    BLUE,
    ORANGE,
    confusion_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
    save_figure,
    score_bar_figure,
    shorten,
)
from cxrlens.report.overlays import MapPanel, SheetRow, contact_sheet, overlay_figure
from unwarned import no_warnings

LABELS = [0, 1, 0, 1, 1]
PROBABILITIES = [0.1, 0.3, 0.5, 0.7, 0.9]
AWKWARD = ["$a_b$", "$\\frac{$", "胸片_正常.jpg", "Röntgen 100%.png", "bad\udcff.jpg", "a" * 300 + ".jpg"]


def points(figure: Figure, label: str) -> list[tuple[float, float]]:
    """The vertices of the one line whose label starts with `label`."""
    (line,) = [line for line in figure.axes[0].lines if str(line.get_label()).startswith(label)]
    return [(round(float(x), 9), round(float(y), 9)) for x, y in zip(*line.get_data(), strict=True)]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def gradient_figure(name: str = "x.png") -> Figure:
    image = np.tile(np.linspace(0, 1, 40, dtype=np.float32), (30, 1))
    return overlay_figure(image, [MapPanel(name, image, (3, 39), name)], title=name)


def test_roc_figure_draws_the_curve_and_the_operating_point() -> None:
    figure = roc_figure(LABELS, PROBABILITIES, title="t", auc=0.8333, interval=(0.7, 0.95), threshold=0.5)
    # in order of falling probability the labels are 1 1 0 1 0
    curve = points(figure, "AUC 0.833 (95 % interval 0.700 to 0.950)")
    assert curve == [
        (0, 0),
        (0, round(1 / 3, 9)),
        (0, round(2 / 3, 9)),
        (0.5, round(2 / 3, 9)),
        (0.5, 1),
        (1, 1),
    ]
    # 0.5 itself is an alarm: 2 of 3 affected found, 1 of 2 normal ones alarmed
    assert points(figure, "threshold") == [(0.5, round(2 / 3, 9))]
    assert legend(figure)[-1] == "threshold 0.5: sensitivity 0.667, specificity 0.500"


def test_precision_recall_figure_draws_the_curve_prevalence_and_operating_point() -> None:
    figure = precision_recall_figure(LABELS, PROBABILITIES, title="t", average_precision=0.9167, threshold=0.5)
    thirds = [round(i / 3, 9) for i in range(4)]
    curve = points(figure, "average precision 0.917")
    expected = [(1, 0.6), (1, 0.75), (thirds[2], thirds[2]), (thirds[2], 1), (thirds[1], 1), (0, 1)]
    assert curve == expected
    assert [y for _, y in points(figure, "prevalence 0.600")] == [0.6, 0.6]
    assert points(figure, "threshold") == [(thirds[2], thirds[2])]


def test_a_threshold_that_nothing_reaches_has_no_precision() -> None:
    figure = precision_recall_figure(LABELS, PROBABILITIES, title="t", average_precision=0.9, threshold=0.95)
    assert not any(text.startswith("threshold") for text in legend(figure))


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_curves_refuse_one_class(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="both classes"):
        roc_figure(labels, [0.1, 0.2, 0.3], title="t", auc=0.5)
    with pytest.raises(ValueError, match="both classes"):
        precision_recall_figure(labels, [0.1, 0.2, 0.3], title="t", average_precision=0.5)


def test_confusion_figure_shows_counts_and_row_percentages() -> None:
    figure = confusion_figure([[45, 5], [0, 0]], ["normal", "affected"], title="t")
    texts = [(text.get_position()[0], round(text.get_position()[1]), text.get_text()) for text in figure.axes[0].texts]
    assert texts == [
        *((0, 0, "45"), (0, 0, "90.0 %"), (1, 0, "5"), (1, 0, "10.0 %")),
        *((0, 1, "0"), (0, 1, "–"), (1, 1, "0"), (1, 1, "–")),
    ]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["normal", "affected"]
    with pytest.raises(ValueError, match=r"\(3, 3\)"):
        confusion_figure(np.eye(3), ["a", "b", "c"], title="t")


def test_reliability_figure_bins_by_equal_width() -> None:
    probabilities, labels = [0.0, 0.1, 0.25, 0.9, 1.0], [0, 1, 0, 1, 1]
    figure = reliability_figure(labels, probabilities, title="t", ece=0.1234, bins=4)
    curve = points(figure, "expected calibration error 0.123")
    assert curve == [(0.05, 0.5), (0.25, 0.0), (0.95, 1.0)]
    bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in figure.axes[1].patches]
    assert bars == [(0, 0.25, 2), (0.25, 0.25, 1), (0.5, 0.25, 0), (0.75, 0.25, 2)]


def test_score_bars_keep_the_order_and_colour_the_baselines() -> None:
    figure = score_bar_figure(
        ["Grad-CAM", "centre"],
        [0.8, 0.1],
        [0.7, 0.05],
        [0.85, 0.2],
        title="t",
        score_name="s",
        baselines=["centre"],
    )
    axes = figure.axes[0]
    bars = [(bar.get_width(), to_hex(bar.get_facecolor())) for bar in axes.patches]
    assert bars == [(0.8, BLUE), (0.1, ORANGE)]
    whiskers = [segment[:, 0].tolist() for segment in axes.collections[0].get_segments()]
    assert whiskers == [pytest.approx([0.7, 0.85]), pytest.approx([0.05, 0.2])]
    assert axes.yaxis_inverted()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Grad-CAM", "centre"]
    assert [text.get_text() for text in axes.texts] == ["0.800  [0.700, 0.850]", "0.100  [0.050, 0.200]"]


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    def saved(name: str) -> list[bytes]:
        curve = roc_figure(LABELS, PROBABILITIES, title="t", auc=0.8)
        paths = save_figure(curve, tmp_path / name, formats=("svg", "pdf"))
        paths += save_figure(gradient_figure(), tmp_path / f"{name}-overlay", formats=("png", "svg"))
        return [path.read_bytes() for path in paths]

    first = saved("one")
    assert first == saved("two")
    assert not any(b"Date" in data for data in first)


def test_saving_keeps_dots_in_the_name_and_leaves_no_other_file(tmp_path: Path) -> None:
    paths = save_figure(gradient_figure(), tmp_path / "auc0.98", formats=("png", "svg"))
    assert paths == (tmp_path / "auc0.98.png", tmp_path / "auc0.98.svg")
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    with Image.open(paths[0]) as picture:
        assert picture.size[0] > 100
        assert "Software" not in picture.info
    assert paths[1].read_text("utf-8").count("<svg") == 1
    assert mpl.rcParams["svg.hashsalt"] is None


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not as bmp"):
        save_figure(gradient_figure(), tmp_path / "a", formats=("png", "bmp"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_are_saved_without_error_or_warning(name: str, tmp_path: Path) -> None:
    image = np.zeros((8, 9), dtype=np.float32)
    figures = [
        gradient_figure(name),
        contact_sheet([SheetRow(name, image, [MapPanel(name, image)])], title=name),
        confusion_figure([[1, 2], [3, 4]], [name, name], title=name),
        score_bar_figure([name], [0.5], [0.4], [0.6], title=name, score_name="s"),
        roc_figure(LABELS, PROBABILITIES, title=name, auc=0.8),
    ]
    with no_warnings():
        for number, figure in enumerate(figures):
            (path,) = save_figure(figure, tmp_path / str(number), dpi=30)
            with Image.open(path) as picture:
                assert picture.size[0] > 20


def test_a_dollar_sign_is_drawn_as_a_letter() -> None:
    """Were ``$a_b$`` taken for a formula, it would be narrower than the same text with other letters."""

    def title_width(title: str) -> float:
        figure = overlay_figure(np.zeros((8, 9), dtype=np.float32), [], title=title)
        FigureCanvasAgg(figure).draw()
        return float(figure._suptitle.get_window_extent().width)

    assert title_width("$a_b$") > title_width("a_b") + 5


def test_shortened_names_keep_both_ends() -> None:
    assert shorten("short.jpg", 9) == "short.jpg"
    assert shorten("abcdefghijkl.jpg", 9) == "abcd….jpg"
    assert shorten("\udcff.jpg", 9) == "?.jpg"


def test_vector_figures_refer_to_nothing_outside_themselves(tmp_path: Path) -> None:
    (path,) = save_figure(gradient_figure(), tmp_path / "a", formats=("svg",))
    source = path.read_text("utf-8")
    assert re.findall(r'href="(data:|#)', source)
    assert re.findall(r'href="(?!#|data:)[^"]*"', source) == []
