"""A function applied to many tasks by processes that may die or hang on one of them."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from types import FrameType
from typing import Any, TypeVar

from cxrlens.inputs.readers.codecs import let_codecs_end_this_process

Task = TypeVar("Task")
Result = TypeVar("Result")

SECONDS = 120.0
"""How long one task may take in a process of its own."""

_HAS_TIMERS = hasattr(signal, "setitimer")  # not on Windows
_function: Callable[[Any], Any] | None = None  # of a worker process
_seconds = SECONDS  # likewise


def in_order(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: int,
    lost: Callable[[Task, str], Result],
) -> Iterator[Result]:
    """The results of the tasks in their order, made by ``workers`` processes; 0 makes them in this one.

    A process that dies, or is at one task for more than `SECONDS` and is therefore killed, costs nothing but that
    task. (torch's DataLoader ends with its first process.) In this process a task is broken off after the same time
    where the system has timers and this is the main thread, but not before a library at work on it comes back to
    Python.

    Args:
        tasks: taken as they are needed, at most two a process ahead of the result that is waited for.
        lost: gives the result of such a task, and is told why in words that go on after a file's name.

    Raises:
        Exception: whatever the function raises.
    """
    if not workers:
        for task in tasks:
            yield _here(function, task, lost)
        return
    coming, taken, begun = iter(tasks), deque[Task](), deque[tuple[Task, Future[Result]]]()
    pool = process_pool(function, workers)
    try:
        while True:
            try:
                while len(begun) < 2 * workers:
                    taken.extend(itertools.islice(coming, 1 - len(taken)))
                    if not taken:
                        break
                    begun.append((taken[0], pool.submit(call, taken[0])))
                    taken.popleft()
                if not begun:
                    return
                result = begun[0][1].result()
            except BrokenProcessPool:  # one of those begun broke it; each is done again, alone
                pool.shutdown(wait=False)
                for task, future in begun:
                    kept = future.done() and future.exception() is None
                    yield future.result() if kept else _alone(function, task, lost)
                begun.clear()
                pool = process_pool(function, workers)
                continue
            begun.popleft()
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _TookTooLong(BaseException):
    """Not an Exception, since libraries and readers turn these into their own."""


def _here(function: Callable[[Task], Result], task: Task, lost: Callable[[Task, str], Result]) -> Result:
    main = threading.current_thread() is threading.main_thread()
    if not (_HAS_TIMERS and main) or signal.getitimer(signal.ITIMER_REAL)[0]:  # somebody else's timer is running
        return function(task)

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise _TookTooLong

    before = signal.signal(signal.SIGALRM, end)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            return function(task)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _TookTooLong:
        return lost(task, _too_long())
    finally:
        signal.signal(signal.SIGALRM, before)


def _too_long() -> str:
    return f"reading it took longer than {SECONDS:.0f} s"


def _alone(function: Callable[[Task], Result], task: Task, lost: Callable[[Task, str], Result]) -> Result:
    begin = time.monotonic()
    with process_pool(function, 1) as pool:
        try:
            return pool.submit(call, task).result()
        except BrokenProcessPool:
            late = time.monotonic() - begin > SECONDS
    if late:
        return lost(task, _too_long())
    return lost(task, "reading it ended the process (badly damaged, or too large for the memory)")


def process_pool(
    function: Callable[[Any], Any],
    workers: int,
    *,
    seconds: float | None = None,
    context: BaseContext | None = None,
) -> ProcessPoolExecutor:
    """A pool whose processes answer ``submit(call, task)`` with the function of the task.

    They let codecs end them, leave an interrupt to this process and end with it. The whole pool is broken when one of
    them dies.

    Args:
        seconds: how long one task may take before its process is killed; by default `SECONDS`.
        context: how processes are started.
    """
    limit = SECONDS if seconds is None else seconds
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(function, limit))


def _begin(function: Callable[[Any], Any], seconds: float) -> None:
    global _function, _seconds
    _function, _seconds = function, seconds
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the main process's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which the pool sends; not whatever the main process does on it
    if "torch" in sys.modules:  # not imported for this alone
        sys.modules["torch"].set_num_threads(1)
    let_codecs_end_this_process()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def call(task: Any) -> Any:
    """In a process of a `process_pool`: its function of the task."""
    assert _function is not None
    if _HAS_TIMERS:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, _seconds)  # ends the process, also in the middle of a codec
    try:
        return _function(task)
    finally:
        if _HAS_TIMERS:
            signal.setitimer(signal.ITIMER_REAL, 0)


def default_workers() -> int:
    """Loader processes where the user names no number: half the processors, at most 8."""
    return min(8, max(1, (os.cpu_count() or 2) // 2))
