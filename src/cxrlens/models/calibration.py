"""The calibration in a model file: the correction of its probabilities, and what its thresholds lead to."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from cxrlens.models.odds import calibrated_log_odds, prior_shift

Triage: TypeAlias = Literal["pass", "review", "retake"]
Values = TypeVar("Values", bound=Any)

TRIAGE: tuple[Triage, Triage, Triage] = ("pass", "review", "retake")


class _FrozenPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Estimate(_FrozenPart):
    """A score and the ends of its 95 % interval; None where undefined."""

    value: float | None
    low: float | None
    high: float | None


class CalibrationData(_FrozenPart):
    """The images that a model was calibrated on: the folder's name, the split, readable images and affected ones."""

    name: str
    split: str
    images: int
    affected: int


class Agreement(_FrozenPart):
    """Agreement of probabilities with labels, see `cxrlens.calibration.probabilities.CalibrationScores`."""

    nll: float
    brier: float
    ece: float
    mean_probability: float


class ScoreQuantiles(_FrozenPart):
    """The calibrated log-odds that the images of a calibration have, by class.

    Attributes:
        normal: their quantiles at evenly spaced shares, from the lowest to the highest; likewise ``affected``.
    """

    normal: tuple[float, ...] = Field(min_length=2)
    affected: tuple[float, ...] = Field(min_length=2)

    @field_validator("normal", "affected")
    @classmethod
    def _never_fall(cls, quantiles: tuple[float, ...]) -> tuple[float, ...]:
        if any(high < low for low, high in pairwise(quantiles)):
            raise ValueError("they should rise")
        return quantiles


class Calibration(_FrozenPart):
    """From a network's log-odds to the probability at a site; docs/calibration.md defines every number.

    Attributes:
        temperature: divides the network's log-odds.
        source_share: share of affected images that the network's log-odds assume.
        prevalence: share of affected images at the site where the probabilities hold.
        review_threshold: calibrated probability from which on an image is reviewed; at most the card's ``threshold``,
            from which on it is retaken.
        retake_target: what the card's threshold was chosen for, as a phrase; ``review_target`` likewise, None = none.
        threshold_interval: of the card's threshold, chosen anew on resampled images; ``review_interval`` likewise.
        data: the images it was made on.
        auc: on these images.
        before: agreement of the network's own probabilities with the labels of these images.
        after: the same at temperatures fitted without the image, at these images' share of affected ones.
        expected: by name, what the decisions lead to at the site (`calibration.operating_points.triage_scores`), images
            that had a part in choosing a threshold judged by one chosen without them.
        apparent: the same with all images judged by the final thresholds: optimistic.
        folds: number of parts of the images, each held out once, behind ``after`` and ``expected``.
        seed: of parts and resamples.
        remarks: what a reader of the numbers must know, a sentence each.
        source_sha256: of the model file that was calibrated.
        scores: of these images, which later ones are compared with; None of an earlier version, which kept none.
    """

    temperature: float = Field(ge=1e-3, le=1e3)
    source_share: float = Field(gt=0, lt=1)
    prevalence: float = Field(gt=0, lt=1)
    review_threshold: float = Field(ge=0, le=1)
    retake_target: str
    review_target: str | None
    threshold_interval: Estimate
    review_interval: Estimate | None
    data: CalibrationData
    auc: Estimate
    before: Agreement
    after: Agreement
    expected: dict[str, Estimate]
    apparent: dict[str, Estimate]
    folds: int
    seed: int
    remarks: tuple[str, ...] = ()
    source_sha256: str
    scores: ScoreQuantiles | None = None
    cxrlens_version: str = ""
    created: str = ""

    def log_odds(self, raw: Values) -> Values:
        """The network's log-odds of affected -> calibrated ones at the site; a number, an array or a tensor."""
        return calibrated_log_odds(raw, self.temperature, prior_shift(self.source_share, self.prevalence))
