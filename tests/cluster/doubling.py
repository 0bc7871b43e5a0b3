"""A function that doubles numbers, which workers find as a module; some numbers do something else."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrlens.errors import UsageError

ENDS, ENDS_ONCE, SLOW, REFUSED = 1001, 1002, 1003, 1004


class Doubling:
    """Notes each block that it is at as a file."""

    def __init__(self, folder: Path, facts: object) -> None:
        self.facts = facts
        self._folder = folder

    def __call__(self, block: Sequence[int], shared: int) -> list[int]:
        note = self._folder / f"{time.time_ns()}-{os.getpid()}"
        unfinished = note.with_name(f".{note.name}-{threading.get_ident()}")  # another thread may end this process
        unfinished.write_text(",".join(map(str, block)))
        unfinished.rename(note)
        if ENDS in block or (ENDS_ONCE in block and len(blocks_with(self._folder, ENDS_ONCE)) == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if REFUSED in block:
            raise UsageError("1004 is refused")
        if SLOW in block:
            time.sleep(1.0)
        return [shared * number for number in block]


def blocks_with(folder: Path, number: int) -> list[list[int]]:
    """The blocks with a number that workers were at, in the order of time."""
    found = (list(map(int, note.read_text().split(","))) for note in _notes(folder))
    return [block for block in found if number in block]


def processes(folder: Path) -> set[str]:
    """Those of workers that were at something."""
    return {note.name.partition("-")[2] for note in _notes(folder)}


def _notes(folder: Path) -> list[Path]:
    return [note for note in sorted(folder.iterdir()) if not note.name.startswith(".")]


@dataclass(frozen=True)
class MakeDoubling:
    """Makes it; ``facts`` "process" differ from worker to worker."""

    folder: Path
    facts: str = "same"

    def __call__(self) -> Doubling:
        if self.facts == "none":
            raise UsageError("has no numbers")
        return Doubling(self.folder, os.getpid() if self.facts == "process" else self.facts)
