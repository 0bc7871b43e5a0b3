"""How far a screening is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cxrlens.errors import UsageError
from cxrlens.screening.screen import Screening
from cxrlens.screening.sources import Sources


@dataclass(frozen=True)
class Progress:
    """The progress of a screening.

    Attributes:
        done: files that were looked at, those of an earlier run among them.
        total: files there are; None while that is not known.
        rate: images a second that the network has seen so far.
        seconds_left: None while that is not known.
    """

    done: int
    total: int | None
    rate: float
    seconds_left: float | None


class Counting:
    """The number of files, counted beside the work."""

    def __init__(self, sources: Sources) -> None:
        self.total: int | None = None
        self._sources = sources
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        try:
            self.total = sum(1 for _ in self._sources.files())
        except UsageError:  # the screening itself tells
            self.total = None


class Reporter:
    """Tells of a screening's progress; is called after each file.

    Args:
        count: of the files, where they are counted.
    """

    def __init__(
        self, screening: Screening, progress: Callable[[Progress], None] | None, count: Counting | None = None
    ) -> None:
        self._screening = screening
        self._progress = progress
        self._count = count
        self._done = 0
        self._began = time.monotonic()

    def __call__(self) -> None:
        self._done += 1
        if not self._progress:
            return
        seconds = max(time.monotonic() - self._began, 1e-9)
        total = self._count.total if self._count else None
        left = None if total is None else max(total - self._done, 0) * seconds / self._done
        self._progress(Progress(self._done, total, self._screening.computed / seconds, left))
