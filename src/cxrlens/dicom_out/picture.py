"""The picture of the secondary capture: the radiograph, the map and its contours, and a caption below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from cxrlens.dicom_out.regions import Vertices
from cxrlens.inputs.geometry import Geometry
from cxrlens.inputs.readers import Pixels
from cxrlens.report.overlays import MAP_COLORS

MAX_SIDE: Final = 1600
"""Longest side of the radiograph in the capture, in pixels; a larger one is reduced."""


def captured(
    picture: Pixels, map_: Pixels | None, regions: Sequence[Vertices], caption: str
) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """The picture in colour, and the (height, width) of the radiograph in it.

    The radiograph is at its own aspect in the upper left corner; the caption stands on black rows below, so that it
    hides nothing.

    Args:
        picture: [H, W] in [0, 1].
        map_: [h, w] in [0, 1], of the whole picture; None to leave the radiograph grey.
        regions: closed polylines [n, 2] of (column, row) in pixels of ``picture``, whose top-left corner is (0, 0).

    Returns:
        uint8 [height + rows of the caption, width, 3] in RGB.
    """
    height, width = captured_size(*picture.shape)
    grey = Image.fromarray(np.ascontiguousarray(picture, dtype=np.float32))
    if (height, width) != picture.shape:
        grey = grey.resize((width, height), Image.Resampling.BOX)
    shown = 255 * np.clip(np.asarray(grey), 0, 1)[..., None]
    if map_ is None:
        colored = np.repeat(np.rint(shown).astype(np.uint8), 3, axis=2)
    else:
        colored = _colored(shown, Geometry.stretch(height, width, *map_.shape).backward_map(map_))
    whole = Image.fromarray(colored)
    drawing = ImageDraw.Draw(whole)
    pen = max(1, round(max(height, width) / 500))
    scale = np.array([width / picture.shape[1], height / picture.shape[0]])
    for region in regions:
        points = [(float(x), float(y)) for x, y in region * scale - 0.5]
        for color, thickness in (("black", 3 * pen), ("white", pen)):
            drawing.line(points, fill=color, width=thickness, joint="curve")
    return np.concatenate([np.asarray(whole), _caption(caption, width)]), (height, width)


def _colored(shown: npt.NDArray[np.float32], map_: Pixels) -> npt.NDArray[np.uint8]:
    """Grey levels [H, W, 1] in [0, 255] behind the colours of a map [H, W], uint8 [H, W, 3]."""
    colors = MAP_COLORS(np.arange(MAP_COLORS.N)).astype(
        np.float32
    )  # looked up here: in float64, and for each pixel, it
    above, opacity = 255 * colors[:, :3] * colors[:, 3:], colors[:, 3:]  # takes several times as long
    place = np.clip(map_ * MAP_COLORS.N, 0, MAP_COLORS.N - 1).astype(np.intp)
    return np.rint(shown * (1 - opacity)[place] + above[place]).astype(np.uint8)


def captured_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of a radiograph of that size in the capture."""
    scale = min(1.0, MAX_SIDE / max(height, width))
    return max(round(height * scale), 1), max(round(width * scale), 1)


def _caption(text: str, width: int) -> npt.NDArray[np.uint8]:
    """White text on black, uint8 [rows, width, 3], in as many lines as it takes."""
    size = max(10, width // 48)
    file = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    font = ImageFont.truetype(str(file), size)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width - size:
            lines.append(word)
        else:
            lines[-1] = longer
    image = Image.new("RGB", (width, size + len(lines) * (3 * size // 2)))
    drawing = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        drawing.text((size // 2, size // 2 + number * (3 * size // 2)), line, fill="white", font=font)
    return np.asarray(image)
