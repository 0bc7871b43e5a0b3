"""Figures of classification and pointing scores from plain numbers, their one style, and saving them."""

from __future__ import annotations

import functools
import io
import threading
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox
from sklearn.metrics import precision_recall_curve, roc_curve

from cxrlens.errors import ArgumentError
from cxrlens.files import replacing

BoolArray: TypeAlias = npt.NDArray[np.bool_]
FloatArray: TypeAlias = npt.NDArray[np.float64]

# Okabe and Ito's colours, which people with any kind of colour vision tell apart.
BLUE: Final = "#0072b2"
ORANGE: Final = "#e69f00"
GREEN: Final = "#009e73"
RED: Final = "#d55e00"
INK: Final = "#1f2933"
GREY: Final = "#6b7785"
PALE: Final = "#e3e7ec"

BLUES: Final = LinearSegmentedColormap.from_list("cxrlens_blues", ["#f5f9fc", "#9cc7e2", BLUE])
_CJK_FONTS: Final = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Microsoft YaHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
)
_UNDATED: Final[dict[str, dict[str, None] | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None},
    "jpg": None,
}
_ENCODING: Final[dict[str, dict[str, Any]]] = {
    "png": {"compress_level": 4},  # less than half the time of zlib's 6, for some 6 % more bytes
    "jpg": {"quality": 80, "optimize": True},
}
_MARGIN: Final = 0.12  # inches
_SAVING = threading.Lock()  # what `save_figure` sets while it draws is shared by all threads


def new_figure(width: float, height: float, *, layout: Any = "constrained") -> Figure:
    """An empty white figure of width x height inches that belongs to no window."""
    return Figure(figsize=(width, height), layout=layout, facecolor="white")


def text_style(size: float, *, color: str = INK) -> dict[str, Any]:
    """Keyword arguments for a matplotlib text: it is shown letter by letter, ``$`` included."""
    return {"fontsize": size, "color": color, "family": list(_font_families()), "parse_math": False}


