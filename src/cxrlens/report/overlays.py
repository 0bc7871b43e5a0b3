"""Radiographs with annotated shapes, and saliency maps drawn over them: one image, or a sheet of many.

Positions are pixels of the full image, the centre of its top-left pixel at (0, 0), whatever the size at
which image and map are shown.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import patches
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import AbstractPathEffect, Normal, Stroke
from PIL import Image

from cxrlens.errors import ArgumentError
from cxrlens.inputs.annotations.masks import AnnotatedObject, MaskPart
from cxrlens.inputs.annotations.shapes import Ellipse, Polygon, Rectangle, Shape
from cxrlens.report.figures import GREEN, GREY, RED, bottom_legend, new_figure, shorten, text_style

Extent: TypeAlias = tuple[float, float, float, float]  # left, right, bottom, top edge in image pixels
FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]

_MAX_COLUMNS: Final = 5
_SHAPE_COLOR: Final = "#00e5ff"
_OUTLINED: Final[list[AbstractPathEffect]] = [Stroke(linewidth=2.6, foreground="black"), Normal()]
_PEAK_STYLE: Final[dict[str, Any]] = {
    "linestyle": "none",
    "marker": "+",
    "markersize": 11,
    "markeredgewidth": 1.4,
    "color": "white",
    "clip_on": False,  # whole and above the frame also at the image's edge
    "zorder": 3,
    "path_effects": [Stroke(linewidth=3.2, foreground="black"), Normal()],
}


@dataclass(frozen=True)
class MapPanel:
    """One saliency map: float32 [h, w] in [0, 1]; `peak` is (row, column) in pixels of the map.

    `note` is a short remark under the panel, such as "hit, 4.2 px" or "flat map"; `hit` frames the panel in
    green (True) or red (False).
    """

    title: str
    map: FloatArray
    peak: tuple[int, int] | None = None
    note: str | None = None
    hit: bool | None = None


@dataclass(frozen=True)
class SheetRow:
    """One image of a contact sheet; `image`, `shapes` and `extent` are those of `overlay_figure`.

    `probability` in [0, 1] stands beside the name.
    """

    name: str
    image: FloatArray
    panels: Sequence[MapPanel]
    shapes: Sequence[AnnotatedObject] = ()
    probability: float | None = None
    extent: Extent | None = None


def overlay_figure(
    image: FloatArray,
    panels: Sequence[MapPanel],
    *,
    shapes: Sequence[AnnotatedObject] = (),
    title: str,
    remarks: Sequence[str] = (),
    extent: Extent | None = None,
) -> Figure:
    """The radiograph with its annotated shapes, then each map over it, side by side.

    Args:
        image: [H, W] in [0, 1], bright where dense.
        panels: the maps, each of any size.
        shapes: in pixels of `image`.
        title: usually the file's name; shown as it is.
        remarks: on the image, sentences that stand below the title, in at most three lines.
        extent: the part of the image that the maps cover, as its (left, right, bottom, top) edges in pixels
            of `image`; the whole image is (-0.5, W - 0.5, H - 0.5, -0.5), which is the default.

    Raises:
        ArgumentError: when the image or a map is not two-dimensional.
    """
    view = _View(image, shapes, extent, size=1000)
    count = 1 + len(panels)
    rows = math.ceil(count / _MAX_COLUMNS)
    columns = math.ceil(count / rows)
    figure = new_figure(3.0 * columns + 1.0, (3.0 * view.aspect + 0.5) * rows + 1.0, layout="compressed")
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(count)]
    view.draw_radiograph(axes[0])
    _caption(axes[0], "Radiograph", 11)
    for panel, panel_axes in zip(panels, axes[1:], strict=True):
        view.draw_map(panel_axes, panel)
        _caption(panel_axes, panel.title, 11)
    letters = 20 * columns + 10
    said = textwrap.wrap(" ".join(remarks), letters, max_lines=3, placeholder=" …")
    figure.suptitle("\n".join([shorten(title, letters), *said]), **text_style(13))
    _explain(figure, axes, panels, shapes)
    return figure


def contact_sheet(rows: Sequence[SheetRow], *, title: str) -> Figure:
    """One row per image: the radiograph with its shapes, name and probability, then one map per column.

    Raises:
        ArgumentError: when there is no row, or the rows do not have the same methods in the same order.
    """
    if not rows:
        raise ArgumentError("a contact sheet needs at least one row")
    methods = [panel.title for panel in rows[0].panels]
    for row in rows:
        if [panel.title for panel in row.panels] != methods:
            raise ArgumentError(f"{row.name} has other maps than {rows[0].name}; each column is one method")
    views = [_View(row.image, row.shapes, row.extent, size=500) for row in rows]
    aspects = [view.aspect for view in views]
    columns = 1 + len(methods)
    figure = new_figure(2.2 * columns + 0.8, 2.2 * sum(aspects) + 0.3 * len(rows) + 1.1, layout="compressed")
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=aspects)
    for row, view, line in zip(rows, views, grid, strict=True):
        view.draw_radiograph(line[0])
        probability = "" if row.probability is None else f"   p = {row.probability:.2f}"
        line[0].set_xlabel(shorten(row.name, 34 - len(probability)) + probability, **text_style(8))
        for panel, axes in zip(row.panels, line[1:], strict=True):
            view.draw_map(axes, panel)
    for axes, name in zip(grid[0], ["Radiograph", *methods], strict=True):
        _caption(axes, name, 10)
    figure.suptitle(shorten(title, 14 * columns + 10), **text_style(13))
    all_panels = [panel for row in rows for panel in row.panels]
    _explain(figure, list(grid.flat), all_panels, [shape for row in rows for shape in row.shapes])
    return figure


class _View:
    """One image as it is drawn in each of its panels: reduced to at most `size` pixels a side."""

    def __init__(
        self, image: FloatArray, shapes: Sequence[AnnotatedObject], extent: Extent | None, *, size: int
    ) -> None:
        self.image = _reduced(image, size)
        self.size = size
        self.shapes = shapes
        height, width = image.shape
        self.frame: Extent = (-0.5, width - 0.5, height - 0.5, -0.5)
        self.extent = self.frame if extent is None else extent
        self.aspect = height / width

    def draw_radiograph(self, axes: Axes) -> None:
        """The image in grey and the outlines of its shapes."""
        axes.imshow(self.image, cmap="gray", vmin=0, vmax=1, extent=self.frame)
        for shape in self.shapes:
            if isinstance(shape, MaskPart):
                _draw_rim(axes, shape)
            else:
                axes.add_patch(_outline(shape))
        axes.set(xticks=[], yticks=[], xlim=self.frame[:2], ylim=self.frame[2:])
        axes.spines[:].set_visible(False)

    def draw_map(self, axes: Axes, panel: MapPanel) -> None:
        """The image with the map over the part it covers, its peak, note and frame."""
        self.draw_radiograph(axes)
        axes.imshow(
            _reduced(panel.map, self.size),
            cmap=MAP_COLORS,
            vmin=0,
            vmax=1,
            extent=self.extent,
            interpolation="bilinear",
        )
        if panel.peak is not None:
            x, y = _pixel_centre(panel.peak, panel.map.shape, self.extent)
            axes.plot([x], [y], **_PEAK_STYLE)
        color = {True: GREEN, False: RED, None: GREY}[panel.hit]
        if panel.hit is not None:
            axes.spines[:].set(visible=True, color=color, linewidth=3)
        if panel.note is not None:
            axes.set_xlabel(shorten(panel.note, 40), **text_style(9, color=color))


def _pixel_centre(pixel: tuple[int, int], shape: tuple[int, ...], extent: Extent) -> tuple[float, float]:
    """The place (x, y) in the image of the centre of a map's pixel (row, column)."""
    (row, column), (height, width) = pixel, shape
    left, right, bottom, top = extent
    return left + (column + 0.5) * (right - left) / width, top + (row + 0.5) * (bottom - top) / height


