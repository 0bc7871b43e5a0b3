"""The reason of a decision, in words."""

from __future__ import annotations

from collections.abc import Sequence

from cxrlens.models.calibration import Triage
from cxrlens.models.card import ModelCard


def triage_of(card: ModelCard, probability: float, remarks: Sequence[str] = ()) -> Triage | None:
    """The triage of a calibrated model, None by another; an image with remarks never passes unreviewed."""
    triage = card.triage(probability)
    return "review" if triage == "pass" and remarks else triage


def reason_of(card: ModelCard, probability: float, remarks: Sequence[str] = ()) -> str:
    """One sentence part, such as "probability 0.93 is at or above the retake threshold 0.62".

    Where an image is reviewed for its remarks alone, they are part of it.
    """
    if card.calibration is None:
        return _compared(probability, card.threshold, "threshold")
    review = card.calibration.review_threshold
    triage = card.triage(probability)
    if triage == "retake":
        return _compared(probability, card.threshold, "retake threshold")
    if triage == "pass":
        below = _compared(probability, review, "retake threshold" if review == card.threshold else "review threshold")
        return f"{below}, but the image has remarks: {' '.join(remarks).rstrip('.')}" if remarks else below
    below = _compared(probability, card.threshold, "retake threshold")
    return f"{below}, but at or above the review threshold {_short(review, probability)}"


def _compared(probability: float, threshold: float, name: str) -> str:
    where = "at or above" if probability >= threshold else "below"
    return f"probability {_short(probability, threshold)} is {where} the {name} {_short(threshold, probability)}"


def _short(value: float, other: float) -> str:
    """Three decimals, or as many as it takes to tell it from the other value, and from 0 and 1 where it is neither."""
    taken = {_rounded(bound, 3) for bound in (0.0, 1.0) if bound != value}
    for decimals in range(3, 17):
        text = _rounded(value, decimals)
        if text not in taken and (text != _rounded(other, decimals) or value == other):
            return text
    return repr(value)


def _rounded(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".")
