"""Threads of their own for what may wait for a disk or a lock, so that it holds up nothing but its own kind."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from cxrlens.serving.slots import Slots

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
        self._slots = Slots(count, waiting=waiting, seconds=seconds)

    def __call__(self, function: Callable[Parameters, Answer]) -> Callable[Parameters, Awaitable[Answer]]:
        """A route's function, called in one of the threads."""

        @functools.wraps(function)
        async def answer(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
            await self._slots.take()
            call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
            done = asyncio.get_running_loop().run_in_executor(self._executor, call)
            done.add_done_callback(lambda _: self._slots.release())
            return await asyncio.shield(done)

        return answer

    def close(self) -> None:
        """End the threads as soon as they have nothing to do."""
        self._executor.shutdown(wait=False)
