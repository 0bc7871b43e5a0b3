"""Annotated objects that cannot be right: outside the image, without area, tiny, huge, or there twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cxrlens.dataset.check.findings import Finding, FindingKind, Severity, new_kind
from cxrlens.dataset.check.images import CheckedImage
from cxrlens.inputs.annotations.shapes import Polygon, Shape, format_annotation

_TINY = 0.005  # of the longer side: 3 pixels at 600
_HUGE = 0.25  # of the image
_MOSTLY = 0.5

OUTSIDE = new_kind(
    "outside",
    Severity.problem,
    "Object outside the picture",
    f"More than {_MOSTLY:.0%} of the bounding box lies outside the picture.",
)
REACHES_OUT = new_kind(
    "reaches-out",
    Severity.note,
    "Object reaches outside",
    "The bounding box reaches outside the picture by more than a pixel.",
)
DEGENERATE = new_kind(
    "degenerate",
    Severity.problem,
    "Object without area",
    "The bounding box is less than one pixel wide or high, or a polygon's area is below one square pixel.",
)
TINY = new_kind(
    "tiny", Severity.note, "Tiny object", f"The bounding box is shorter than {_TINY:.1%} of the picture's longer side."
)
HUGE = new_kind("huge", Severity.note, "Huge object", f"The bounding box covers more than {_HUGE:.0%} of the picture.")
REPEATED = new_kind("repeated", Severity.note, "Object annotated twice", "An image has the same shape more than once.")


def annotation_findings(seen: Sequence[CheckedImage]) -> Iterator[Finding]:
    """Faults of the shapes of each image; one finding per shape, the worst that holds."""
    for image in seen:
        shapes = image.item.shapes or ()
        for shape in dict.fromkeys(shapes):
            found = _judge(shape, image.height, image.width)
            if found is not None:
                kind, says = found
                yield _finding(kind, image, shape, says)
            if shapes.count(shape) > 1:
                yield _finding(REPEATED, image, shape, f"is annotated {shapes.count(shape)} times")


def _finding(kind: FindingKind, image: CheckedImage, shape: Shape, says: str) -> Finding:
    text = format_annotation([shape])
    short = text if len(text) <= 60 else f"{text[:60]}..."
    message = f"{image.name}: the {type(shape).__name__.lower()} '{short}' {says}"
    return Finding(kind, message, (image.name,), (shape,))


def _judge(shape: Shape, height: int, width: int) -> tuple[FindingKind, str] | None:
    """The kind of what is wrong, and how the sentence goes on; None for a shape as it should be."""
    x1, y1, x2, y2 = shape.bounds()
    picture = f"the {width} x {height} picture"
    if min(x2 - x1, y2 - y1) < 1:
        return DEGENERATE, f"is {x2 - x1:g} x {y2 - y1:g} pixels"
    if isinstance(shape, Polygon) and _area(shape) < 1:
        return DEGENERATE, "has no area"
    # An image covers -0.5 to width - 0.5; a box may end on the far edge of the last pixel, as in Object-CXR.
    inside_x, inside_y = (max(min(b, size) - max(a, 0), 0) for a, b, size in ((x1, x2, width), (y1, y2, height)))
    outside = 1 - inside_x * inside_y / ((x2 - x1) * (y2 - y1))
    if outside >= 1:
        return OUTSIDE, f"lies wholly outside {picture}"
    if outside > _MOSTLY:
        return OUTSIDE, f"lies outside {picture} by {outside:.0%}"
    if x1 < -1 or y1 < -1 or x2 > width + 1 or y2 > height + 1:
        return REACHES_OUT, f"reaches outside {picture}"
    if max(x2 - x1, y2 - y1) < _TINY * max(height, width):
        return TINY, f"is {x2 - x1:g} x {y2 - y1:g} pixels in {picture}"
    covered = (x2 - x1) * (y2 - y1) / (height * width)
    if covered > _HUGE:
        return HUGE, f"covers {covered:.0%} of {picture} with its bounding box"
    return None


def _area(polygon: Polygon) -> float:
    """Square pixels that a polygon encloses, by the shoelace formula; 0 also where its loops cancel."""
    x, y = np.array(polygon.points).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
