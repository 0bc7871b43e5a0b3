"""Functions applied to tasks in processes that may die or hang: each costs its own task alone.

Each process has a pipe and a thread of its own, and shares neither a queue nor a lock with others: whatever ends it, at
any moment, leaves the rest at work (docs/decisions/reading-pool.md).
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from types import FrameType
from typing import Any, Generic, Self, TypeVar

from cxrlens.errors import CxrlensError
from cxrlens.inputs.readers.codecs import let_codecs_end_this_process
from cxrlens.inputs.readers.memory import limit_memory, limited_memory
from cxrlens.process import isolated_children

Task = TypeVar("Task")
Result = TypeVar("Result")

SECONDS = 120.0
"""How long one task may take."""

_ATTEMPTS = 2  # a process may have been ended for the memory that another one took
_PAUSE = 0.2  # seconds between two attempts to start a process
_HAS_TIMERS = hasattr(signal, "setitimer")  # not on Windows
_starting = threading.Lock()  # a process started meanwhile would hold the other's end of the pipe open


class LostTaskError(Exception):
    """A task without a result; the message goes on after a file's name."""


class NoProcessError(CxrlensError):
    """The system gives no further process, which is no task's fault: memory, descriptors or processes are short."""


class WorkerProcess(Generic[Task, Result]):
    """A process that applies a function to one task after the other, replaced when it has ended.

    It searches no folder but those of installed packages and PYTHONPATH for modules, lets codecs end it, leaves an
    interrupt to this process and ends with it. Whatever goes wrong between it and this process ends it, so that no
    answer is taken for that of another task, and the next task begins with a new one.

    Args:
        function: picklable where the context does not fork.
        seconds: how long one task may take before its process is killed, also within a library; by default `SECONDS`.
        context: how processes are started.
        patience: seconds for which it is tried to start a process before a task is given up.
    """

    def __init__(
        self,
        function: Callable[[Task], Result],
        *,
        seconds: float | None = None,
        context: BaseContext | None = None,
        patience: float = 10.0,
    ) -> None:
        self._function = function
        self._seconds = SECONDS if seconds is None else seconds
        self._context = context or multiprocessing.get_context()
        self._patience = patience
        self._is_closed = False
        self._running: tuple[Connection, BaseProcess] | None = None
        self._is_ready = False
        with contextlib.suppress(OSError, EOFError, MemoryError, RuntimeError):  # the first task tries again
            self._start()

    def __call__(self, task: Task) -> Result:
        """The function of the task; for one thread at a time.

        Raises:
            LostTaskError: when that takes too long, or ends the process twice.
            NoProcessError: when no process can be started.
            Exception: whatever the function raises.
        """
        for _ in range(_ATTEMPTS):
            self._make_ready()
            try:
                succeeded, value = self._answer(task)
            except (EOFError, OSError):
                self._end()
                continue
            except BaseException:  # a part of the answer may still be in the pipe
                self._end()
                raise
            if succeeded:
                return value
            raise value
        raise LostTaskError("reading it ended the process (badly damaged, or too large for the memory)")

    def close(self) -> None:
        """End the process, whatever it does; a task at hand is lost."""
        self._is_closed = True
        running = self._running
        if running is not None:
            running[1].kill()
            running[1].join()

    def _end(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            pipe, process = running
            process.kill()
            process.join()
            pipe.close()

    def _make_ready(self) -> None:
        """Have a process that waits for a task; how long it takes to start is not the task's."""
        until = time.monotonic() + self._patience
        while not self._is_ready or self._running is None or not self._running[1].is_alive():
            if self._is_closed:
                raise LostTaskError("the work was ended")
            try:
                if self._running is None or not self._running[1].is_alive():
                    self._start()
                self._received(SECONDS)
                self._is_ready = True
            except (OSError, EOFError, MemoryError, RuntimeError) as error:
                self._end()
                if time.monotonic() + _PAUSE > until:
                    reason = getattr(error, "strerror", None) or str(error) or "it ends at once"
                    raise NoProcessError(
                        f"no process that reads images can be started ({reason}); end other programs, or raise the "
                        "limits of open files, processes and memory"
                    ) from error
                time.sleep(_PAUSE)
            except LostTaskError:
                self._end()
                raise

    def _start(self) -> None:
        self._end()
        self._is_ready = False
        with _starting, isolated_children():
            pipe, theirs = self._context.Pipe()
            process: BaseProcess = self._context.Process(  # type: ignore[attr-defined]
                target=_serve, args=(theirs, self._function), daemon=True
            )
            try:
                process.start()
            except BaseException:
                pipe.close()
                raise
            finally:
                theirs.close()
        self._running = pipe, process
        if self._is_closed:  # meanwhile
            process.kill()

    def _answer(self, task: Task) -> Any:
        assert self._running is not None
        self._running[0].send(task)
        return self._received(self._seconds)

    def _received(self, seconds: float) -> Any:
        assert self._running is not None
        pipe, process = self._running
        if not wait([pipe, process.sentinel], seconds):
            raise LostTaskError(_too_long(seconds))
        return pipe.recv()


def _serve(pipe: Connection, function: Callable[[Any], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the main process's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not whatever the main process does on it
    if "torch" in sys.modules:  # not imported for this alone
        sys.modules["torch"].set_num_threads(1)
    let_codecs_end_this_process()
    limit_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe.send(None)
    while True:
        task = pipe.recv()
        try:
            answer = True, function(task)
        except BaseException as error:
            error.add_note(traceback.format_exc())
            answer = False, error
        try:
            pipe.send(answer)
        except Exception as error:  # no memory to pickle it, or it cannot be pickled
            pipe.send((False, error))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class Pool:
    """Processes that apply functions to tasks: one that dies, or is late, costs no more than the task at hand.

    A process that is at one task for more than `SECONDS` is killed. Without processes a task is broken off after the
    same time where the system has timers and this is the main thread, but not before a library at work on it comes
    back to Python.

    Args:
        functions: all that are to be applied; picklable where processes are not forked.
        workers: processes; 0 applies the functions in this one, in the thread that submits.
        context: how processes are started.
    """

    def __init__(self, *functions: Callable[[Any], Any], workers: int, context: BaseContext | None = None) -> None:
        self._functions = functions
        self._workers = workers
        self._waiting: SimpleQueue[_Submitted | None] = SimpleQueue()
        self._processes = [WorkerProcess(_Chosen(functions), context=context) for _ in range(workers)]
        for process in self._processes:
            threading.Thread(target=_work, args=(process, self._waiting), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes; tasks at hand and those that wait are lost."""
        for process in self._processes:
            process.close()
            self._waiting.put(None)

    def submit(
        self, function: Callable[[Task], Result], task: Task, lost: Callable[[Task, str], Result]
    ) -> Future[Result]:
        """Have one of the functions applied to a task, after those that were submitted before.

        Args:
            lost: gives the result of a task that was lost, in a thread of this process; it is told why in words that
                go on after a file's name.

        Raises:
            Exception: without processes whatever the function raises; otherwise the result does.
        """
        future: Future[Result] = Future()
        if not self._workers:
            future.set_result(_here(function, task, lost))
            return future
        self._waiting.put(_Submitted(self._functions.index(function), task, future, lost))
        return future

    def in_order(
        self,
        function: Callable[[Task], Result],
        tasks: Iterable[Task],
        lost: Callable[[Task, str], Result],
        *,
        ahead: int = 0,
    ) -> Iterator[Result]:
        """The results of one of the functions, in the order of the tasks; ``lost`` as in `submit`.

        Args:
            tasks: taken as they are needed, at most two a process ahead of the result that is waited for.
            ahead: take so many where that is more, for who wants results in batches.

        Raises:
            Exception: whatever the function raises.
        """
        begun = deque[Future[Result]]()
        coming = iter(tasks)
        most = max(2 * self._workers, ahead) if self._workers else 1
        while True:
            for task in itertools.islice(coming, most - len(begun)):
                begun.append(self.submit(function, task, lost))
            if not begun:
                return
            yield begun.popleft().result()


def in_order(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: int,
    lost: Callable[[Task, str], Result],
) -> Iterator[Result]:
    """The results of the tasks in their order by a `Pool` of this function alone, see `Pool.in_order`."""
    with Pool(function, workers=workers) as pool:
        yield from pool.in_order(function, tasks, lost)


@dataclass(frozen=True, eq=False)
class _Submitted:
    """A task of the function at that place."""

    place: int
    task: Any
    future: Future[Any]
    lost: Callable[[Any, str], Any]


@dataclass(frozen=True)
class _Chosen:
    """Applies the function at the place that a task names."""

    functions: tuple[Callable[[Any], Any], ...]

    def __call__(self, chosen: tuple[int, Any]) -> Any:
        place, task = chosen
        return self.functions[place](task)


def _work(process: WorkerProcess[tuple[int, Any], Any], waiting: SimpleQueue[_Submitted | None]) -> None:
    while (each := waiting.get()) is not None:
        try:
            try:
                result = process((each.place, each.task))
            except LostTaskError as error:
                result = each.lost(each.task, str(error))
        except BaseException as error:
            each.future.set_exception(error)
        else:
            each.future.set_result(result)


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
            with limited_memory():
                return function(task)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _TookTooLong:
        return lost(task, _too_long(SECONDS))
    finally:
        signal.signal(signal.SIGALRM, before)


def _too_long(seconds: float) -> str:
    return f"reading it took longer than {seconds:g} s"


def default_workers() -> int:
    """Loader processes where the user names no number: half the processors, at most 8."""
    return min(8, max(1, (os.cpu_count() or 2) // 2))
