"""How suggestions agree with readers' verdicts, and the threshold that the judged images would have asked for.

A retake counts where it is for a foreign object, which the model looks for, or where no reason was given. What is to be
retaken for another reason may hold such an object or not, and is left out.

Where readers judge what is suggested rather than what passes, the judged images are no sample of all: among them
nearly every retake was suggested (verification bias). Predictive values stay right. Sensitivity and specificity are
corrected as Begg and Greenes do (Biometrics 1983): the shares of retakes among judged suggestions and among judged
passes are taken for those of all suggestions and all passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import expit, logit

from cxrlens.analysis.images import AnalysedImage, ModelImages
from cxrlens.analysis.rates import Share
from cxrlens.calibration.operating_points import ThresholdTarget, choose_cut, threshold_interval
from cxrlens.evaluation.bootstrap import Floats, Interval
from cxrlens.evaluation.classification import Labels
from cxrlens.evaluation.proportions import melded_interval
from cxrlens.inputs.dataset.layouts import AFFECTED, CLASS_NAMES

_UNEVEN: Final = 0.9


@dataclass(frozen=True)
class Corrected:
    """A score that verification bias was taken out of, with its 95 % interval; NaN where nothing allows that."""

    value: float
    low: float
    high: float
    images: int


@dataclass(frozen=True)
class Agreement:
    """Suggestions against verdicts, of images that the model assessed.

    Attributes:
        suggested: of so many images a retake is suggested; ``passed`` are the others.
        judged_suggested: those of them that readers judged, and as affected among these; likewise ``judged_passed``.
        other_reasons: images to be retaken for another reason, which are in neither.
    """

    suggested: int
    passed: int
    judged_suggested: Share
    judged_passed: Share
    other_reasons: int

    @classmethod
    def of(cls, images: Sequence[AnalysedImage]) -> Agreement:
        """Of the images that were assessed."""
        assessed = [image for image in images if image.is_assessed]
        counted = [image for image in assessed if image.label or not image.is_retaken]
        sides = [[image for image in counted if image.is_suggested is side] for side in (True, False)]
        first, second = (_affected([image for image in side if image.label]) for side in sides)
        return cls(len(sides[0]), len(sides[1]), first, second, len(assessed) - len(counted))

    @property
    def ppv(self) -> Share:
        """Of the judged suggestions, those that are retaken."""
        return self.judged_suggested

    @property
    def npv(self) -> Share:
        """Of the judged passes, those that are accepted."""
        return _others(self.judged_passed)

    @property
    def sensitivity(self) -> Share:
        """Of the judged images to be retaken, those that were suggested."""
        return Share(self.judged_suggested.hits, self.judged_suggested.hits + self.judged_passed.hits)

    @property
    def specificity(self) -> Share:
        """Of the judged images that are accepted, those that were not suggested."""
        accepted = _others(self.judged_passed).hits
        return Share(accepted, accepted + _others(self.judged_suggested).hits)

    @property
    def is_uneven(self) -> bool:
        """Suggestions were judged more often than passes: what is counted on judged images alone is biased."""
        if not self.suggested or not self.passed:
            return False
        parts = self.judged_suggested.images / self.suggested, self.judged_passed.images / self.passed
        return parts[1] < _UNEVEN * parts[0]

    @property
    def corrected_sensitivity(self) -> Corrected:
        """Of all images to be retaken, those that were suggested."""

        def score(retaken: Floats, accepted: Floats) -> Floats:
            return _part(self.suggested * retaken, self.passed * (1 - accepted))

        return self._corrected(score)

    @property
    def corrected_specificity(self) -> Corrected:
        """Of all images that are fit, those that were not suggested."""

        def score(retaken: Floats, accepted: Floats) -> Floats:
            return _part(self.passed * accepted, self.suggested * (1 - retaken))

        return self._corrected(score)

    def _corrected(self, score: Callable[[Floats, Floats], Floats]) -> Corrected:
        """A score that grows with the share of retakes among suggestions and with that of accepted among passes."""
        first, second = self.ppv, self.npv
        images = first.images + second.images
        if not first.images or not second.images:
            return Corrected(math.nan, math.nan, math.nan, images)
        value = float(score(np.array(first.value), np.array(second.value)))
        if math.isnan(value):
            return Corrected(value, value, value, images)
        found = melded_interval(score, (first.hits, first.images), (second.hits, second.images))
        return Corrected(value, found.low, found.high, images)


@dataclass(frozen=True)
class OtherThreshold:
    """The threshold that the calibration's target asks for on the judged images.

    Attributes:
        target: of the calibration.
        used: the threshold in use, as a probability; ``found`` the one that the judged images ask for, with the 95 %
            interval of choosing it on resampled images. 1 where only calling no image reaches the target, 0 where only
            calling every image does.
        sensitivity: of the threshold in use, ``specificity`` likewise; ``other_sensitivity`` and ``other_specificity``
            of the one that was found.
    """

    target: ThresholdTarget
    used: float
    found: float
    interval: Interval
    sensitivity: Share
    specificity: Share
    other_sensitivity: Share
    other_specificity: Share


def other_threshold(model: ModelImages, *, seed: int = 0) -> OtherThreshold | str:
    """The threshold for the calibration's target, or the reason why there is none."""
    if model.info.review_threshold is None:
        return "the model is not calibrated, so no target was set"
    if model.calibration is None:
        return "the folders do not tell the calibration's target; name the model file with --model"
    target = ThresholdTarget.of_phrase(model.calibration.retake_target)
    if target is None:
        return f"the calibration's target ('{model.calibration.retake_target}') is none that this version knows"
    judged = [image for image in model.images if image.label and image.probability is not None]
    labels = np.array([int(image.label == CLASS_NAMES[AFFECTED]) for image in judged], dtype=np.intp)
    if min(labels.sum(), len(labels) - labels.sum()) < 2:
        return (
            f"{len(labels)} images were judged, {labels.sum()} of them to be retaken; it takes two of each verdict, "
            "and many more for a narrow interval"
        )
    scores = logit(np.array([image.probability for image in judged], dtype=np.float64))
    finite = np.clip(scores, -40, 40)  # probabilities of exactly 0 and 1
    share = float(labels.mean())

    def choose(some: Labels, log_odds: Floats) -> float:
        return choose_cut(some, log_odds, target, share)

    cut = choose(labels, finite)
    used = float(logit(model.info.threshold))
    before, after = (_scores(labels, finite, place) for place in (used, cut))
    interval = threshold_interval(labels, finite, choose, seed=seed)
    return OtherThreshold(target, model.info.threshold, float(expit(cut)), interval, *before, *after)


def _scores(labels: Labels, log_odds: Floats, cut: float) -> tuple[Share, Share]:
    called, retaken = log_odds >= cut, labels == 1
    return (
        Share(int((called & retaken).sum()), int(retaken.sum())),
        Share(int((~called & ~retaken).sum()), int((~retaken).sum())),
    )


def _affected(judged: Sequence[AnalysedImage]) -> Share:
    return Share(sum(image.label == CLASS_NAMES[AFFECTED] for image in judged), len(judged))


def _others(share: Share) -> Share:
    return Share(share.images - share.hits, share.images)


def _part(some: Floats, rest: Floats) -> Floats:
    """Some of all; NaN where there are none."""
    with np.errstate(invalid="ignore"):
        return some / (some + rest)
