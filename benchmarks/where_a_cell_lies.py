"""The figure of docs/methods.md, "Where a cell lies": the same cells, resized in both ways over the disc that they see.

``python -m benchmarks.where_a_cell_lies`` writes it anew. The image is drawn, and so are the values of the cells: each
is the share of the disc in what it sees, a Gaussian around the place that stride-32 layers of ResNets give it.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cxrlens.inputs.geometry import Geometry
from cxrlens.inspection.contours import half_maximum_contours
from cxrlens.report.figures import new_figure, save_figure
from cxrlens.saliency.cells.grid import CellAxis, CellGrid
from cxrlens.saliency.resizing import DEFAULT_RESIZE, PUBLISHED_RESIZE, MapResize, resized

SIDE, STRIDE = 224, 32
CELLS = SIDE // STRIDE
DISC = (92.0, 134.0)  # row and column of its centre; the nearest cell, (3, 4), lies at (96, 128)
RADIUS = 12.0
SEEN = 16.0  # sigma of what a cell sees, in pixels
PLACES = {"areas": (STRIDE - 1) / 2, "centres": 0.0}  # of cell 0, by either grid
TITLES = {
    "areas": "areas, bilinear (as published)\ncell i drawn at 32 i + 15.5",
    "centres": "centres, bicubic (default)\ncell i drawn at 32 i, where it looks",
}


def figure() -> Figure:
    """Both resizes side by side."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    disc = np.hypot(rows - DISC[0], columns - DISC[1]) < RADIUS
    image = 0.25 + 0.2 * np.exp(-(((columns - SIDE / 2) / 45) ** 2)) + 0.5 * disc
    cells = _cells(disc.astype(np.float64))
    drawn = new_figure(9, 5)
    for axes, resize in zip(drawn.subplots(1, 2), (PUBLISHED_RESIZE, DEFAULT_RESIZE), strict=True):
        _panel(axes, image, cells, resize)
    return drawn


def _cells(disc: np.ndarray) -> np.ndarray:
    """What each cell sees of the disc, [CELLS, CELLS]."""
    pixels, places = np.arange(SIDE), STRIDE * np.arange(CELLS)
    seen = np.exp(-((pixels - places[:, None]) ** 2) / (2 * SEEN**2))
    seen /= seen.sum(1, keepdims=True)
    return np.asarray(seen @ disc @ seen.T)


def _panel(axes: Axes, image: np.ndarray, cells: np.ndarray, resize: MapResize) -> None:
    axis = CellAxis(Fraction(STRIDE), Fraction(0))
    (map_,) = resized(torch.from_numpy(cells)[None], (SIDE, SIDE), CellGrid(axis, axis), resize).numpy()
    axes.imshow(image, cmap="gray", vmin=0, vmax=1)
    rows, columns = PLACES[resize.grid] + STRIDE * np.mgrid[:CELLS, :CELLS]
    axes.scatter(columns, rows, s=22, c=cells, cmap="plasma", edgecolors="white", linewidths=0.6)
    for polygon in half_maximum_contours(map_.astype(np.float32), Geometry.stretch(SIDE, SIDE, SIDE, SIDE)):
        axes.plot(*np.array(polygon).T, color="tab:orange", linewidth=2)
    row, column = np.unravel_index(map_.argmax(), map_.shape)
    axes.plot(column, row, marker="x", color="tab:cyan", markersize=11, markeredgewidth=2.5)
    off = np.hypot(row - DISC[0], column - DISC[1])
    axes.set_title(TITLES[resize.grid], fontsize=11)
    axes.set_xlabel(f"peak {off:.0f} px from the middle of the disc")
    axes.set_xlim(-0.5, SIDE - 0.5)
    axes.set_ylim(SIDE - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])


if __name__ == "__main__":
    save_figure(figure(), Path("docs/where-a-cell-lies"), dpi=90)
