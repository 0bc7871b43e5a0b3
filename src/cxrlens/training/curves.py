"""The curves of a training: loss and AUC by epoch, with the epoch that was kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cxrlens.report.figures import BLUE, GREY, ORANGE, bottom_legend, name_axes, new_figure, tidy

_PANELS = (("loss", "train_loss", "dev_loss"), ("AUC", "train_auc", "dev_auc"))


def curves_figure(history: Sequence[Mapping[str, float]], best_epoch: int, *, title: str) -> Figure:
    """Two panels, loss and AUC, over epochs counted from 1; scores that an epoch lacks, or that are NaN, are left out.

    Args:
        history: a row an epoch, with ``epoch`` (from 0) and the scores of `QualityClassifier.history`.
        best_epoch: the epoch that was kept, from 0; a line marks it.
    """
    figure = new_figure(9.0, 4.0)
    for axes, (name, train, dev) in zip(figure.subplots(1, 2), _PANELS, strict=True):
        _draw(axes, history, train, color=ORANGE, marker="o")
        _draw(axes, history, dev, color=BLUE, marker="s")
        axes.axvline(best_epoch + 1, color=GREY, linestyle=":", linewidth=1.5)
        tidy(axes)
        axes.set_xlim(0.5, max(row["epoch"] for row in history) + 1.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))  # of one epoch there is one
        name_axes(axes, f"{title}: {name}", "epoch", name)
    bottom_legend(
        figure,
        [
            Line2D([], [], color=ORANGE, marker="o", markersize=5, label="train (augmented, while learning)"),
            Line2D([], [], color=BLUE, marker="s", markersize=5, label="dev"),
            Line2D([], [], color=GREY, linestyle=":", label=f"best epoch, {best_epoch + 1}"),
        ],
    )
    return figure


def _draw(axes: Axes, history: Sequence[Mapping[str, float]], score: str, *, color: str, marker: str) -> None:
    points = [(row["epoch"] + 1, row[score]) for row in history if math.isfinite(row.get(score, math.nan))]
    if points:
        axes.plot(*zip(*points, strict=True), color=color, marker=marker, markersize=4, linewidth=1.8)
