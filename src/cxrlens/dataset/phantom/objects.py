"""The phantom's foreign objects: clothing, jewellery and the like, with exact outlines."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np

from cxrlens.dataset.phantom.drawing import Disc, FloatImage, Stroke, Wire, draw
from cxrlens.inputs.annotations.shapes import (
    BoolMask,
    Ellipse,
    Point,
    Polygon,
    Rectangle,
    Shape,
    map_points,
    rasterize,
)

_TRIES = 300  # places looked at for each image before fewer objects are accepted


@dataclass(frozen=True)
class Sketch:
    """An object around the origin, in cm: strokes, painted in order, and the outline that encloses them."""

    strokes: tuple[Stroke, ...]
    outline: Shape


@dataclass(frozen=True)
class Placed:
    """The objects of an image: attenuation float32 [H, W] that they add, one outline and one name each."""

    attenuation: FloatImage
    shapes: tuple[Shape, ...]
    names: tuple[str, ...]


Maker: TypeAlias = Callable[[np.random.Generator], Sketch]
OBJECTS: dict[str, Maker] = {}


def _register(maker: Maker) -> Maker:
    OBJECTS[maker.__name__.strip("_").replace("_", " ")] = maker
    return maker


def place_objects(rng: np.random.Generator, field: BoolMask, *, scale: float) -> Placed:
    """Lay 1 to 4 random objects mostly inside a field, apart from each other.

    Args:
        field: mask [H, W] of the lung fields.
        scale: pixels per cm.
    """
    height, width = field.shape
    rows, columns = np.nonzero(field)
    wanted = int(rng.choice((1, 2, 3, 4), p=(0.4, 0.3, 0.2, 0.1)))
    added = np.zeros((height, width), dtype=np.float32)
    taken = np.zeros((height, width), dtype=bool)
    shapes: list[Shape] = []
    names: list[str] = []
    for _ in range(_TRIES):
        if len(shapes) == wanted:
            break
        name = str(rng.choice(list(OBJECTS)))
        sketch = OBJECTS[name](rng)
        contrast = rng.uniform(0.35, 0.5) if rng.random() < 0.08 else rng.uniform(0.7, 1.1)
        spot = rng.integers(rows.size)
        at = (float(columns[spot]) + rng.uniform(-0.5, 0.5), float(rows[spot]) + rng.uniform(-0.5, 0.5))
        shape = map_points(map_points(sketch.outline, partial(_pixel, at, scale)), _to_hundredths)
        left, top, right, bottom = shape.bounds()
        if min(left, top) < 1 or right > width - 2 or bottom > height - 2:
            continue
        covered = rasterize([shape], height=height, width=width)
        if np.mean(field[covered]) < 0.8 or taken[covered].any():
            continue
        _add(added, sketch.strokes, at=at, scale=scale, contrast=contrast, bounds=shape.bounds())
        taken |= covered
        shapes.append(shape)
        names.append(name)
    return Placed(added, tuple(shapes), tuple(names))


def _add(
    added: FloatImage,
    strokes: Sequence[Stroke],
    *,
    at: Point,
    scale: float,
    contrast: float,
    bounds: tuple[float, float, float, float],
) -> None:
    """Draw strokes given in cm around the pixel ``at`` into the part of ``added`` within the bounds."""
    left, top = math.floor(bounds[0]), math.floor(bounds[1])
    patch = added[top : math.ceil(bounds[3]) + 1, left : math.ceil(bounds[2]) + 1]
    placed = [_in_pixels(stroke, at, scale) for stroke in strokes]
    patch += contrast * draw(placed, height=patch.shape[0], width=patch.shape[1], corner=(left, top))


def _pixel(at: Point, scale: float, x: float, y: float) -> Point:
    return at[0] + x * scale, at[1] + y * scale


def _to_hundredths(x: float, y: float) -> Point:
    return round(x, 2), round(y, 2)


def _in_pixels(stroke: Stroke, at: Point, scale: float) -> Stroke:
    if isinstance(stroke, Disc):
        centre = _pixel(at, scale, *stroke.centre)
        return Disc(centre, stroke.radius_x * scale, stroke.radius_y * scale, stroke.value)
    points = tuple(_pixel(at, scale, *point) for point in stroke.points)
    return Wire(points, stroke.width * scale, stroke.value)


def _disc(radius: float, value: float, *, at: Point = (0.0, 0.0), squeeze: float = 1.0) -> Disc:
    return Disc(at, radius, radius * squeeze, value)


def _round(strokes: Sequence[Stroke], radius: float, *, squeeze: float = 1.0) -> Sketch:
    return Sketch(tuple(strokes), Ellipse(-radius, -radius * squeeze, radius, radius * squeeze))


def _boxed(strokes: Sequence[Stroke]) -> Sketch:
    """A sketch whose outline is the bounding rectangle of its strokes."""
    boxes = np.array([_bounds(stroke) for stroke in strokes])
    (left, top), (right, bottom) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return Sketch(tuple(strokes), Rectangle(float(left), float(top), float(right), float(bottom)))


def _bounds(stroke: Stroke) -> tuple[float, float, float, float]:
    if isinstance(stroke, Disc):
        (x, y), rx, ry = stroke.centre, stroke.radius_x, stroke.radius_y
        return x - rx, y - ry, x + rx, y + ry
    xs, ys = zip(*stroke.points, strict=True)
    half = stroke.width / 2
    return min(xs) - half, min(ys) - half, max(xs) + half, max(ys) + half


def _turned(sketch: Sketch, angle: float) -> Sketch:
    """A sketch of wires and round discs with a polygon as its outline, turned about the origin."""
    cos, sin = math.cos(angle), math.sin(angle)

    def turn(x: float, y: float) -> Point:
        return x * cos - y * sin, x * sin + y * cos

    strokes = tuple(
        replace(stroke, centre=turn(*stroke.centre))
        if isinstance(stroke, Disc)
        else replace(stroke, points=tuple(turn(*point) for point in stroke.points))
        for stroke in sketch.strokes
    )
    return Sketch(strokes, map_points(sketch.outline, turn))


def _arc(radius: float, start: float, stop: float, *, centre: Point = (0.0, 0.0)) -> tuple[Point, ...]:
    """Points on a circle from angle ``start`` to ``stop``, in radians from the x axis towards y."""
    count = max(math.ceil(abs(stop - start) / 0.2), 2) + 1
    angles = np.linspace(start, stop, count)
    return tuple((float(centre[0] + radius * np.cos(a)), float(centre[1] + radius * np.sin(a))) for a in angles)


def _band(path: Sequence[Point], half: float) -> Polygon:
    """The polygon that runs along a path, ``half`` to each side, and ``half`` beyond both ends."""
    points = np.array(path)
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    points[0] -= half * along[0]
    points[-1] += half * along[-1]
    across = half * np.stack([-along[:, 1], along[:, 0]], axis=1)
    outline = np.concatenate([points + across, (points - across)[::-1]])
    return Polygon(tuple((float(px), float(py)) for px, py in outline))


@_register
def _button(rng: np.random.Generator) -> Sketch:
    radius, holes = rng.uniform(1.0, 1.6), rng.choice((2, 4))
    body = rng.uniform(0.6, 1.0)
    strokes = [_disc(radius, body + rng.uniform(0.8, 1.2)), _disc(0.74 * radius, body)]
    turn = rng.uniform(0, math.pi)
    for hole in range(holes):
        angle = turn + 2 * math.pi * hole / holes
        at = (0.34 * radius * math.cos(angle), 0.34 * radius * math.sin(angle))
        strokes.append(_disc(0.19 * radius, 0.0, at=at))
    return _round(strokes, radius)


@_register
def _coin(rng: np.random.Generator) -> Sketch:
    radius, squeeze, value = rng.uniform(0.95, 1.6), rng.uniform(0.75, 1.0), rng.uniform(2.2, 3.2)
    strokes = [_disc(radius, value + 0.5, squeeze=squeeze), _disc(0.84 * radius, value, squeeze=squeeze)]
    return _round(strokes, radius, squeeze=squeeze)


@_register
def _ring(rng: np.random.Generator) -> Sketch:
    radius, squeeze, inner = rng.uniform(1.0, 1.8), rng.uniform(0.7, 1.0), rng.uniform(0.66, 0.8)
    strokes = [
        _disc(radius, rng.uniform(1.8, 3.0), squeeze=squeeze),
        _disc(inner * radius, 0, squeeze=squeeze),
    ]
    return _round(strokes, radius, squeeze=squeeze)


@_register
def _snap_fastener(rng: np.random.Generator) -> Sketch:
    radius, value = rng.uniform(0.9, 1.3), rng.uniform(1.8, 2.8)
    return _round([_disc(radius, value), _disc(0.68 * radius, 0.35), _disc(0.32 * radius, value)], radius)


@_register
def _zipper(rng: np.random.Generator) -> Sketch:
    half, gap, value = rng.uniform(1.3, 2.2), rng.uniform(0.44, 0.54), rng.uniform(1.8, 2.8)
    lean = rng.uniform(-0.06, 0.06)
    strokes: list[Stroke] = []
    for number, y in enumerate(np.arange(-half, half, gap)):
        x, reach = lean * y, 0.48 if number % 2 else -0.48
        strokes.append(Wire(((x - 0.1 * reach, float(y)), (x + reach, float(y))), 0.26, value))
    tab = Wire(((lean * half, half - 0.6), (lean * half, half + 0.5)), 0.5, value + 0.4)
    return _boxed([*strokes, tab])


@_register
def _hairpin(rng: np.random.Generator) -> Sketch:
    half, gap, width = rng.uniform(1.4, 2.2), rng.uniform(0.34, 0.46), rng.uniform(0.22, 0.28)
    waves = np.linspace(-half, half, 25)
    straight = ((half, -gap), (-half, -gap))
    bend = _arc(gap, -math.pi / 2, -3 * math.pi / 2, centre=(-half, 0.0))
    wavy = tuple((float(x), float(gap + 0.12 * np.sin(3 * (x + half)))) for x in waves)
    strokes = [Wire(straight + bend + wavy, width, rng.uniform(2.0, 3.0))]
    corner, far = gap + 0.12 + width / 2, half + gap + width / 2
    outline = Polygon(((-far, -corner), (half + width / 2, -corner), (half + width / 2, corner), (-far, corner)))
    return _turned(Sketch(tuple(strokes), outline), rng.uniform(0, 2 * math.pi))


@_register
def _paper_clip(rng: np.random.Generator) -> Sketch:
    long, wide = rng.uniform(2.4, 3.3), rng.uniform(0.5, 0.65)
    down, up = -math.pi / 2, math.pi / 2
    track = (
        (0.55 * long - wide, -wide),
        *_arc(wide, -up, -3 * up, centre=(-long / 2 + wide, 0.0)),
        *_arc(0.8 * wide, up, down, centre=(long / 2 - 0.8 * wide, 0.2 * wide)),
        *_arc(0.5 * wide, -up, -3 * up, centre=(-long / 2 + 1.8 * wide, -0.1 * wide)),
        (0.3 * long, 0.4 * wide),
    )
    strokes = [Wire(track, rng.uniform(0.2, 0.26), rng.uniform(2.0, 3.0))]
    upright = rng.random() < 0.5
    if upright:
        strokes = [replace(strokes[0], points=tuple((y, x) for x, y in track))]
    return _boxed(strokes)


@_register
def _safety_pin(rng: np.random.Generator) -> Sketch:
    half, wide, wire = rng.uniform(1.4, 2.2), rng.uniform(0.4, 0.5), rng.uniform(0.21, 0.27)
    value = rng.uniform(1.9, 2.9)
    back = Wire(((-half, -wide), (half, -wide)), wire, value)
    needle = Wire(((-half, wide), (half, 0.5 * wide)), wire, value)
    coil = [_disc(wide + wire / 2, value, at=(-half, 0.0)), _disc(0.45 * wide, 0.0, at=(-half, 0.0))]
    cap = Wire(((half, -0.6 * wide), (half, 0.6 * wide)), 0.8 * wide + wire, value + 0.5)
    low, high = -half - wide - wire / 2, half + 0.4 * wide + wire / 2
    edge = wide + wire / 2
    outline = Polygon(((low, -edge), (high, -edge), (high, edge), (low, edge)))
    return _turned(Sketch((back, needle, *coil, cap), outline), rng.uniform(0, 2 * math.pi))


@_register
def _necklace(rng: np.random.Generator) -> Sketch:
    """A strand of beads on a string, or a plain chain of links, that hangs in a bow."""
    span, bead = rng.uniform(2.0, 3.4), rng.uniform(0.32, 0.45)
    sag, count = rng.uniform(0.1, 0.35), 2 * math.ceil(span / bead / 1.15) + 1
    path = [(float(x), float(sag * (span / 2 - x * x / span))) for x in np.linspace(-span, span, count)]
    value = rng.uniform(1.6, 2.6)
    beads = [_disc(bead, value, at=point) for point in path]
    string = Wire(tuple(path), 0.12, 0.6)
    return _turned(Sketch((string, *beads), _band(path, bead)), rng.uniform(0, 2 * math.pi))


@_register
def _underwire(rng: np.random.Generator) -> Sketch:
    radius, reach, width = rng.uniform(2.6, 4.0), rng.uniform(0.7, 1.1), rng.uniform(0.26, 0.36)
    path = _arc(radius, math.pi / 2 - reach, math.pi / 2 + reach, centre=(0.0, -radius))
    strokes = [Wire(path, width, rng.uniform(1.8, 2.8))]
    strokes += [Wire((end,), 1.5 * width, 3.0) for end in (path[0], path[-1])]
    return _turned(Sketch(tuple(strokes), _band(path, 0.8 * width)), rng.uniform(-0.5, 0.5))


@_register
def _hooks(rng: np.random.Generator) -> Sketch:
    """A column of two or three bra hooks."""
    count, value = int(rng.integers(2, 4)), rng.uniform(2.0, 3.0)
    strokes: list[Stroke] = []
    for number in range(count):
        y = 1.3 * (number - (count - 1) / 2)
        bow = _arc(0.34, -math.pi / 2, math.pi / 2, centre=(0.5, y))
        strokes.append(Wire(((-0.8, y - 0.34), *bow, (-0.8, y + 0.34)), 0.24, value))
        strokes += [_disc(0.24, value, at=(-0.8, y + side)) for side in (-0.34, 0.34)]
    return _boxed(strokes)
