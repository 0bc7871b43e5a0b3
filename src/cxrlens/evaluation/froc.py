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

from cxrlens.evaluation.bootstrap import Floats, Indices, Interval, bootstrap_draws, percentile_interval
from cxrlens.evaluation.proportions import alike_interval
from cxrlens.inputs.annotations.masks import AnnotatedObject

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


@dataclass(frozen=True)
class _Points:
    """All predicted points, by falling confidence.

    Attributes:
        confidence, found, false: of each point: its confidence, how many objects of its image no earlier point had
            found, and 1 where it lies in none.
        image: whose point it is.
        objects: number of objects of each image.
    """

    confidence: npt.NDArray[np.float64]
    found: npt.NDArray[np.float64]
    false: npt.NDArray[np.float64]
    image: npt.NDArray[np.intp]
    objects: npt.NDArray[np.float64]


def froc(
    predictions: Sequence[Sequence[Prediction]],
    annotations: Sequence[Sequence[AnnotatedObject]],
    *,
    rates: Sequence[float] = CHALLENGE_RATES,
) -> Froc:
    """The curve over all images, with and without objects.

    The sensitivity at a rate is the highest that is reached with at most so many false positives per image.

    Args:
        predictions: per image; their order does not matter.
        annotations: per image; empty for an image without an object.

    Raises:
        ArgumentError: when the two differ in length.
    """
    points = _judged(predictions, annotations)
    return _curve(points, np.ones(len(points.objects)), rates)


def froc_interval(
    detectors: Sequence[Sequence[Sequence[Prediction]]],
    annotations: Sequence[Sequence[AnnotatedObject]],
    *,
    rates: Sequence[float] = CHALLENGE_RATES,
    repeats: int = 2000,
    seed: int = 0,
) -> Interval:
    """The 95 % bootstrap interval over images of the mean of `froc`'s means of several detectors, see `froc_draws`."""
    draws = froc_draws(detectors, annotations, rates=rates, repeats=repeats, seed=seed)
    return froc_draws_interval(draws, annotations)


def froc_draws_interval(draws: Floats, annotations: Sequence[Sequence[AnnotatedObject]]) -> Interval:
    """The 95 % interval of `froc_draws`, float64 [repeats].

    Where no resample differs, as where no object is found, it is that of the images with objects, as if each had as
    many (`alike_interval`).
    """
    (low,), (high,) = percentile_interval(draws[:, None], 0.95)
    if low == high:
        return alike_interval(float(low), images_with_objects(annotations))
    return Interval(float(low), float(high))


def images_with_objects(annotations: Sequence[Sequence[AnnotatedObject]]) -> int:
    """How many images have an object, which is what a sensitivity is of; the others can only have false positives."""
    return sum(len(shapes) > 0 for shapes in annotations)


def froc_draws(
    detectors: Sequence[Sequence[Sequence[Prediction]]],
    annotations: Sequence[Sequence[AnnotatedObject]],
    *,
    rates: Sequence[float] = CHALLENGE_RATES,
    repeats: int = 2000,
    seed: int = 0,
) -> Floats:
    """The mean of `froc`'s means of several detectors on resampled images, float64 [repeats].

    NaN for a resample without an object. With the same seed, the resamples of other detectors on these images are the
    same ones, so that differences are paired.

    Args:
        detectors: the predictions of each, as `froc` takes them; often the trainings of one recipe.
        annotations: per image.
    """
    judged = [_judged(predictions, annotations) for predictions in detectors]
    n = len(annotations)

    def mean(drawn: Indices) -> float:
        weights = np.bincount(drawn, minlength=n).astype(np.float64)
        return float(np.mean([_curve(points, weights, rates).mean for points in judged]))

    return bootstrap_draws(mean, n, repeats=repeats, seed=seed)


