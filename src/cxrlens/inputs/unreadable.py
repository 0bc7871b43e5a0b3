"""The list of images that could not be read, beside a command's results."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from cxrlens.errors import UnreadableImageError
from cxrlens.files import printable, refuse_folder, write_text
from cxrlens.wording import counted

log = logging.getLogger(__name__)

_SHOWN = 5


def list_unreadable(reasons: Sequence[str], out: Path, name: str = "unreadable.txt") -> Path:
    """Write the sentences to a file of that name in ``out``, a file a line; where there are none, an old list goes."""
    path = out / name
    if reasons:
        write_text(path, "".join(printable(reason) + "\n" for reason in reasons))
    else:
        refuse_folder(path)
        path.unlink(missing_ok=True)
    return path


def report_unreadable(reasons: Sequence[str], out: Path, name: str = "unreadable.txt") -> None:
    """Write the list, see `list_unreadable`, and log the first of its lines."""
    path = list_unreadable(reasons, out, name)
    if not reasons:
        return
    left_out = counted(
        len(reasons),
        "image could not be read and was left out; it is",
        "images could not be read and were left out; they are",
    )
    log.warning("%s listed in %s", left_out, path)
    log_first(reasons)


def log_first(lines: Sequence[str]) -> None:
    """Log the first of many lines, below the sentence that says how many there are."""
    for line in lines[:_SHOWN]:
        log.warning("  %s", line)


def single_unreadable(reason: str) -> UnreadableImageError:
    """The error of a command whose only image cannot be read."""
    return UnreadableImageError(f"{reason}; copy the file again from its source, or give another image")
