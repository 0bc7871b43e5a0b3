"""Following sources: which files are new or changed, and have come to rest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from cxrlens.screening.sources import Sources

_State: TypeAlias = tuple[int, int]  # size and time of change, or -1 and what looking at the file failed with


class Watch:
    """Gives each file once it has stood still for an interval, and again when it has changed.

    Args:
        interval: seconds.
    """

    def __init__(self, sources: Sources, interval: float) -> None:
        self.sources = sources
        self.interval = interval
        self._given: dict[str, _State] = {}
        self._moving: dict[str, tuple[_State, float]] = {}  # and since when it is so
        self._is_first = True

    def look(self) -> Iterator[Path]:
        """The files to be taken now.

        In the first look, a file whose times of change both lie an interval back stands still; later ones are
        compared with the look before, since clocks of servers go wrong.

        Raises:
            UsageError: when a folder cannot be searched.
        """
        given, moving = dict[str, _State](), dict[str, tuple[_State, float]]()
        for path in self.sources.files():
            name, now = str(path), time.monotonic()
            state, age = _state_of(path)
            if self._given.get(name) == state:
                given[name] = state
                continue
            before, since = self._moving.get(name, (None, now))
            since = since if before == state else now
            if now - since >= self.interval or (self._is_first and age >= self.interval):
                given[name] = state
                yield path
            else:
                moving[name] = state, since
        self._given, self._moving, self._is_first = given, moving, False


def _state_of(path: Path) -> tuple[_State, float]:
    """The file's state, and the seconds since it last changed."""
    try:
        found = path.stat()
    except OSError as error:
        return (-1, error.errno or 0), 0.0
    return (found.st_size, found.st_mtime_ns), time.time() - max(found.st_mtime, found.st_ctime)
