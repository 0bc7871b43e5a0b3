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
            looked, not that something is there. So it does of one that is to be reviewed for its doubts alone.
        remarks: on the picture, beyond those that are the reason, as sentences.
    """

    suggestion: Code
    probability: float
    reason: str
    has_findings: bool
    remarks: str = ""

    @property
    def words(self) -> str:
        """The suggestion in small letters."""
        return str(self.suggestion.meaning).lower()


def statement_of(image: ImageRecord, review_threshold: float | None = None) -> Statement:
    """The statement that a result makes.

    Args:
        review_threshold: of the model, from which on an image is reviewed for what the network sees; None for a model
            that is not calibrated.

    Raises:
        ArgumentError: when the image has no result, or cannot be judged.
    """
    if image.probability is None or image.decision is None or image.triage == "not_assessable":
        raise ArgumentError(f"{image.name}: has no result ({image.reason})")
    is_affected = image.decision == "affected"
    triage = image.triage or ("retake" if is_affected else "review" if image.doubts else "pass")
    is_seen = is_affected or (image.triage == "review" and image.probability >= (review_threshold or 0))
    has_findings = triage != "pass" and (is_seen or not image.doubts)
    doubts, reason = " ".join(image.doubts), image.reason.rstrip(".")
    is_said = bool(doubts) and reason.endswith(doubts.rstrip("."))
    remarks = " ".join(remark for remark in image.remarks if not (is_said and remark in image.doubts))
    return Statement(_CODES[triage], float(f"{image.probability:.6g}"), reason, has_findings, remarks)
