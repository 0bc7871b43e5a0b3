"""Reading processes where descriptors, processes or memory are short, and files that take more memory than there is."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Iterator

import pytest
from test_processes import alive

from cxrlens.inputs.processes import NoProcessError, WorkerProcess, in_order
from cxrlens.inputs.readers import memory
from cxrlens.inputs.reading import Cause, Unreadable, read_each
from waiting import PATIENCE, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc of Linux")
WAYS = ("fork", "spawn", "forkserver")


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """No further file can be opened inside the block."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def pid(_: object) -> int:
    return os.getpid()


@pytest.mark.parametrize("way", WAYS)
def test_a_process_that_dies_while_descriptors_are_short_comes_back(way: str) -> None:
    process = WorkerProcess(pid, context=multiprocessing.get_context(way), patience=0.5)
    try:
        for _ in range(2):
            killed = process(0)
            os.kill(killed, signal.SIGKILL)
            until(lambda killed=killed: not alive(killed))
            with no_descriptors():
                for _ in range(2):
                    with pytest.raises(NoProcessError, match="Too many open files"):
                        process(0)
            assert process(0) != os.getpid()
    finally:
        process.close()


def test_a_batch_waits_for_descriptors_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WorkerProcess.__init__.__kwdefaults__, "patience", PATIENCE)
    tasks = range(40)
    results = in_order(answer_or_die, tasks, workers=2, lost=lambda task, reason: (task, reason))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    handler = signal.signal(signal.SIGALRM, lambda *_: resource.setrlimit(resource.RLIMIT_NOFILE, before))
    found = []
    try:
        for number, result in enumerate(results):
            found.append(result)
            if number == 3:
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
                signal.setitimer(signal.ITIMER_REAL, 0.5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        signal.signal(signal.SIGALRM, handler)
    assert [task for task, _ in found] == list(tasks)
    assert [task for task, reason in found if reason] == [10, 11, 12]


def answer_or_die(task: int) -> tuple[int, str]:
    if task in (10, 11, 12):
        os.kill(os.getpid(), signal.SIGKILL)
    return task, ""


class Unpicklable(Exception):
    """Fails in the process that is to receive it."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


def odd(task: int) -> int:
    if task == 1:
        raise Unpicklable("one", "two")
    return task


def test_an_answer_that_cannot_be_received_is_not_taken_for_that_of_the_next_task() -> None:
    process = WorkerProcess(odd)
    try:
        with pytest.raises(TypeError):
            process(1)
        assert [process(task) for task in range(2, 9)] == list(range(2, 9))
    finally:
        process.close()


def takes(gigabytes: float) -> int:
    """A file that unfolds to so much: every page is written to."""
    found = bytearray(int(gigabytes * 2**30))
    found[:: resource.getpagesize()] = b"x" * len(found[:: resource.getpagesize()])
    return len(found)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_takes_all_memory_costs_itself_alone(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    small = 0.3
    monkeypatch.setattr(memory.limit_memory, "__defaults__", (2**29,))
    monkeypatch.setattr(memory.limited_memory.__wrapped__, "__defaults__", (2**29,))
    before = resource.getrlimit(resource.RLIMIT_AS)
    sizes = [small, 3.0, small, 3.0, 3.0, small]
    found = [result for _, result in read_each(takes, sizes, workers=workers)]
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    for size, result in zip(sizes, found, strict=True):
        if size == small:
            assert result == int(small * 2**30)
        else:
            assert result == Unreadable(f"{size}: there is not enough memory to read it", Cause.NO_MEMORY)