def shorten(text: str, limit: int) -> str:
    """The text with its middle left out where it is longer than `limit` characters (a file's suffix stays).

    Characters that no encoding can hold (from file names that are not UTF-8) become question marks.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    return f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


def save_figure(figure: Figure, path: Path, *, formats: Sequence[str] = ("png",), dpi: float = 150) -> tuple[Path, ...]:
    """Write the figure as ``path.png`` and so on, whole or not at all; `path` has no suffix.

    The same figure gives the same bytes each time. JPEG (jpg) is for images, at a quality of 80. Returns the
    written paths in the order of `formats`.

    Raises:
        ArgumentError: for a format other than png, svg, pdf and jpg.
    """
    unknown = sorted(set(formats) - set(_UNDATED))
    if unknown:
        raise ArgumentError(f"figures are saved as {', '.join(_UNDATED)}, not as {', '.join(unknown)}")
    targets = tuple(path.with_name(f"{path.name}.{name}") for name in formats)
    for target, content in zip(targets, _rendered(figure, formats, dpi), strict=True):
        with replacing(target) as partial:
            partial.write_bytes(content)
    return targets


def figure_jpeg(figure: Figure, *, dpi: float = 100) -> bytes:
    """The figure as a JPEG that a page holds; a radiograph with seven maps takes about 120 KB."""
    (content,) = _rendered(figure, ("jpg",), dpi)
    return content


def roc_figure(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    title: str,
    auc: float,
    interval: tuple[float, float] | None = None,
    threshold: float | None = None,
) -> Figure:
    """The receiver operating characteristic of probabilities [N] in [0, 1] for labels [N] in {0, 1}.

    `auc` and its 95 % `interval` are shown as given; `threshold` marks the operating point of the decision
    ``probability >= threshold``.

    Raises:
        ArgumentError: when the labels do not hold both classes, or the two arrays differ in shape.
    """
    truth, scores = _both_classes(labels, probabilities)
    false_positive_rate, sensitivity, _ = roc_curve(truth, scores)
    figure, axes = _unit_square(title, "1 − specificity (false-positive rate)", "sensitivity")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="chance: AUC 0.5")
    axes.plot(
        false_positive_rate,
        sensitivity,
        color=BLUE,
        linewidth=2.2,
        label=f"AUC {auc:.3f}{_interval_text(interval)}",
    )
    if threshold is not None:
        alarm = scores >= threshold
        x, y = float(alarm[~truth].mean()), float(alarm[truth].mean())
        _mark_point(axes, x, y, f"threshold {threshold:.3g}: sensitivity {y:.3f}, specificity {1 - x:.3f}")
    _legend(axes, loc="lower right")
    return figure


def precision_recall_figure(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    title: str,
    average_precision: float,
    interval: tuple[float, float] | None = None,
    threshold: float | None = None,
) -> Figure:
    """Precision against recall of probabilities [N] in [0, 1] for labels [N] in {0, 1}, over the prevalence.

    `average_precision` and its 95 % `interval` are shown as given; `threshold` marks the operating point of
    the decision ``probability >= threshold``, unless no probability reaches it.

    Raises:
        ArgumentError: when the labels do not hold both classes, or the two arrays differ in shape.
    """
    truth, scores = _both_classes(labels, probabilities)
    precision, recall, _ = precision_recall_curve(truth, scores)
    figure, axes = _unit_square(title, "recall (sensitivity)", "precision (positive predictive value)")
    prevalence = float(truth.mean())
    axes.axhline(prevalence, color=GREY, linestyle=":", linewidth=1.2, label=f"prevalence {prevalence:.3f}")
    axes.plot(
        recall,
        precision,
        color=BLUE,
        linewidth=2.2,
        drawstyle="steps-post",
        label=f"average precision {average_precision:.3f}{_interval_text(interval)}",
    )
    if threshold is not None and (scores >= threshold).any():
        alarm = scores >= threshold
        x, y = float(alarm[truth].mean()), float(truth[alarm].mean())
        _mark_point(axes, x, y, f"threshold {threshold:.3g}: recall {x:.3f}, precision {y:.3f}")
    _legend(axes, loc="lower left")
    return figure


def confusion_figure(matrix: npt.ArrayLike, class_names: Sequence[str], *, title: str) -> Figure:
    """Counts [2, 2] (rows: true class, columns: predicted class) with each row's percentages.

    Raises:
        ArgumentError: when the matrix is not 2 x 2.
    """
    counts = np.asarray(matrix)
    if counts.shape != (2, 2):
        raise ArgumentError(f"a confusion matrix of two classes has shape (2, 2), not {counts.shape}")
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    figure = new_figure(4.6, 4.4)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap=BLUES, vmin=0, vmax=1)
    for row, column in np.ndindex(2, 2):
        color = "white" if shares[row, column] > 0.6 else INK
        share = f"{shares[row, column]:.1%}".replace("%", " %") if totals[row, 0] else "–"
        axes.text(column, row - 0.06, str(counts[row, column]), ha="center", **text_style(22, color=color))
        axes.text(column, row + 0.2, share, ha="center", **text_style(11, color=color))
    names = [shorten(name, 18) for name in class_names]
    axes.set_xticks([0, 1], names, **text_style(10))
    axes.set_yticks([0, 1], names, rotation=90, va="center", **text_style(10))
    axes.axhline(0.5, color="white", linewidth=3)
    axes.axvline(0.5, color="white", linewidth=3)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    name_axes(axes, title, "predicted class", "true class")
    return figure


def reliability_figure(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, *, title: str, ece: float, bins: int = 10
) -> Figure:
    """Observed share of label 1 against mean probability in equal-width bins, over the bins' counts.

    Labels [N] in {0, 1}, probabilities [N] in [0, 1]. A bin holds its lower edge, the last one both edges;
    empty bins have no point. `ece`, the expected calibration error, is shown as given.

    Raises:
        ArgumentError: when the two arrays differ in shape.
    """
    truth, scores = _flat(labels, probabilities)
    mean, observed, counts, edges = reliability_bins(truth, scores, bins)
    figure = new_figure(5.0, 6.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
    upper.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="perfect calibration")
    upper.plot(
        mean,
        observed,
        color=BLUE,
        linewidth=2.2,
        marker="o",
        markersize=6,
        label=f"expected calibration error {ece:.3f}",
    )
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    lower.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=BLUE, edgecolor="white")
    lower.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    tidy(upper)
    tidy(lower)
    name_axes(upper, title, "", "observed share")
    name_axes(lower, "", "predicted probability", "images")
    _legend(upper, loc="upper left")
    return figure


def reliability_bins(
    truth: BoolArray, scores: FloatArray, bins: int
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.intp], FloatArray]:
    """Mean score and observed share of every bin that is not empty, then the counts and edges of all bins."""
    counts, edges = np.histogram(scores, bins=bins, range=(0, 1))
    sums, _ = np.histogram(scores, bins=edges, weights=scores)
    positives, _ = np.histogram(scores, bins=edges, weights=truth.astype(float))
    filled = counts > 0
    return sums[filled] / counts[filled], positives[filled] / counts[filled], counts, edges


def score_bar_figure(
    names: Sequence[str],
    values: Sequence[float],
    lows: Sequence[float],
    highs: Sequence[float],
    *,
    title: str,
    score_name: str,
    baselines: Collection[str] = (),
) -> Figure:
    """Horizontal bars of scores in [0, 1] with the ends of their 95 % intervals, the first name on top.

    Names that are in `baselines` are drawn in another colour.
    """
    places = np.arange(len(names))
    value, low, high = (np.asarray(numbers, dtype=float) for numbers in (values, lows, highs))
    figure = new_figure(8.0, 1.5 + 0.34 * max(len(names), 2))
    axes = figure.add_subplot()
    colors = [ORANGE if name in baselines else BLUE for name in names]
    axes.barh(places, value, height=0.68, color=colors)
    whiskers = np.maximum([value - low, high - value], 0)
    axes.errorbar(value, places, xerr=whiskers, fmt="none", ecolor=INK, elinewidth=1.3, capsize=3)
    tidy(axes)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_yticks(places, [shorten(name, 40) for name in names], **text_style(10))
    axes.set(xlim=(0, 1), ylim=(len(names) - 0.4, -0.6))
    for place, numbers in enumerate(zip(value, low, high, strict=True)):
        text = "{:.3f}  [{:.3f}, {:.3f}]".format(*numbers)
        axes.text(1.02, place, text, va="center", transform=axes.get_yaxis_transform(), **text_style(9))
    name_axes(axes, title, score_name, "")
    handles = [
        Patch(color=BLUE, label="method"),
        *([Patch(color=ORANGE, label="baseline")] if ORANGE in colors else []),
        Line2D([], [], color=INK, linewidth=1.3, label="95 % interval"),
    ]
    bottom_legend(figure, handles)
    return figure


def bottom_legend(figure: Figure, handles: Sequence[Any], *, columns: int | None = None) -> None:
    """Explanations under the whole figure, in one line unless a number of columns is given."""
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=columns or len(handles), frameon=False)
    for text in legend.get_texts():
        text.set(**text_style(9))


def name_axes(axes: Axes, title: str, x_name: str, y_name: str) -> None:
    """Title and names of the axes, each shown letter by letter."""
    axes.set_title(shorten(title, 60), pad=10, **text_style(12))
    axes.set_xlabel(x_name, **text_style(10))
    axes.set_ylabel(y_name, **text_style(10))


def tidy(axes: Axes) -> None:
    """Light grid under the data, no box, quiet ticks."""
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=PALE, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(color=GREY, labelcolor=INK, labelsize=9)


@functools.cache
def _font_families() -> tuple[str, ...]:
    """The font that matplotlib ships, then whichever fonts with Chinese characters are installed."""
    installed = set(font_manager.get_font_names())
    return ("DejaVu Sans", *(name for name in _CJK_FONTS if name in installed))


@contextmanager
def _laid_out(figure: Figure) -> Iterator[Bbox]:
    """Its axes lie in their places inside; whoever draws it there does not lay it out anew, which takes as long.

    Gives the part of the figure that holds all, in inches, with a margin.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine(None)
    try:
        yield figure.get_tightbbox().padded(_MARGIN)
    finally:
        if engine is not None:
            figure.set_layout_engine(engine)


