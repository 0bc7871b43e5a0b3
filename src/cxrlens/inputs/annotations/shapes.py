"""Annotated shapes: their text form in the Object-CXR CSV, clipping, and rasterising to a mask.

Coordinates are pixel indices of the stored image: origin top left, x to the right, y down, and the
centre of the top-left pixel is (0, 0). A pixel belongs to a shape when its centre lies inside the
shape or on its edge, so a rectangle ``x1 y1 x2 y2`` covers columns x1..x2 and rows y1..y2, both ends
included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from cxrlens.errors import UsageError

BoolMask: TypeAlias = npt.NDArray[np.bool_]
Point: TypeAlias = tuple[float, float]  # (x, y)

FARTHEST = 1e9
"""Pixels: a coordinate beyond is that of no image."""

_EDGE = 1e-9  # share of a pixel within which a pixel centre counts as lying on a shape's edge


@dataclass(frozen=True)
class _Box:
    """A shape that is given by the two corners (x1, y1) and (x2, y2) of its bounding box."""

    x1: float
    y1: float
    x2: float
    y2: float

    def bounds(self) -> tuple[float, float, float, float]:
        """The bounding box as (x1, y1, x2, y2)."""
        return self.x1, self.y1, self.x2, self.y2

    def numbers(self) -> tuple[float, ...]:
        return self.bounds()


@dataclass(frozen=True)
class Rectangle(_Box):
    """An axis-parallel rectangle; code 0."""

    code: ClassVar[int] = 0

    def outline(self) -> tuple[Point, ...]:
        """The corners."""
        return (self.x1, self.y1), (self.x2, self.y1), (self.x2, self.y2), (self.x1, self.y2)

    def contains(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> BoolMask:
        """True where a point (x, y) lies inside or on the edge; x and y broadcast."""
        inside: BoolMask = (
            (x >= self.x1 - _EDGE) & (x <= self.x2 + _EDGE) & (y >= self.y1 - _EDGE) & (y <= self.y2 + _EDGE)
        )
        return inside


@dataclass(frozen=True)
class Ellipse(_Box):
    """The ellipse that touches all four sides of its bounding box; code 1."""

    code: ClassVar[int] = 1

    def outline(self) -> tuple[Point, ...]:
        """64 points around the ellipse."""
        angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        x = (self.x1 + self.x2) / 2 + (self.x2 - self.x1) / 2 * np.cos(angle)
        y = (self.y1 + self.y2) / 2 + (self.y2 - self.y1) / 2 * np.sin(angle)
        return tuple(zip(x.tolist(), y.tolist(), strict=True))

    def contains(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> BoolMask:
        """True where a point (x, y) lies inside or on the edge; x and y broadcast."""
        radius_x, radius_y = (self.x2 - self.x1) / 2, (self.y2 - self.y1) / 2
        if radius_x < _EDGE or radius_y < _EDGE:  # flattened to a line
            return Rectangle(*self.bounds()).contains(x, y)
        u = (x - (self.x1 + self.x2) / 2) / radius_x
        v = (y - (self.y1 + self.y2) / 2) / radius_y
        inside: BoolMask = u * u + v * v <= 1 + _EDGE
        return inside


@dataclass(frozen=True)
class Polygon:
    """A closed polygon of at least three points; self-crossing parts follow the even-odd rule; code 2."""

    points: tuple[Point, ...]
    code: ClassVar[int] = 2

    def outline(self) -> tuple[Point, ...]:
        """The points."""
        return self.points

    def bounds(self) -> tuple[float, float, float, float]:
        """The bounding box as (x1, y1, x2, y2)."""
        xs, ys = zip(*self.points, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def numbers(self) -> tuple[float, ...]:
        return tuple(value for point in self.points for value in point)

    def contains(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> BoolMask:
        """True where a point (x, y) lies inside or on the edge; x and y broadcast."""
        x, y = np.broadcast_arrays(x, y)
        inside = np.zeros(x.shape, dtype=bool)
        on_edge = np.zeros(x.shape, dtype=bool)
        for (ax, ay), (bx, by) in zip(self.points, self.points[1:] + self.points[:1], strict=True):
            length = math.hypot(bx - ax, by - ay)
            slack = _EDGE * length
            cross = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
            along = (bx - ax) * (x - ax) + (by - ay) * (y - ay)
            on_edge |= (
                (np.abs(cross) <= slack) & (along >= -slack) & (along <= length * length + slack)
                if length > 0
                else (x == ax) & (y == ay)
            )
            if ay != by:
                spans = (ay > y) != (by > y)
                inside ^= spans & ((cross > 0) == (by > ay))
        return inside | on_edge


Shape: TypeAlias = Rectangle | Ellipse | Polygon


class AnnotationError(UsageError, ValueError):
    """A shape's text that cannot be read; the message quotes it and says what is wrong."""