def _reduced(values: FloatArray, size: int) -> FloatArray:
    """The array [h, w] scaled down by area averages until no side is longer than `size`."""
    if values.ndim != 2:
        raise ArgumentError(f"a picture or map to draw has two dimensions, not the shape {values.shape}")
    height, width = values.shape
    scale = size / max(height, width)
    if scale >= 1:
        return values
    target = max(round(width * scale), 1), max(round(height * scale), 1)
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize(target, Image.Resampling.BOX))


def _outline(shape: Shape) -> patches.Patch:
    style: dict[str, Any] = {
        "fill": False,
        "edgecolor": _SHAPE_COLOR,
        "linewidth": 1.3,
        "path_effects": _OUTLINED,
    }
    if isinstance(shape, Polygon):
        return patches.Polygon(shape.points, closed=True, **style)
    x1, y1, x2, y2 = shape.bounds()
    if isinstance(shape, Ellipse):
        return patches.Ellipse(((x1 + x2) / 2, (y1 + y2) / 2), x2 - x1, y2 - y1, **style)
    assert isinstance(shape, Rectangle)
    return patches.Rectangle((x1, y1), x2 - x1, y2 - y1, **style)


def _draw_rim(axes: Axes, part: MaskPart) -> None:
    """Lines between the part's pixels and others, round its holes too."""
    pixels = np.pad(part.pixels, 1).astype(np.float64)
    x, y = np.arange(pixels.shape[1]) + part.left - 1, np.arange(pixels.shape[0]) + part.top - 1
    lines = axes.contour(x, y, pixels, levels=[0.5], colors=_SHAPE_COLOR, linewidths=1.3)
    lines.set_path_effects(_OUTLINED)


