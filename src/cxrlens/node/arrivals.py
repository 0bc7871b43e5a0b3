"""Images that wait to be screened, in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path


class Arrivals:
    """A queue between the threads that receive and the one that screens.

    Args:
        left: images of an earlier run, which come first.
    """

    def __init__(self, left: Iterable[Path] = ()) -> None:
        self._files = deque(left)
        self._changed = threading.Condition()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._files)

    def put(self, file: Path) -> None:
        """Have an image screened."""
        with self._changed:
            self._files.append(file)
            self._changed.notify()

    def close(self) -> None:
        """Wake up who waits."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def take(self, most: int, seconds: float) -> list[Path]:
        """The next images, at most so many; none where none comes within so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._files or self._is_closed, seconds)
            return [self._files.popleft() for _ in range(min(most, len(self._files)))]
