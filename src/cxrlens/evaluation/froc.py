"""Free-response ROC: how many objects are found at how many false points per image, as the Object-CXR challenge asks.

A prediction is a point with a confidence. It finds an object when it lies inside the object's shape, tested exactly;
several points in one object count once, and a point in no object is a false positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from cxrlens.data.annotations import Shape

CHALLENGE_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Prediction:
    """A point (x, y) in the annotation's pixels, and its confidence."""

    x: float
    y: float
    confidence: float


@dataclass(frozen=True)
class Froc:
    """The curve and its summary.

    Attributes:
        false_positives: per image, float64 [k], not falling.
        sensitivity: share of all objects found, float64 [k].
        at_rates: sensitivity at each of the rates asked for.
        mean: of ``at_rates``: the challenge's score. NaN without any object.
    """

    false_positives: npt.NDArray[np.float64]
    sensitivity: npt.NDArray[np.float64]
    at_rates: tuple[float, ...]
    mean: float


def froc(
    predictions: Sequence[Sequence[Prediction]],
    annotations: Sequence[Sequence[Shape]],
    *,
    rates: Sequence[float] = CHALLENGE_RATES,
) -> Froc:
    """The curve over all images, with and without objects.

    The sensitivity at a rate is the highest that is reached with at most so many false positives per image.

    Args:
        predictions: per image; their order does not matter.
        annotations: per image; empty for an image without an object.

    Raises:
        ValueError: when the two differ in length.
    """
    events: list[tuple[float, int, int]] = []  # (confidence, objects found first by it, false positives)
    objects = 0
    for points, shapes in zip(predictions, annotations, strict=True):
        objects += len(shapes)
        missing = set(range(len(shapes)))
        for point in sorted(points, key=lambda p: -p.confidence):
            x, y = np.array([point.x]), np.array([point.y])
            inside = {index for index, shape in enumerate(shapes) if bool(shape.contains(x, y)[0])}
            events.append((point.confidence, len(inside & missing), int(not inside)))
            missing -= inside
    if not objects:
        nothing = np.empty(0)
        return Froc(nothing, nothing, (np.nan,) * len(rates), np.nan)
    events.sort(key=lambda event: -event[0])
    confidence = np.array([event[0] for event in events])
    ends = np.flatnonzero(np.diff(confidence, append=-np.inf))
    found = np.cumsum([event[1] for event in events])[ends] / objects
    false = np.cumsum([event[2] for event in events])[ends] / len(annotations)
    at_rates = tuple(float(np.max(found[false <= rate], initial=0.0)) for rate in rates)
    return Froc(np.asarray(false, np.float64), np.asarray(found, np.float64), at_rates, float(np.mean(at_rates)))


def map_peaks(map_: Tensor, *, radius: int, most: int, floor: float = 0.05) -> list[tuple[int, int, float]]:
    """The local maxima of a map [H, W] in [0, 1], highest first: (row, column, value).

    Args:
        radius: a peak is the highest value within so many rows and columns; of a plateau one pixel is kept.
        most: of the highest peaks.
        floor: lowest value of a peak.
    """
    highest = functional.max_pool2d(map_[None, None], 2 * radius + 1, stride=1, padding=radius)[0, 0]
    rows, columns = torch.nonzero((map_ == highest) & (map_ > floor), as_tuple=True)
    values = map_[rows, columns]
    order = values.argsort(descending=True, stable=True)
    kept: list[tuple[int, int, float]] = []
    for row, column, value in zip(rows[order].tolist(), columns[order].tolist(), values[order].tolist(), strict=True):
        if all(max(abs(row - r), abs(column - c)) > radius for r, c, _ in kept):
            kept.append((row, column, value))
        if len(kept) == most:
            break
    return kept
