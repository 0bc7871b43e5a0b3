"""The figure of a test that no other room draws: the probabilities of each class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from cxrlens.inputs.dataset.layouts import CLASS_NAMES
from cxrlens.report.figures import BLUE, INK, ORANGE, bottom_legend, name_axes, new_figure, tidy

BINS = 25


def histogram_figure(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    title: str,
    threshold: float,
    review_threshold: float | None = None,
) -> Figure:
    """Counts of probabilities [N] in 25 equal bins of [0, 1] for each label [N] in {0, 1}, one class above the other.

    Lines mark the ``threshold`` from which an image is affected, and that from which it is reviewed where there is one.
    """
    truth, scores = np.asarray(labels).astype(bool), np.asarray(probabilities, dtype=np.float64)
    figure = new_figure(6.4, 4.4)
    colors = (BLUE, ORANGE)
    panels = figure.subplots(2, 1, sharex=True)
    for axes, color, chosen in zip(panels, colors, (~truth, truth), strict=True):
        counts, edges = np.histogram(scores[chosen], bins=BINS, range=(0, 1))
        axes.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=color, edgecolor="white")
        axes.axvline(threshold, color=INK, linewidth=1.5)
        if review_threshold is not None and review_threshold != threshold:
            axes.axvline(review_threshold, color=INK, linewidth=1.2, linestyle=":")
        axes.set_xlim(0, 1)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        tidy(axes)
        name_axes(axes, title if axes is panels[0] else "", "", "images")
    panels[-1].set_xlabel("probability of affected")
    handles: list[Patch | Line2D] = [
        Patch(color=color, label=name) for name, color in zip(CLASS_NAMES, colors, strict=True)
    ]
    handles.append(Line2D([], [], color=INK, linewidth=1.5, label=f"threshold {threshold:.3g}"))
    if review_threshold is not None and review_threshold != threshold:
        handles.append(Line2D([], [], color=INK, linestyle=":", label=f"review from {review_threshold:.3g}"))
    bottom_legend(figure, handles)
    return figure
