"""The model card: what a model file says of itself, whatever runs the network."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cxrlens.errors import NotAssessedError, UsageError
from cxrlens.inputs.dataset.layouts import CLASS_NAMES
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Pixels
from cxrlens.models.calibration import Calibration, Triage
from cxrlens.models.distance import ImageDistance, TrainingDistance
from cxrlens.validation import first_fault

CARD_KEY = "cxrlens"
"""Names the card in the metadata of a model file."""


NOT_ASSESSED = (
    "the model gives no number for this image, so it is neither normal nor affected; look at the model with "
    "'cxrlens doctor --model'"
)


class ModelCard(BaseModel):
    """A model file's account of itself; everything needed to use the weights rightly.

    Attributes:
        format: version of this card's layout. Fields that a version of cxrlens does not know are refused by it, and
            written only where they are used; the number rises when a known field changes its meaning.
        architecture: a name of the registry.
        classes: class name of each logit: (normal, affected), or affected alone.
        preprocessing: what is done to a radiograph before the network sees it.
        threshold: probability of *affected* (calibrated, where there is a calibration) from which on an image is called
            affected.
        training: recipe, data and seed it was trained with.
        dev_scores: scores on the dev images when the model was saved.
        calibration: how probabilities are corrected, and what was found of the thresholds; None = not calibrated.
        distance: how far images lie from those that the model knows; None = that cannot be told.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    architecture: str
    classes: tuple[str, ...] = ("normal", "affected")
    preprocessing: Preprocessing
    threshold: float = Field(default=0.5, ge=0, le=1, allow_inf_nan=False)
    training: dict[str, Any] = Field(default_factory=dict)
    dev_scores: dict[str, float | None] = Field(default_factory=dict)
    calibration: Calibration | None = None
    distance: TrainingDistance | None = None
    cxrlens_version: str = ""
    created: str = ""

    @field_validator("classes")
    @classmethod
    def _classes_are_in_order(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if classes not in (CLASS_NAMES, CLASS_NAMES[-1:]):
            raise ValueError(f"they should be {', '.join(CLASS_NAMES)}, in this order, or {CLASS_NAMES[-1]} alone")
        return classes

    @model_validator(mode="after")
    def _thresholds_are_in_order(self) -> ModelCard:
        if self.calibration is not None and self.calibration.review_threshold > self.threshold:
            raise ValueError("calibration.review_threshold should not lie above threshold")
        return self

    def decision(self, probability: float) -> str:
        """ "affected" from the threshold on, else "normal".

        Raises:
            NotAssessedError: when the probability is no number in [0, 1].
        """
        return CLASS_NAMES[_assessed(probability) >= self.threshold]

    def triage(self, probability: float) -> Triage | None:
        """ "retake" from the threshold on, "review" from the calibration's on, else "pass"; None without one.

        Raises:
            NotAssessedError: when the probability is no number in [0, 1].
        """
        probability = _assessed(probability)
        if self.calibration is None:
            return None
        if probability >= self.threshold:
            return "retake"
        return "review" if probability >= self.calibration.review_threshold else "pass"

    def distance_of(self, grey: Pixels) -> ImageDistance | None:
        """How far a prepared image [height, width] in [0, 1], padding included, lies from those that the model knows.

        None where the model cannot tell.
        """
        return None if self.distance is None else self.distance.of(self.preprocessing.shown(grey))

    def to_metadata(self) -> str:
        """The card as JSON text for a file's metadata; `parse_card` reads it."""
        unused: dict[str, Any] = {name: True for name in ("calibration", "distance") if getattr(self, name) is None}
        if self.calibration is not None and self.calibration.scores is None:
            unused["calibration"] = {"scores"}
        if self.distance is not None and self.distance.framing is None:
            unused["distance"] = {"framing"}
        return self.model_dump_json(exclude=unused)


def _assessed(probability: float) -> float:
    """The probability, which has to be one: a NaN lies below every threshold, and would pass."""
    if not 0 <= probability <= 1:
        raise NotAssessedError(NOT_ASSESSED)
    return probability


def parse_card(text: str, file: str) -> ModelCard:
    """The card of a file's metadata.

    Raises:
        UsageError: when it is none, or of a later version; ``file`` names the file.
    """
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        raise UsageError(f"{file}: its model card cannot be read ({first_fault(error)}); update cxrlens?") from error
