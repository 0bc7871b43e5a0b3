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
from typing import Any, TypeVar

from cxrlens.data.readers.codecs import let_codecs_end_this_process

Task = TypeVar("Task")
Result = TypeVar("Result")

SECONDS = 120.0
"""How long one task may take in a process of its own."""

_function: Callable[[Any], Any] | None = None  # of a worker process


def in_order(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: int,
    lost: Callable[[Task, str], Result],
) -> Iterator[Result]:
    """The results of the tasks in their order, made by ``workers`` processes; 0 makes them in this one.

    A process that dies, or is at one task for more than `SECONDS` and is therefore killed, costs nothing but that
    task. (torch's DataLoader ends with its first process.)

    Args:
        tasks: taken as they are needed, at most two a process ahead of the result that is waited for.
        lost: gives the result of such a task, and is told why in words that go on after a file's name.

    Raises:
        Exception: whatever the function raises.
    """
    if not workers:
        yield from map(function, tasks)
        return
    coming, taken, begun = iter(tasks), deque[Task](), deque[tuple[Task, Future[Result]]]()
    pool = _pool(function, workers)
    try:
        while True:
            try:
                while len(begun) < 2 * workers:
                    taken.extend(itertools.islice(coming, 1 - len(taken)))
                    if not taken:
                        break
                    begun.append((taken[0], pool.submit(_call, taken[0])))
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
                pool = _pool(function, workers)
                continue
            begun.popleft()
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _alone(function: Callable[[Task], Result], task: Task, lost: Callable[[Task, str], Result]) -> Result:
    begin = time.monotonic()
    with _pool(function, 1) as pool:
        try:
            return pool.submit(_call, task).result()
        except BrokenProcessPool:
            late = time.monotonic() - begin > SECONDS
    if late:
        return lost(task, f"reading it took longer than {SECONDS:.0f} s")
    return lost(task, "reading it ended the process (badly damaged, or too large for the memory)")


def _pool(function: Callable[[Any], Any], workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, initializer=_begin, initargs=(function,))


def _begin(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the main process's to handle
    if "torch" in sys.modules:  # not imported for this alone
        sys.modules["torch"].set_num_threads(1)
    let_codecs_end_this_process()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(task: Any) -> Any:
    assert _function is not None
    limited = hasattr(signal, "setitimer")  # not on Windows
    if limited:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)  # ends the process, also in the middle of a codec
    try:
        return _function(task)
    finally:
        if limited:
            signal.setitimer(signal.ITIMER_REAL, 0)