def _caption(axes: Axes, text: str, size: float) -> None:
    axes.set_title(shorten(text, 34), **text_style(size))


def _explain(figure: Figure, axes: list[Axes], panels: Sequence[MapPanel], shapes: Sequence[AnnotatedObject]) -> None:
    """One colour bar for all maps, and a legend of the marks that the figure holds."""
    if panels:
        mappable = ScalarMappable(Normalize(0, 1), MAP_COLORS)
        bar = figure.colorbar(mappable, ax=axes, aspect=9 * figure.get_figheight(), shrink=0.9, pad=0.02)
        bar.ax.set_facecolor("0.5")
        bar.outline.set_visible(False)
        bar.set_ticks([0, 0.5, 1], labels=["low", "", "high"])
        bar.ax.tick_params(labelsize=9, length=0)
        bar.set_label("saliency, scaled within each map", **text_style(9))
    handles = []
    if shapes:
        handles.append(_legend_mark("annotated object", _SHAPE_COLOR, path_effects=_OUTLINED))
    if any(panel.peak is not None for panel in panels):
        handles.append(Line2D([], [], **(_PEAK_STYLE | {"label": "peak of the map"})))
    outcomes = {panel.hit for panel in panels}
    for hit, color, name in ((True, GREEN, "hit"), (False, RED, "miss")):
        if hit in outcomes:
            handles.append(_legend_mark(name, color, markeredgewidth=3))
    if handles:
        bottom_legend(figure, handles)


def _legend_mark(label: str, color: str, **style: Any) -> Line2D:
    square: dict[str, Any] = {
        "marker": "s",
        "markersize": 9,
        "markerfacecolor": "none",
        "markeredgewidth": 1.5,
    }
    return Line2D([], [], linestyle="none", color=color, label=label, **(square | style))


def _see_through(name: str) -> Colormap:
    """A colour map that fades out towards low values, so that the radiograph stays readable there."""
    colors = mpl.colormaps[name](np.linspace(0, 1, 256))
    colors[:, 3] = 0.75 * np.clip(np.linspace(-0.15, 1.5, 256), 0, 1)
    return ListedColormap(colors)


MAP_COLORS: Final = _see_through("plasma")
