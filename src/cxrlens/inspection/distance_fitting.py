"""Fits a `TrainingDistance` to images, and chooses its limits on others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.stats import nct, norm
from sklearn.covariance import LedoitWolf
from sklearn.model_selection import KFold

from cxrlens.evaluation.proportions import clopper_pearson_interval
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Pixels
from cxrlens.inspection.framing_fitting import fitted_framing
from cxrlens.models.distance import (
    FEATURES,
    HeldOut,
    LimitedDistance,
    Mahalanobis,
    Radiographs,
    TrainingDistance,
    image_features,
    in_levels,
)
from cxrlens.models.framing import Floats, Framing, LimitedFraming, thumbnail

FEWEST = 30
"""Images that a distance is fitted to, and as many that its limits are chosen on; of fewer none is made."""

MOST = 2000
"""Images whose features are worth looking at."""

_BEYOND = 0.005 / len(FEATURES)
"""The share of radiographs that may lie beyond the limit of a kind of features."""

LEAST_SURPRISE = math.log(20)
"""Least limit of the framing: a probability of 5 % of a whole chest that stands upright."""

_CONFIDENCE = 0.95
_FOLDS = 5
_LEAST_SPREAD = 1e-6  # where all images are alike
_DISTANCES = ("layout", "texture")
_Form: TypeAlias = Mahalanobis | Framing


class FeatureTable:
    """The features of some images, by kind, and their thumbnails."""

    def __init__(self, preprocessing: Preprocessing, images: Iterable[Pixels] = ()) -> None:
        """Of prepared grey images [h, w] in [0, 1], padding included."""
        self._preprocessing = preprocessing
        self._rows: dict[str, list[Floats]] = {kind: [] for kind in FEATURES}
        self._thumbnails: list[Floats] = []
        for image in images:
            self.add(image)

    def add(self, grey: Pixels) -> None:
        """Take in another image."""
        shown = self._preprocessing.shown(grey)
        for kind, features in image_features(shown).items():
            self._rows[kind].append(features)
        self._thumbnails.append(thumbnail(in_levels(shown)))

    def __len__(self) -> int:
        return len(self._thumbnails)

    def of(self, kind: str) -> Floats:
        """[n, d]"""
        return np.stack(self._rows[kind])

    def forms(self, images: npt.NDArray[np.intp] | None = None) -> dict[str, _Form]:
        """What tells by each kind how far another image lies from these, or from some of them."""
        chosen = np.arange(len(self)) if images is None else images
        found: dict[str, _Form] = {kind: _fitted(self.of(kind)[chosen]) for kind in _DISTANCES}
        return {**found, "framing": fitted_framing([self._thumbnails[index] for index in chosen])}


def fitted_distance(
    training: FeatureTable, held_out: FeatureTable, data: str, splits: tuple[str, str] = ("train", "dev")
) -> TrainingDistance | None:
    """The distance from the training images, its limits chosen on held-out ones; None of fewer than `FEWEST` images.

    Args:
        data: name of the folder of their data set; ``splits`` are the names of theirs.
    """
    if min(len(training), len(held_out)) < FEWEST:
        return None
    forms = training.forms()
    away = {kind: form.of(held_out.of(kind)) for kind, form in forms.items()}
    return _limited(forms, away, Radiographs(data=data, split=splits[0], images=len(training)), (data, splits[1]))


def distance_of_one_set(images: FeatureTable, data: str, split: str) -> TrainingDistance | None:
    """The distance from some images, its limits chosen on each of them by a fit to others; None of too few."""
    if len(images) < 2 * FEWEST:
        return None
    away = {kind: np.empty(len(images)) for kind in FEATURES}
    for others, part in KFold(_FOLDS, shuffle=True, random_state=0).split(np.arange(len(images))):
        for kind, form in images.forms(others).items():
            away[kind][part] = form.of(images.of(kind)[part])
    return _limited(images.forms(), away, Radiographs(data=data, split=split, images=len(images)), (data, split))


def widened(distance: TrainingDistance, images: FeatureTable, data: str, split: str) -> TrainingDistance:
    """A distance with limits that hold for these images too: none is lowered. As it is where they are too few."""
    if len(images) < FEWEST:
        return distance
    away = {kind: part.of(images.of(kind)) for kind, part in distance.parts.items()}
    least = {kind: part.limit for kind, part in distance.parts.items()}
    return _limited(distance.parts, away, distance.fitted, (data, split), least)


def _fitted(features: Floats) -> Mahalanobis:
    """To features [n, d], each in units of its own deviation; the covariance is shrunk (Ledoit & Wolf, 2004)."""
    centre, spread = features.mean(0), features.std(0) + _LEAST_SPREAD
    covariance = LedoitWolf(assume_centered=True).fit((features - centre) / spread).covariance_
    precision = np.linalg.inv(covariance + _LEAST_SPREAD * np.eye(len(centre)))
    whitening = np.linalg.cholesky(precision).T / spread
    return Mahalanobis(centre=tuple(centre.tolist()), whitening=tuple(map(tuple, whitening.tolist())))


def _limited(
    forms: Mapping[str, _Form],
    away: Mapping[str, Floats],
    fitted: Radiographs,
    held_out: tuple[str, str],
    least: Mapping[str, float] | None = None,
) -> TrainingDistance:
    """With limits for held-out images at these distances, none below ``least``."""
    lowest = {"framing": LEAST_SURPRISE, **(least or {})}
    limits = {kind: max(_LIMIT.get(kind, upper_limit)(away[kind]), lowest.get(kind, 0)) for kind in forms}
    beyond = np.any([away[kind] > limit for kind, limit in limits.items()], axis=0)
    interval = clopper_pearson_interval(int(beyond.sum()), beyond.size)
    parts: dict[str, Any] = {kind: _with_limit(form, limits[kind]) for kind, form in forms.items()}
    data, split = held_out
    return TrainingDistance(
        **parts,
        fitted=fitted,
        held_out=HeldOut(
            data=data,
            split=split,
            images=beyond.size,
            beyond=int(beyond.sum()),
            low=interval.low,
            high=interval.high,
        ),
    )


def _with_limit(form: _Form, limit: float) -> LimitedDistance | LimitedFraming:
    kind = LimitedFraming if isinstance(form, Framing) else LimitedDistance
    return kind(**{**form.model_dump(), "limit": limit})


def upper_limit(away: Floats, beyond: float = _BEYOND) -> float:
    """What a share of no more than ``beyond`` of images like these exceeds, from their distances [n].

    The larger one of two: the upper tolerance limit of a normal distribution of the logarithms, which holds in 95 % of
    samples where they are normal (Hahn & Meeker, Statistical Intervals, 1991), and the distance that no more than this
    share of the images themselves exceeds.
    """
    return float(max(np.exp(_tolerance_limit(np.log(away + _LEAST_SPREAD), beyond)), _exceeded(away, beyond)))


def upper_limit_of_surprise(away: Floats, beyond: float = _BEYOND) -> float:
    """As `upper_limit`, of -log P; normal are the log-odds against it then, whose tail is the longer one."""
    least = np.maximum(away, np.finfo(float).tiny)
    log_odds = least + np.log(-np.expm1(-least))
    return float(max(np.logaddexp(0, _tolerance_limit(log_odds, beyond)), _exceeded(away, beyond)))


_LIMIT: Mapping[str, Callable[[Floats], float]] = {"framing": upper_limit_of_surprise}


def _tolerance_limit(values: Floats, beyond: float) -> float:
    """That of a normal distribution."""
    n = values.size
    factor = nct.ppf(_CONFIDENCE, n - 1, norm.ppf(1 - beyond) * np.sqrt(n)) / np.sqrt(n)
    return float(values.mean() + factor * values.std(ddof=1))


def _exceeded(away: Floats, beyond: float) -> float:
    """What no more than this share of them exceeds."""
    return float(np.sort(away)[-1 - int(beyond * away.size)])
