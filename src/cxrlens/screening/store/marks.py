"""What a reader has drawn on a radiograph: boxes and outlines, in pixels of the stored picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, TypeAlias

import shapely
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from cxrlens.errors import EXIT_USAGE, CxrlensError

MOST_MARKS = 50
"""On one image."""

_MOST_POINTS = 500
_FARTHEST = 1e6
_Coordinate = Annotated[float, Field(ge=-_FARTHEST, le=_FARTHEST)]
_Point: TypeAlias = tuple[_Coordinate, _Coordinate]


class Mark(BaseModel):
    """One drawn object.

    Attributes:
        kind: a box is given by two opposite corners, an outline by its points, which close by themselves.
        points: (x, y) in pixels of the stored picture, the centre of the top-left pixel at (0, 0).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["box", "outline"]
    points: Annotated[tuple[_Point, ...], Field(max_length=_MOST_POINTS)]


class UnfitMarkError(CxrlensError):
    """A drawn object that is none of the picture."""

    exit_code = EXIT_USAGE


_Marks = TypeAdapter(tuple[Mark, ...])


def read_marks(text: str) -> tuple[Mark, ...]:
    """Those that a store keeps as text."""
    return _Marks.validate_json(text)


def write_marks(marks: Iterable[Mark]) -> str:
    """The text as which a store keeps them."""
    return _Marks.dump_json(tuple(marks)).decode()


def check_marks(marks: Iterable[Mark], *, height: int, width: int) -> None:
    """Refuse what is no object of a picture.

    Raises:
        UnfitMarkError: when one has too few points, lies outside, has no area, or crosses itself.
    """
    for number, mark in enumerate(marks, 1):
        fault = _fault(mark, height, width)
        if fault:
            raise UnfitMarkError(f"the drawn object {number} {fault}; draw it again")


def _fault(mark: Mark, height: int, width: int) -> str:
    if mark.kind == "box" and len(mark.points) != 2:
        return f"is a box of {len(mark.points)} points, not of two opposite corners"
    if mark.kind == "outline" and len(mark.points) < 3:
        return f"is an outline of {len(mark.points)} points, which needs three or more"
    if not all(-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5 for x, y in mark.points):
        return f"reaches outside the picture of {width} x {height} pixels"
    corners = mark.points
    if mark.kind == "box":
        (left, top), (right, bottom) = corners
        corners = (left, top), (right, top), (right, bottom), (left, bottom)
    ring = shapely.LinearRing(corners)
    if shapely.convex_hull(ring).area == 0:
        return "has no area"
    return "" if ring.is_simple else "crosses itself"