def parse_annotation(text: str) -> tuple[Shape, ...]:
    """Read the annotation field of one CSV row; an empty field means no object.

    Shapes are joined by ``;``, the numbers of a shape by blanks: ``0 x1 y1 x2 y2`` is a rectangle,
    ``1 x1 y1 x2 y2`` an ellipse given by its bounding box, ``2 x1 y1 x2 y2 x3 y3 ...`` a polygon. Corners in
    the wrong order are put in order.

    Raises:
        AnnotationError: when a part is none of these.
    """
    return tuple(_parse_shape(part) for part in text.split(";") if part.strip())


def format_annotation(shapes: Iterable[Shape]) -> str:
    """Write shapes as the annotation field of a CSV row; the inverse of `parse_annotation`."""
    return ";".join(" ".join([str(shape.code), *map(_number, shape.numbers())]) for shape in shapes)


def clip_shape(shape: Shape, *, height: int, width: int) -> Shape | None:
    """The shape cut to an image of height x width pixels, or None where its bounding box lies wholly outside.

    An ellipse or a polygon that sticks out keeps its form, since moving its points would change the part
    inside the image too; `rasterize` cuts it.
    """
    x1, y1, x2, y2 = shape.bounds()
    if x2 < -0.5 or y2 < -0.5 or x1 > width - 0.5 or y1 > height - 0.5:
        return None
    if not isinstance(shape, Rectangle):
        return shape
    return map_points(shape, lambda x, y: (min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)))


def map_points(shape: Shape, move: Callable[[float, float], Point]) -> Shape:
    """The shape with each of its defining points (x, y) replaced by ``move(x, y)``."""
    if isinstance(shape, Polygon):
        return Polygon(tuple(move(x, y) for x, y in shape.points))
    (ax, ay), (bx, by) = move(shape.x1, shape.y1), move(shape.x2, shape.y2)
    return replace(shape, x1=min(ax, bx), y1=min(ay, by), x2=max(ax, bx), y2=max(ay, by))


def rasterize(shapes: Sequence[Shape], *, height: int, width: int) -> BoolMask:
    """The union of the shapes as a boolean mask [height, width]; what lies outside the image is cut.

    A shape that reaches into the image but is too thin to hold any pixel centre marks one pixel, the one it
    touches nearest to the middle of its bounding box, so that no object vanishes when a large image is
    scaled down.
    """
    mask = np.zeros((height, width), dtype=bool)
    for shape in shapes:
        x1, y1, x2, y2 = shape.bounds()
        left, right = max(math.ceil(x1 - _EDGE), 0), min(math.floor(x2 + _EDGE), width - 1)
        top, bottom = max(math.ceil(y1 - _EDGE), 0), min(math.floor(y2 + _EDGE), height - 1)
        if left <= right and top <= bottom:
            x = np.arange(left, right + 1, dtype=np.float64)[None, :]
            y = np.arange(top, bottom + 1, dtype=np.float64)[:, None]
            covered = shape.contains(x, y)
            mask[top : bottom + 1, left : right + 1] |= covered
            if covered.any():
                continue
        mask[_touched_pixel(shape, height, width)] = True
    return mask


def _touched_pixel(shape: Shape, height: int, width: int) -> tuple[list[int], list[int]]:
    """Row and column of the touched pixel nearest to the shape's middle; empty when it lies outside."""
    x1, y1, x2, y2 = shape.bounds()
    middle = np.array([[(x1 + x2) / 2, (y1 + y2) / 2]])
    corners = np.array(shape.outline())
    steps = np.linspace(0, 1, 256)[:, None, None]
    points = (corners + steps * (np.roll(corners, -1, axis=0) - corners)).reshape(-1, 2)
    if shape.contains(middle[:, 0], middle[:, 1]).all():
        points = np.concatenate([middle, points])
    points = points[((points >= -0.5) & (points <= np.array([width, height]) - 0.5)).all(axis=1)]
    if len(points) == 0:
        return [], []
    x, y = points[np.square(points - middle).sum(axis=1).argmin()]
    return [min(max(round(y), 0), height - 1)], [min(max(round(x), 0), width - 1)]


def _parse_shape(text: str) -> Shape:
    try:
        code, *numbers = text.split()
        values = [float(number) for number in numbers]
    except ValueError:
        raise AnnotationError(f"{text.strip()!r} is not a shape code followed by numbers") from None
    if not all(map(math.isfinite, values)):
        raise AnnotationError(f"{text.strip()!r} holds a number that is not finite")
    if any(abs(value) > FARTHEST for value in values):
        raise AnnotationError(f"{text.strip()!r} holds a number beyond {FARTHEST:.0e}, which is a place in no image")
    if code in ("0", "1"):
        if len(values) != 4:
            raise AnnotationError(f"{text.strip()!r} should have 4 numbers after its code, not {len(values)}")
        ax, ay, bx, by = values
        kind = Rectangle if code == "0" else Ellipse
        return kind(min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))
    if code == "2":
        if len(values) < 6 or len(values) % 2:
            raise AnnotationError(f"{text.strip()!r} should have an even count of at least 6 numbers after its code")
        return Polygon(tuple(zip(values[::2], values[1::2], strict=True)))
    raise AnnotationError(f"{text.strip()!r} starts with {code!r}; the codes are 0, 1 and 2")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
