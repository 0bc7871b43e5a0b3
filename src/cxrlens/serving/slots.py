"""So many of a kind at once, and a bound on those that wait."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException

from cxrlens.serving.problems import RETRY


class Slots:
    """Slots that requests take and release; one too many is told to come again.

    Args:
        count: slots.
        waiting: requests that may wait for one.
        seconds: for which a request may wait.
    """

    def __init__(self, count: int, *, waiting: int, seconds: float = 5.0) -> None:
        self._free = asyncio.Semaphore(count)
        self._waiting, self._most, self._seconds = 0, waiting, seconds

    async def take(self) -> None:
        """Wait for a slot.

        Raises:
            HTTPException: 503, when too many wait, or it takes too long.
        """
        if self._free.locked() and self._waiting >= self._most:
            raise _busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._free.acquire()
        except TimeoutError:
            raise _busy() from None
        finally:
            self._waiting -= 1

    def release(self) -> None:
        """Give a slot back."""
        self._free.release()


def _busy() -> HTTPException:
    return HTTPException(503, "the server has too much to do; try again in a moment", RETRY)
