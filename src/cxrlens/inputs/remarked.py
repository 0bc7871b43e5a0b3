"""What is said of images that were read and look wrong, or were not taken as their files say."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from cxrlens.inputs.readers import Note, Refusal, doubts, refusals
from cxrlens.inputs.unreadable import log_first

log = logging.getLogger(__name__)


_KINDS: dict[str, type[Note] | type[Refusal]] = {"note": Note, "refusal": Refusal}


def to_json(remarks: Iterable[str]) -> list[str | dict[str, str]]:
    """Remarks as JSON can hold them with their kind: {"note": text}, {"refusal": text}, and a doubt as its text."""
    return [
        next(({kind: str(remark)} for kind, made in _KINDS.items() if isinstance(remark, made)), remark)
        for remark in remarks
    ]


def from_json(kept: Iterable[str | dict[str, str]]) -> tuple[str, ...]:
    """The remarks that `to_json` was given."""
    return tuple(
        remark if isinstance(remark, str) else next(_KINDS[kind](text) for kind, text in remark.items())
        for remark in kept
    )


def remarked(name: object, remarks: Sequence[str]) -> str:
    """An image's remarks as one line that names it: a `Refusal` where one is, a `Note` where all of them are."""
    line = f"{name}: {' '.join(remarks)}"
    if refusals(remarks):
        return Refusal(line)
    return line if doubts(remarks) else Note(line)


def report_remarked(lines: Sequence[str]) -> None:
    """Log how many images have remarks, and the first of their lines, see `remarked`; nothing where there are none.

    Those that cannot be judged come first, then those in doubt, then those of which it is only noted how they were
    taken.
    """
    refused = refusals(lines)
    doubted = doubts(lines)
    noted = [line for line in lines if isinstance(line, Note)]
    if refused:
        log.warning("images that cannot be judged as frontal chest radiographs: %d", len(refused))
        log_first(refused)
    if doubted:
        log.warning("images with remarks, which look wrong or may not be displayed as meant: %d", len(doubted))
        log_first(doubted)
    if noted:
        log.warning("images with notes, which were not taken as their files say, and surely rightly: %d", len(noted))
        log_first(noted)
