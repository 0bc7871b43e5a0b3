"""A bound on the lines of a log, whatever clients do."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator

SECONDS = 60.0
LINES = 1000
"""Lines of a logger in so many seconds; of warnings and errors `WARNINGS` each."""
WARNINGS = 60

_LOGGERS = ("asyncio", "uvicorn.error", "cxrlens.serving.metrics", "cxrlens.serving.connections")


class RateLimit(logging.Filter):
    """Lets so many records of a level pass in a minute; the first one after that says how many did not."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._until = 0.0
        self._passed = Counter[int]()
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        with self._lock:
            now = time.monotonic()
            if now >= self._until:
                self._until = now + SECONDS
                self._passed.clear()
                if self._left_out:
                    record.msg, record.args = f"{record.getMessage()} ({self._left_out} lines were left out)", None
                    self._left_out = 0
            self._passed[record.levelno] += 1
            most = LINES if record.levelno <= logging.INFO else WARNINGS
            if self._passed[record.levelno] > most:
                self._left_out += 1
                return False
            return True


@contextlib.contextmanager
def limited_log() -> Iterator[None]:
    """What requests write to the log is limited inside the block, for each logger apart."""
    limits = [(logging.getLogger(name), RateLimit()) for name in _LOGGERS]
    for logger, limit in limits:
        logger.addFilter(limit)
    try:
        yield
    finally:
        for logger, limit in limits:
            logger.removeFilter(limit)
