"""Drift: do the scores of screened images come from where those of the calibration's images came from?

The largest distance D of two cumulative distributions is tested as Kolmogorov and Smirnov do. One is that of the
screened images. The other is that of the calibration, p F_affected + (1 - p) F_normal, which is put together from the
two classes at the site's share p of affected images, as the calibration's own images may hold many more of them. It
is taken to be as certain as that of min(n_affected / p, n_normal / (1 - p)) images, the largest sample with this
share that its images allow: drawn class by class, its variance is lower than that of such a sample, so that p values
are on the safe side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logit
from scipy.stats import kstwo

from cxrlens.evaluation.bootstrap import Floats
from cxrlens.evaluation.comparison import holm
from cxrlens.models.calibration import Calibration, ScoreQuantiles

LEAST_IMAGES: Final = 20
"""A period with fewer is not tested: it could show nothing, and would cost the others power."""

FALSE_ALARMS: Final = 0.05
"""The share of reports with any alarm, at most, where nothing has changed."""


@dataclass(frozen=True)
class Reference:
    """The scores that are expected at a site.

    Attributes:
        quantiles: of the log-odds of the calibration's images, by class.
        normal: how many images that is of; likewise ``affected``.
        share: of affected images at the site.
    """

    quantiles: ScoreQuantiles
    normal: int
    affected: int
    share: float

    @classmethod
    def of(cls, calibration: Calibration | None) -> Reference | None:
        """The reference that a calibration keeps; None where it keeps none."""
        if calibration is None or calibration.scores is None:
            return None
        data = calibration.data
        return cls(calibration.scores, data.images - data.affected, data.affected, calibration.prevalence)

    def size(self, share: float) -> float:
        """The number of images that the distribution at a share of affected ones is as certain as."""
        counts = ((self.affected, share), (self.normal, 1 - share))
        return min(count / part for count, part in counts if part > 0)

    def cumulative(self, log_odds: Floats, share: float, *, below: bool = False) -> Floats:
        """The share of scores up to each of some [n], or of those below each."""
        classes = (self.quantiles.affected, share), (self.quantiles.normal, 1 - share)
        return sum((part * _cumulative(np.array(own), log_odds, below=below) for own, part in classes), np.zeros(1))


@dataclass(frozen=True)
class DriftTest:
    """The comparison of some images with the reference.

    Attributes:
        name: of the period, or of all of them.
        images: with a score.
        distance: the largest difference D of the cumulative distributions, in [0, 1].
        expected_rank: the mean share of the reference's scores below an image's: 0.5 where nothing has changed.
        p: the probability of such a distance, or a larger one, at most, where nothing has changed; NaN where it was not
            tested.
        adjusted: after Holm's correction over all tests of the report.
        other_share: the share of affected images at which the distance is least; ``other_p`` is its p value, not
            adjusted: it is asked for where there is an alarm.
    """

    name: str
    images: int
    distance: float
    expected_rank: float
    p: float
    other_share: float
    other_p: float
    adjusted: float = float("nan")

    def is_alarm(self, false_alarms: float = FALSE_ALARMS) -> bool:
        return self.adjusted < false_alarms

    def is_explained(self, false_alarms: float = FALSE_ALARMS) -> bool:
        """Another share of affected images alone could explain it."""
        return self.other_p >= false_alarms


def drift_tests(groups: Mapping[str, Floats], reference: Reference) -> list[DriftTest]:
    """Test the probabilities [n] of each group with a name; those of few images are not tested."""
    found = [_tested(name, probabilities, reference) for name, probabilities in groups.items() if len(probabilities)]
    adjusted = holm(np.array([test.p for test in found]))
    return [replace(test, adjusted=float(value)) for test, value in zip(found, adjusted, strict=True)]


def distance(log_odds: Floats, reference: Reference, share: float) -> float:
    """The largest difference between the cumulative distributions of scores [n], n > 0, and of the reference.

    That of the reference never falls and that of the scores is a staircase, so that the difference is largest right at
    a score, or right below one.
    """
    places, counts = np.unique(log_odds, return_counts=True)
    upto = np.cumsum(counts) / len(log_odds)
    below = upto - counts / len(log_odds)
    return float(
        max(
            np.abs(upto - reference.cumulative(places, share)).max(),
            np.abs(below - reference.cumulative(places, share, below=True)).max(),
        )
    )


def p_value(found: float, images: int, reference: Reference, share: float) -> float:
    """The probability of such a distance, or a larger one, at most: that of two samples, by their joint size."""
    size = reference.size(share)
    together = max(round(images * size / (images + size)), 1)
    return float(kstwo.sf(found, together))


def critical_distance(images: int, reference: Reference, level: float) -> float:
    """The distance from which on the p value of so many images is at most ``level``."""
    size = reference.size(reference.share)
    return float(kstwo.isf(level, max(round(images * size / (images + size)), 1)))


def _tested(name: str, probabilities: Floats, reference: Reference) -> DriftTest:
    scores, n = logit(probabilities), len(probabilities)
    found = distance(scores, reference, reference.share)
    rank = float(
        (
            reference.cumulative(scores, reference.share) + reference.cumulative(scores, reference.share, below=True)
        ).mean()
        / 2
    )
    if n < LEAST_IMAGES:
        return DriftTest(name, n, found, rank, *[float("nan")] * 3)
    best = minimize_scalar(lambda share: distance(scores, reference, share), bounds=(0, 1), method="bounded")
    share = float(best.x)
    return DriftTest(
        name,
        n,
        found,
        rank,
        p_value(found, n, reference, reference.share),
        share,
        p_value(float(best.fun), n, reference, share),
    )


def _cumulative(quantiles: Floats, log_odds: Floats, *, below: bool) -> Floats:
    """The distribution of which evenly spaced quantiles are known, straight between them, at each of some scores."""
    last = len(quantiles) - 1
    place = np.searchsorted(quantiles, log_odds, side="left" if below else "right") - 1
    inside = np.clip(place, 0, last - 1)
    width = quantiles[inside + 1] - quantiles[inside]
    clipped = np.clip(log_odds, quantiles[0], quantiles[last])
    part = np.divide(clipped - quantiles[inside], width, out=np.zeros(len(log_odds)), where=width > 0)
    return np.where(place < 0, 0.0, np.where(place >= last, 1.0, (inside + part) / last))
