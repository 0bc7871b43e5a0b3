"""What readers' verdicts on one image come to: one verdict or a conflict, and the label to learn from, or none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, TypeAlias

from cxrlens.inputs.dataset.layouts import AFFECTED, CLASS_NAMES, NORMAL
from cxrlens.screening.reasons import Reasons
from cxrlens.screening.store.verdicts import KeptVerdict

Resolved: TypeAlias = Literal["accept", "retake", "conflict"]


def resolved(verdicts: Collection[KeptVerdict]) -> Resolved:
    """What the standing verdicts of an image's readers, one or more, come to.

    What most of them say; as many for the one as for the other are a conflict, until a reader agrees or a further one
    decides.
    """
    retakes = sum(kept.verdict == "retake" for kept in verdicts)
    if 2 * retakes == len(verdicts):
        return "conflict"
    return "retake" if 2 * retakes > len(verdicts) else "accept"


def label_of(verdicts: Collection[KeptVerdict], reasons: Reasons) -> str:
    """The class of an image by its readers' standing verdicts; "" where it has none to learn from.

    A retake is "affected" for a reason that says so, and without a reason, as earlier versions gave it. Where those who
    want a retake give reasons of both kinds, what the image shows is open.
    """
    outcome = resolved(verdicts)
    if outcome == "conflict":
        return ""
    if outcome == "accept":
        return CLASS_NAMES[NORMAL]
    return CLASS_NAMES[AFFECTED] if all(shows_object(kept, reasons) for kept in _saying(verdicts, "retake")) else ""


def shows_object(kept: KeptVerdict, reasons: Reasons) -> bool:
    """True of a retake for a foreign object."""
    means_affected = {"", *(reason.id for reason in reasons if reason.affected)}
    return kept.verdict == "retake" and kept.reason in means_affected


def drawn_by(verdicts: Sequence[KeptVerdict]) -> KeptVerdict | None:
    """The retake whose drawn objects count: of those who drew any, the last one's; None where nobody did."""
    return next((kept for kept in reversed(_saying(verdicts, "retake")) if kept.marks), None)


def _saying(verdicts: Collection[KeptVerdict], verdict: str) -> list[KeptVerdict]:
    return [kept for kept in verdicts if kept.verdict == verdict]
