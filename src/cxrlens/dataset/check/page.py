"""The findings of a data set's check as one HTML file that needs no network: tables, and sheets of thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from cxrlens.inputs.annotations.shapes import Shape
from cxrlens.report.html import render_page

PICTURE_SIDE: Final = 288
_SHAPE_COLOR: Final = (0, 229, 255)
_AROUND: Final = (70, 78, 88)  # outside the image


@dataclass(frozen=True)
class Picture:
    """One thumbnail: a PNG or JPEG file, or None where the image cannot be shown; `note` stands below the name."""

    name: str
    path: Path | None
    note: str = ""


@dataclass(frozen=True)
class Card:
    """One finding with its images side by side; `hidden` is how many of its images are not shown."""

    message: str
    pictures: Sequence[Picture]
    hidden: int = 0


@dataclass(frozen=True)
class FindingSection:
    """All findings of one kind.

    Attributes:
        id: its anchor, a word.
        severity: "problem" or "note".
        rule: when it is reported.
        count: number of findings.
        cards: the findings that are shown, `more` the sentences of others; what is in neither is counted as left out.
    """

    id: str
    title: str
    severity: str
    rule: str
    count: int
    cards: Sequence[Card] = ()
    more: Sequence[str] = ()

    @property
    def left_out(self) -> int:
        return self.count - len(self.cards) - len(self.more)


@dataclass(frozen=True)
class PageTable:
    """A table of texts; `note` stands below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def data_check_page(
    output: Path,
    *,
    title: str,
    intro: Sequence[str],
    facts: Sequence[tuple[str, str]],
    tables: Sequence[PageTable],
    sections: Sequence[FindingSection],
    footer: Sequence[str],
) -> Path:
    """Write the page, whole or not at all; all text is escaped. Returns `output`.

    Raises:
        ValueError: when an image is no PNG, SVG or JPEG file.
    """
    return render_page(
        "data_check.html.jinja",
        output,
        package="cxrlens.dataset.check",
        title=title,
        intro=intro,
        facts=facts,
        tables=tables,
        sections=sections,
        footer=footer,
    )


def thumbnail(pixels: npt.NDArray[np.float32], shapes: Sequence[Shape] = (), side: int = PICTURE_SIDE) -> Image.Image:
    """A small RGB image of a radiograph [h, w] in [0, 1], with the outlines of shapes in its pixels.

    Where a shape lies outside, the canvas grows to show it, by at most the image's own size on each side.
    """
    height, width = pixels.shape
    bounds = np.array([shape.bounds() for shape in shapes] or [(0, 0, width, height)])
    left, top = (
        min(0.0, max(low, -size)) for low, size in zip(bounds[:, :2].min(axis=0), (width, height), strict=True)
    )
    right, bottom = (
        max(size, min(high + 1, 2 * size))
        for high, size in zip(bounds[:, 2:].max(axis=0), (width, height), strict=True)
    )
    scale = side / max(right - left, bottom - top)
    canvas = Image.new("RGB", _size((right - left) * scale, (bottom - top) * scale), _AROUND)
    grey = Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
    reduced = grey.resize(_size(width * scale, height * scale), Image.Resampling.BOX)
    canvas.paste(reduced, (round(-left * scale), round(-top * scale)))
    draw = ImageDraw.Draw(canvas)
    for shape in shapes:
        outline = [((x + 0.5 - left) * scale, (y + 0.5 - top) * scale) for x, y in shape.outline()]
        for line_width, color in ((4, (0, 0, 0)), (2, _SHAPE_COLOR)):
            draw.line([*outline, outline[0], outline[1]], fill=color, width=line_width)
    return canvas


def _size(width: float, height: float) -> tuple[int, int]:
    return max(1, round(width)), max(1, round(height))