def _rendered(figure: Figure, formats: Sequence[str], dpi: float) -> list[bytes]:
    """The bytes of the figure in each format; a character that no font has is drawn as a box."""
    found = []
    own = mpl.rc_context(
        {"svg.hashsalt": "cxrlens", "figure.autolayout": False, "figure.constrained_layout.use": False}
    )
    with _SAVING, own, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        with _laid_out(figure) as part:
            for name in formats:
                buffer = io.BytesIO()
                encoding: dict[str, Any] = {"pil_kwargs": _ENCODING[name]} if name in _ENCODING else {}
                figure.savefig(buffer, format=name, dpi=dpi, metadata=_UNDATED[name], bbox_inches=part, **encoding)
                found.append(buffer.getvalue())
    return found


def _flat(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> tuple[BoolArray, FloatArray]:
    truth, scores = np.asarray(labels).astype(bool), np.asarray(probabilities, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != scores.shape:
        raise ArgumentError(f"labels {truth.shape} and probabilities {scores.shape} should both have shape (N,)")
    return truth, scores


def _both_classes(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> tuple[BoolArray, FloatArray]:
    truth, scores = _flat(labels, probabilities)
    if truth.all() or not truth.any():
        raise ArgumentError("the curve needs images of both classes")
    return truth, scores


def _interval_text(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})"


def _unit_square(title: str, x_name: str, y_name: str) -> tuple[Figure, Axes]:
    figure = new_figure(5.0, 5.2)
    axes = figure.add_subplot()
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    tidy(axes)
    name_axes(axes, title, x_name, y_name)
    return figure, axes


def _mark_point(axes: Axes, x: float, y: float, label: str) -> None:
    dot: dict[str, Any] = {"marker": "o", "markersize": 9, "markeredgecolor": "white", "markeredgewidth": 1.5}
    axes.plot([x], [y], linestyle="none", color=RED, label=label, zorder=5, **dot)


def _legend(axes: Axes, *, loc: Literal["lower left", "lower right", "upper left"]) -> None:
    legend = axes.legend(loc=loc, frameon=True, framealpha=0.9, edgecolor="none", facecolor="white")
    for text in legend.get_texts():
        text.set(**text_style(9))
