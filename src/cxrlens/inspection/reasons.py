"""The reason of a decision, in words."""

from __future__ import annotations

from cxrlens.models.card import ModelCard


def reason_of(card: ModelCard, probability: float) -> str:
    """One sentence part, such as "probability 0.93 is at or above the retake threshold 0.62".

    Raises:
        NotAssessedError: when the probability is no number in [0, 1].
    """
    card.decision(probability)
    if card.calibration is None:
        return _compared(probability, card.threshold, "threshold")
    review = card.calibration.review_threshold
    triage = card.triage(probability)
    if triage == "retake" or review == card.threshold:
        return _compared(probability, card.threshold, "retake threshold")
    if triage == "pass":
        return _compared(probability, review, "review threshold")
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
