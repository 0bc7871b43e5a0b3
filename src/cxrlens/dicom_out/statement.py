"""The statement on one image, in the same words in report and capture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydicom.sr.coding import Code

from cxrlens.dicom_out.codes import NO_RETAKE_SUGGESTED, SUGGESTED_RETAKE, SUGGESTED_REVIEW
from cxrlens.errors import ArgumentError
from cxrlens.inspection.record import ImageRecord
from cxrlens.models.calibration import Triage

NOTICE: Final = "For research; not a medical device."

_CODES: Final[dict[Triage, Code]] = {
    "retake": SUGGESTED_RETAKE,
    "review": SUGGESTED_REVIEW,
    "pass": NO_RETAKE_SUGGESTED,
}


@dataclass(frozen=True)
class Statement:
    """The statement on one image.

    Attributes:
        suggestion: as a code; its meaning are the words that a reader sees.
        probability: that the image shows a foreign object, in [0, 1].
        reason: of the suggestion, a sentence without its full stop.
        has_findings: True where there is something to point at; of an image that passes the map shows where the network
            looked, not that something is there.
    """

    suggestion: Code
    probability: float
    reason: str
    has_findings: bool

    @property
    def words(self) -> str:
        """The suggestion in small letters."""
        return str(self.suggestion.meaning).lower()


def statement_of(image: ImageRecord) -> Statement:
    """The statement that a result makes.

    Raises:
        ArgumentError: when the image has no result.
    """
    if image.probability is None or image.decision is None:
        raise ArgumentError(f"{image.name}: has no result ({image.reason})")
    triage = image.triage or ("retake" if image.decision == "affected" else "pass")
    return Statement(_CODES[triage], float(f"{image.probability:.6g}"), image.reason.rstrip("."), triage != "pass")
