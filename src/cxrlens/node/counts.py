"""What a node has done since it began."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Literal, TypeAlias

Event: TypeAlias = Literal[
    "new", "repeated", "corrected", "refused", "no_space", "failed", "screened", "unreadable", "left_out", "delivered"
]


class Counts:
    """Counts events; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, event: Event, number: int = 1) -> None:
        """Count an event so many times."""
        with self._lock:
            self._counts[event] += number

    def __getitem__(self, event: Event) -> int:
        with self._lock:
            return self._counts[event]
