"""What is said of images that were read and look wrong, or were not taken as their files say."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from cxrlens.inputs.readers import Note, doubts
from cxrlens.inputs.unreadable import log_first

log = logging.getLogger(__name__)


def to_json(remarks: Iterable[str]) -> list[str | dict[str, str]]:
    """Remarks as JSON can hold them with their kind: a `Note` as {"note": text}, a doubt as its text."""
    return [{"note": str(remark)} if isinstance(remark, Note) else remark for remark in remarks]


def from_json(kept: Iterable[str | dict[str, str]]) -> tuple[str, ...]:
    """The remarks that `to_json` was given."""
    return tuple(remark if isinstance(remark, str) else Note(remark["note"]) for remark in kept)


def remarked(name: object, remarks: Sequence[str]) -> str:
    """An image's remarks as one line that names it; a `Note` where all of them are."""
    line = f"{name}: {' '.join(remarks)}"
    return line if doubts(remarks) else Note(line)


def report_remarked(lines: Sequence[str]) -> None:
    """Log how many images have remarks, and the first of their lines, see `remarked`; nothing where there are none.

    Those that are in doubt come first, and apart from those of which it is only noted how they were taken.
    """
    doubted = doubts(lines)
    noted = [line for line in lines if isinstance(line, Note)]
    if doubted:
        log.warning("images with remarks, which look wrong or may not be displayed as meant: %d", len(doubted))
        log_first(doubted)
    if noted:
        log.warning("images with notes, which were not taken as their files say, and surely rightly: %d", len(noted))
        log_first(noted)
