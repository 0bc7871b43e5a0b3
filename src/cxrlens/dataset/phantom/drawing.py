"""Drawing tools of the phantom: the view onto the patient, anti-aliased strokes, cloudy texture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from cxrlens.inputs.annotations.shapes import Point

FloatImage: TypeAlias = npt.NDArray[np.float32]

_FINE = 4  # drawn at this many times the resolution, then averaged


@dataclass(frozen=True)
class View:
    """The patient's position in an image of height x width pixels.

    Patient coordinates are cm: x to the right of the image, y down, origin in the middle of the chest.
    """

    height: int
    width: int
    scale: float  # pixels per cm
    angle: float  # radians, clockwise on the image
    origin: Point  # (x, y) in pixels

    def patient_grid(self) -> tuple[FloatImage, FloatImage]:
        """Patient coordinates (x, y) of every pixel centre, each float32 [height, width], in cm."""
        column = np.arange(self.width, dtype=np.float32)[None, :] - np.float32(self.origin[0])
        row = np.arange(self.height, dtype=np.float32)[:, None] - np.float32(self.origin[1])
        cos = np.float32(math.cos(self.angle) / self.scale)
        sin = np.float32(math.sin(self.angle) / self.scale)
        return column * cos + row * sin, row * cos - column * sin

    def pixel(self, x: float, y: float) -> Point:
        """Pixel coordinates (x, y) of a point given in patient coordinates; inverse of `patient_grid`."""
        cos, sin = math.cos(self.angle) * self.scale, math.sin(self.angle) * self.scale
        return self.origin[0] + x * cos - y * sin, self.origin[1] + x * sin + y * cos


@dataclass(frozen=True)
class Wire:
    """A polyline of constant width with round ends; a single point is a disc."""

    points: tuple[Point, ...]
    width: float
    value: float


@dataclass(frozen=True)
class Disc:
    """A filled axis-parallel ellipse."""

    centre: Point
    radius_x: float
    radius_y: float
    value: float


Stroke: TypeAlias = Wire | Disc


def draw(strokes: Iterable[Stroke], *, height: int, width: int, corner: Point = (0.0, 0.0)) -> FloatImage:
    """Paint the strokes in their order, each over what is there, on an empty image.

    Args:
        strokes: in pixel coordinates; the centre of the pixel in row 0, column 0 is ``corner``.

    Returns:
        float32 [height, width]; a pixel partly covered holds that share of the stroke's value.
    """
    canvas = Image.new("F", (width * _FINE, height * _FINE))
    pen = ImageDraw.Draw(canvas)

    def fine(point: Point) -> Point:
        return (point[0] - corner[0] + 0.5) * _FINE - 0.5, (point[1] - corner[1] + 0.5) * _FINE - 0.5

    def disc(centre: Point, radius_x: float, radius_y: float, value: float) -> None:
        (x, y), rx, ry = fine(centre), radius_x * _FINE - 0.5, radius_y * _FINE - 0.5
        if min(rx, ry) >= 0:
            pen.ellipse((round(x - rx), round(y - ry), round(x + rx), round(y + ry)), fill=value)

    for stroke in strokes:
        if isinstance(stroke, Disc):
            disc(stroke.centre, stroke.radius_x, stroke.radius_y, stroke.value)
            continue
        breadth = max(round(stroke.width * _FINE), 1)
        lag = 0.0 if breadth % 2 else 0.5  # Pillow draws one pixel more above than below an even line
        line = [(round(x - lag), round(y - lag)) for x, y in map(fine, stroke.points)]
        pen.line(line, stroke.value, breadth)
        if stroke.width * _FINE > 3:
            for point in stroke.points:
                disc(point, stroke.width / 2, stroke.width / 2, stroke.value)
    return np.asarray(canvas.reduce(_FINE), dtype=np.float32)


def enlarge(grid: FloatImage, *, height: int, width: int) -> FloatImage:
    """Bicubic resize of a coarse grid to float32 [height, width]."""
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))


def cloud(rng: np.random.Generator, *, height: int, width: int, cells: Sequence[int], falloff: float) -> FloatImage:
    """Multi-scale noise, float32 [height, width], mean about 0, standard deviation about 1.

    Args:
        cells: grid cells along each side, one entry per octave.
        falloff: amplitude of an octave relative to the one before it.
    """
    amplitudes = falloff ** np.arange(len(cells), dtype=np.float32)
    amplitudes /= np.sqrt(np.sum(amplitudes**2))
    total = np.zeros((height, width), dtype=np.float32)
    for count, amplitude in zip(cells, amplitudes, strict=True):
        grid = rng.standard_normal((count, count), dtype=np.float32)
        total += amplitude * enlarge(grid, height=height, width=width)
    return total
