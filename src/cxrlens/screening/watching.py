"""Following sources: which files are new or changed, and have come to rest."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from cxrlens.errors import UsageError
from cxrlens.screening.sources import Sources

# Size and times of change, of its content and of its rights; or -1 and what looking at the file failed with.
_State: TypeAlias = tuple[int, int, int]


class Watch:
    """Gives each file once it has stood still for an interval, and again when it has changed.

    Args:
        interval: seconds.

    Attributes:
        failures: why folders could not be searched in the last poll, a sentence each; what was known of their files
            stays known.
    """

    def __init__(self, sources: Sources, interval: float) -> None:
        self.sources = sources
        self.interval = interval
        self._given: dict[str, _State] = {}
        self._moving: dict[str, tuple[_State, float]] = {}  # and since when it is so
        self._is_first = True
        self.failures: list[str] = []

    def poll(self) -> Iterator[Path]:
        """The files to be taken now.

        In the first poll, a file whose times of change both lie an interval back stands still; later ones are
        compared with the poll before, since clocks of servers go wrong.
        """
        given, moving = dict[str, _State](), dict[str, tuple[_State, float]]()
        failures: list[str] = []
        for source in self.sources.given:
            try:
                for path in self.sources.files_of(source):
                    if self._is_to_be_taken(path, given, moving):
                        yield path
            except UsageError as error:  # a share that is gone for a while
                failures.append(str(error))
                within = f"{source}{os.sep}"
                given |= {name: state for name, state in self._given.items() if name.startswith(within)}
                moving |= {name: since for name, since in self._moving.items() if name.startswith(within)}
        self._given, self._moving, self._is_first, self.failures = given, moving, False, failures

    def settled(self) -> None:
        """All that the last poll gave is in the store."""

    def _is_to_be_taken(self, path: Path, given: dict[str, _State], moving: dict[str, tuple[_State, float]]) -> bool:
        """True where a file has come to rest; notes it in one of the two."""
        name, now = str(path), time.monotonic()
        state, age = _state_of(path)
        if self._given.get(name) == state:
            given[name] = state
            return False
        before, since = self._moving.get(name, (None, now))
        since = since if before == state else now
        if now - since >= self.interval or (self._is_first and age >= self.interval):
            given[name] = state
            return True
        moving[name] = state, since
        return False


def _state_of(path: Path) -> tuple[_State, float]:
    """The file's state, and the seconds since it last changed."""
    try:
        found = path.stat()
    except OSError as error:
        return (-1, error.errno or 0, 0), 0.0
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns), time.time() - max(found.st_mtime, found.st_ctime)
