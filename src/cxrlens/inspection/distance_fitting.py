"""Fits a `TrainingDistance` to images, and chooses its limits on others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from scipy.stats import nct, norm
from sklearn.covariance import LedoitWolf
from sklearn.model_selection import KFold

from cxrlens.evaluation.proportions import clopper_pearson_interval
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Pixels
from cxrlens.models.distance import (
    FEATURES,
    Floats,
    HeldOut,
    LimitedDistance,
    Mahalanobis,
    Radiographs,
    TrainingDistance,
    image_features,
)

FEWEST = 30
"""Images that a distance is fitted to, and as many that its limits are chosen on; of fewer none is made."""

MOST = 2000
"""Images whose features are worth looking at."""

_BEYOND = 0.005 / len(FEATURES)
"""The share of radiographs that may lie beyond the limit of a kind of features."""

_CONFIDENCE = 0.95
_FOLDS = 5
_LEAST_SPREAD = 1e-6  # where all images are alike


class FeatureTable:
    """The features of some images, by kind."""

    def __init__(self, preprocessing: Preprocessing, images: Iterable[Pixels] = ()) -> None:
        """Of prepared grey images [h, w] in [0, 1], padding included."""
        self._preprocessing = preprocessing
        self._rows: dict[str, list[Floats]] = {kind: [] for kind in FEATURES}
        for image in images:
            self.add(image)

    def add(self, grey: Pixels) -> None:
        """Take in another image."""
        for kind, features in image_features(self._preprocessing.shown(grey)).items():
            self._rows[kind].append(features)

    def __len__(self) -> int:
        return len(next(iter(self._rows.values())))

    def of(self, kind: str) -> Floats:
        """[n, d]"""
        return np.stack(self._rows[kind])


def fitted_distance(
    training: FeatureTable, held_out: FeatureTable, data: str, splits: tuple[str, str] = ("train", "dev")
) -> TrainingDistance | None:
    """The distance from the training images, its limits chosen on held-out ones; None of fewer than `FEWEST` images.

    Args:
        data: name of the folder of their data set; ``splits`` are the names of theirs.
    """
    if min(len(training), len(held_out)) < FEWEST:
        return None
    forms = {kind: _fitted(training.of(kind)) for kind in FEATURES}
    away = {kind: form.of(held_out.of(kind)) for kind, form in forms.items()}
    return _limited(forms, away, Radiographs(data=data, split=splits[0], images=len(training)), (data, splits[1]))


def distance_of_one_set(images: FeatureTable, data: str, split: str) -> TrainingDistance | None:
    """The distance from some images, its limits chosen on each of them by a fit to others; None of too few."""
    if len(images) < 2 * FEWEST:
        return None
    away = {}
    for kind in FEATURES:
        features = images.of(kind)
        away[kind] = np.empty(len(features))
        for others, part in KFold(_FOLDS, shuffle=True, random_state=0).split(features):
            away[kind][part] = _fitted(features[others]).of(features[part])
    forms = {kind: _fitted(images.of(kind)) for kind in FEATURES}
    return _limited(forms, away, Radiographs(data=data, split=split, images=len(images)), (data, split))


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
    forms: Mapping[str, Mahalanobis],
    away: Mapping[str, Floats],
    fitted: Radiographs,
    held_out: tuple[str, str],
    least: Mapping[str, float] | None = None,
) -> TrainingDistance:
    """With limits for held-out images at these distances, none below ``least``."""
    limits = {kind: max(upper_limit(away[kind]), (least or {}).get(kind, 0)) for kind in forms}
    beyond = np.any([away[kind] > limit for kind, limit in limits.items()], axis=0)
    interval = clopper_pearson_interval(int(beyond.sum()), beyond.size)
    parts = {
        kind: LimitedDistance(centre=form.centre, whitening=form.whitening, limit=limits[kind])
        for kind, form in forms.items()
    }
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


def upper_limit(away: Floats, beyond: float = _BEYOND) -> float:
    """What a share of no more than ``beyond`` of images like these exceeds, from their distances [n].

    The larger one of two: the upper tolerance limit of a normal distribution of the logarithms, which holds in 95 % of
    samples where they are normal (Hahn & Meeker, Statistical Intervals, 1991), and the distance that no more than this
    share of the images themselves exceeds.
    """
    logs, n = np.log(away + _LEAST_SPREAD), away.size
    factor = nct.ppf(_CONFIDENCE, n - 1, norm.ppf(1 - beyond) * np.sqrt(n)) / np.sqrt(n)
    exceeded = np.sort(away)[-1 - int(beyond * n)]
    return float(max(np.exp(logs.mean() + factor * logs.std(ddof=1)), exceeded))
