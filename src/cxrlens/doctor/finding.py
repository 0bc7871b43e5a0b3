"""One line of a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class DoctorFinding:
    """One thing that was looked at, and its state.

    Attributes:
        section: what it belongs to.
        name: of what was looked at.
        status: "ok"; "note": all that does not need it works; "problem": it has to be mended first.
        detail: what was found.
        remedy: what to do about it; None when there is nothing to do.
    """

    section: str
    name: str
    status: Status
    detail: str
    remedy: str | None = None