def _judged(predictions: Sequence[Sequence[Prediction]], annotations: Sequence[Sequence[AnnotatedObject]]) -> _Points:
    columns: list[npt.NDArray[np.float64]] = []  # [4, points] of each image
    for image, (points, shapes) in enumerate(zip(predictions, annotations, strict=True)):
        if not points:
            continue
        x, y, confidence = np.array(
            [(p.x, p.y, p.confidence) for p in sorted(points, key=lambda p: -p.confidence)], dtype=np.float64
        ).T
        inside = np.array([shape.contains(x, y) for shape in shapes]).reshape(len(shapes), len(points))
        first = inside.argmax(axis=1)[inside.any(axis=1)]  # the point that finds each object
        found = np.bincount(first, minlength=len(points))
        columns.append(np.stack([confidence, found, ~inside.any(axis=0), np.full(len(points), image)]))
    table = np.concatenate(columns, axis=1) if columns else np.empty((4, 0))
    table = table[:, np.argsort(-table[0], kind="stable")]
    objects = np.array([len(shapes) for shapes in annotations], dtype=np.float64)
    return _Points(table[0], table[1], table[2], table[3].astype(np.intp), objects)


def _curve(points: _Points, weights: npt.NDArray[np.float64], rates: Sequence[float]) -> Froc:
    """The curve with each image counted so many times."""
    objects = float(weights @ points.objects)
    if not objects:
        nothing = np.empty(0)
        return Froc(nothing, nothing, (np.nan,) * len(rates), np.nan)
    ends = np.flatnonzero(np.diff(points.confidence, append=-np.inf))
    weight = weights[points.image]
    found = np.cumsum(weight * points.found)[ends] / objects
    false = np.cumsum(weight * points.false)[ends] / weights.sum()
    within = np.searchsorted(false, rates, side="right")  # neither false nor found falls
    at_rates = tuple(float(found[count - 1]) if count else 0.0 for count in within)
    return Froc(false, found, at_rates, float(np.mean(at_rates)))


def map_peaks(maps: Tensor, *, radius: int, most: int, floor: float = 0.05) -> list[list[tuple[int, int, float]]]:
    """The local maxima of each map [N, H, W] in [0, 1], highest first: (row, column, value).

    Args:
        radius: a peak is the highest value within so many rows and columns; of a plateau one pixel is kept.
        most: of the highest peaks.
        floor: lowest value of a peak.
    """
    return [_peaks(map_, radius=radius, most=most, floor=floor) for map_ in maps]


def _peaks(map_: Tensor, *, radius: int, most: int, floor: float) -> list[tuple[int, int, float]]:
    highest = _running_max(_running_max(map_, radius, dimension=1), radius, dimension=0)
    chosen = ((map_ == highest) & (map_ > floor)).flatten().nonzero()[:, 0]
    values = map_.flatten()[chosen].cpu().numpy()
    places = np.stack(np.divmod(chosen.cpu().numpy(), map_.shape[1]), axis=1)
    order = np.argsort(-values, kind="stable")
    places, values = places[order], values[order]
    kept: list[tuple[int, int, float]] = []
    while len(values) and len(kept) < most:
        row, column = places[0].tolist()
        kept.append((row, column, float(values[0])))
        beyond = np.abs(places - places[0]).max(axis=1) > radius
        places, values = places[beyond], values[beyond]
    return kept


def _running_max(map_: Tensor, radius: int, *, dimension: int) -> Tensor:
    """The highest value within so many rows (dimension 0) or columns (1) of each pixel, by windows that double."""
    length, window = map_.shape[dimension], 2 * radius + 1
    padding = (radius, radius) if dimension else (0, 0, radius, radius)
    highest = functional.pad(map_, padding, value=-torch.inf)
    reach = 1
    while 2 * reach <= window:
        left = highest.shape[dimension] - reach
        highest = torch.maximum(highest.narrow(dimension, 0, left), highest.narrow(dimension, reach, left))
        reach *= 2
    return torch.maximum(highest.narrow(dimension, 0, length), highest.narrow(dimension, window - reach, length))
