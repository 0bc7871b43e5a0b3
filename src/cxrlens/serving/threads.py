"""Threads of their own for what may wait for a disk or a lock, so that it holds up nothing but its own kind."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from starlette.exceptions import HTTPException

from cxrlens.serving.problems import RETRY

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


class Threads:
    """So many threads for one kind of request, and a bound on the requests that wait for one.

    Args:
        kind: names the threads.
        count: threads.
        waiting: requests that may wait; one more is told to come again.
        seconds: for which a request may wait before it is told to come again.
    """

    def __init__(self, kind: str, count: int, *, waiting: int, seconds: float = 5.0) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix=kind)
        self._free = asyncio.Semaphore(count)
        self._waiting, self._most, self._seconds = 0, waiting, seconds

    def __call__(self, function: Callable[Parameters, Answer]) -> Callable[Parameters, Awaitable[Answer]]:
        """A route's function, called in one of the threads."""

        @functools.wraps(function)
        async def answer(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
            await self._thread_is_free()
            call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
            done = asyncio.get_running_loop().run_in_executor(self._executor, call)
            done.add_done_callback(lambda _: self._free.release())
            return await asyncio.shield(done)

        return answer

    def close(self) -> None:
        """End the threads as soon as they have nothing to do."""
        self._executor.shutdown(wait=False)

    async def _thread_is_free(self) -> None:
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


def _busy() -> HTTPException:
    return HTTPException(503, "the server has too much to do; try again in a moment", RETRY)
