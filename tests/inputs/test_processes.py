"""Work shared out among processes: all results in order, whatever happens to a process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, wait
from pathlib import Path

import pytest

from cxrlens.inputs import processes
from cxrlens.inputs.processes import Pool, WorkerProcess, in_order
from waiting import PATIENCE, until

TASKS = list(range(23))
ENDLESS = 10**6  # seconds
LIMIT = 0.5  # seconds


def lost(task: int, reason: str) -> str:
    return f"{task}: {reason}"


def named(task: int) -> str:
    return f"{task} done"


def ended_by_the_pool(task: int) -> bool:
    return signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def died(task: int) -> str:
    """Some tasks take their process with them: two of them neighbours, so that both may be under way at once."""
    if task in (0, 9, 10, 22):
        os.kill(os.getpid(), signal.SIGKILL)
    return named(task)


hanging = multiprocessing.Value("i", 0)  # the process that hangs
begun = multiprocessing.Value("i", 0)  # how often the hanging task was begun


def hung(task: int) -> str:
    if task == 5:
        hanging.value = os.getpid()
        if signal.getitimer(signal.ITIMER_REAL)[0]:  # its limit, where that is this process's own
            signal.setitimer(signal.ITIMER_REAL, LIMIT)
        time.sleep(ENDLESS)
    return named(task)


@pytest.fixture
def only_what_hangs_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit counts from the moment that a task hangs; on a crowded machine any other might take as long."""
    received = WorkerProcess._received

    def patient(self: WorkerProcess[int, str], seconds: float) -> object:
        assert self._running is not None
        pipe, process = self._running
        while not wait([pipe, process.sentinel], 0.02) and hanging.value != process.pid:
            pass
        return received(self, seconds)

    hanging.value = begun.value = 0
    monkeypatch.setattr(WorkerProcess, "_received", patient)


def failed(task: int) -> str:
    if task == 7:
        raise KeyError("seven")
    return named(task)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_results_come_in_order(count: int) -> None:
    assert list(in_order(named, TASKS, workers=count, lost=lost)) == [named(task) for task in TASKS]
    assert list(in_order(named, [], workers=count, lost=lost)) == []


@pytest.mark.parametrize("count", [1, 3])
def test_a_process_that_dies_costs_one_result(count: int) -> None:
    found = list(in_order(died, TASKS, workers=count, lost=lost))
    for task, result in zip(TASKS, found, strict=True):
        if task in (0, 9, 10, 22):
            assert result.startswith(f"{task}: reading it ended the process")
        else:
            assert result == named(task)


def ended_while_it_answers(task: int) -> bytes:
    """Its process is killed while it sends a result that is longer than a pipe holds."""
    if task != 5:
        return b"x"
    send = Connection._send  # type: ignore[attr-defined]

    def half(self: Connection, content: bytes) -> None:
        if len(content) < 10**6:  # the length, which is sent before
            send(self, content)
            return
        send(self, content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    Connection._send = half  # type: ignore[attr-defined]
    return bytes(10**6)


def test_a_process_that_dies_while_it_answers_costs_one_result() -> None:
    """Where processes share a queue, the others would wait for its lock for ever."""
    found = list(in_order(ended_while_it_answers, TASKS, workers=2, lost=lambda *_: b"lost"))
    assert found == [b"lost" if task == 5 else b"x" for task in TASKS]


def late_or_dead(task: int) -> str:
    if task != 5:
        return died(task)
    with begun:
        begun.value += 1
    return hung(task)


def test_the_others_go_on_while_one_hangs(only_what_hangs_is_late: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SECONDS", LIMIT)
    found = list(in_order(late_or_dead, TASKS, workers=2, lost=lost))
    assert begun.value == 1  # a second time would cost the time again
    assert [task for task, result in zip(TASKS, found, strict=True) if result != named(task)] == [0, 5, 9, 10, 22]


def swallowing(task: int) -> str:
    """As readers do, who give a reason of their own for whatever a library raises."""
    try:
        return hung(task)
    except Exception:
        return "swallowed"


@pytest.mark.parametrize("count", [0, 2])
def test_a_task_that_hangs_costs_one_result(
    count: int, only_what_hangs_is_late: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = LIMIT if count else PATIENCE  # which `hung` cuts short in this process
    monkeypatch.setattr(processes, "SECONDS", seconds)
    before = signal.getsignal(signal.SIGALRM)
    found = list(in_order(swallowing, TASKS, workers=count, lost=lost))
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert found.pop(5) == f"5: reading it took longer than {seconds:g} s"
    assert found == [named(task) for task in TASKS if task != 5]


def test_a_timer_of_somebody_else_stays_theirs() -> None:
    signal.setitimer(signal.ITIMER_REAL, ENDLESS)
    try:
        assert list(in_order(named, TASKS, workers=0, lost=lost)) == [named(task) for task in TASKS]
        assert signal.getitimer(signal.ITIMER_REAL)[0] > ENDLESS / 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def test_threads_have_no_limit_of_time() -> None:
    """Signals are the main thread's."""
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(lambda: list(in_order(named, TASKS, workers=0, lost=lost))).result()
    assert found == [named(task) for task in TASKS]


@pytest.mark.parametrize("count", [0, 2])
def test_errors_reach_the_caller(count: int) -> None:
    results = in_order(failed, TASKS, workers=count, lost=lost)
    assert [next(results) for _ in range(7)] == [named(task) for task in range(7)]
    with pytest.raises(KeyError, match="seven"):
        next(results)


def doubled(task: int) -> int:
    return 2 * task


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_pool_does_other_work_beside_what_comes_in_order(count: int) -> None:
    others = []
    with Pool(named, doubled, workers=count) as pool:
        for place, result in enumerate(pool.in_order(named, TASKS, lost)):
            assert result == named(place)
            others.append(pool.submit(doubled, place, lambda *_: -1))
        assert [other.result() for other in others] == [2 * task for task in TASKS]


def test_what_a_pool_lost_is_given_by_a_function_of_this_process() -> None:
    with Pool(died, workers=2) as pool:
        found = [pool.submit(died, task, lambda task, reason: (os.getpid(), task, reason)) for task in TASKS]
        for task, future in zip(TASKS, found, strict=True):
            if task in (0, 9, 10, 22):
                assert future.result()[:2] == (os.getpid(), task)
                assert future.result()[2].startswith("reading it ended the process")
            else:
                assert future.result() == named(task)


@pytest.mark.parametrize(("count", "ahead", "taken"), [(0, 9, 1), (1, 0, 2), (1, 9, 9), (3, 4, 6)])
def test_so_many_tasks_are_taken_before_the_first_result(count: int, ahead: int, taken: int) -> None:
    coming = iter(TASKS)
    with Pool(named, workers=count) as pool:
        results = pool.in_order(named, coming, lost, ahead=ahead)
        assert next(results) == named(0)
        assert next(coming) == taken


def test_a_pool_that_is_closed_leaves_nobody_waiting() -> None:
    pool = Pool(hung, workers=1)
    waiting = [pool.submit(hung, task, lost) for task in (5, 6, 5)]
    pool.close()
    assert [future.result(PATIENCE) for future in waiting] == [f"{task}: the work was ended" for task in (5, 6, 5)]


def test_leaving_early_is_no_error() -> None:
    results: Iterator[str] = in_order(named, TASKS, workers=2, lost=lost)
    assert next(results) == named(0)
    results.close()


def test_no_process_outlives_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "import os, time\nfrom pathlib import Path\nfrom cxrlens.inputs.processes import Pool, in_order\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "def stay(task):\n    (folder / str(os.getpid())).touch()\n    time.sleep(10**6)\n"
        "list(in_order(stay, range(9), workers=2, lost=None))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script])
    try:
        until(lambda: len(list(tmp_path.iterdir())) == 2)
    finally:
        parent.kill()
        parent.wait()
    until(lambda: not any(alive(int(path.name)) for path in tmp_path.iterdir()))


def alive(process: int) -> bool:
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return text.rsplit(")", 1)[1].split()[0] != "Z"  # an ended process may wait for somebody to ask after it


@pytest.mark.parametrize("count", [0, 2])
def test_tasks_are_taken_as_they_are_needed(count: int) -> None:
    taken = []

    def endless() -> Iterator[int]:
        for task in range(ENDLESS):
            taken.append(task)
            yield task

    results = in_order(named, endless(), workers=count, lost=lost)
    assert [next(results) for _ in range(6)] == [named(task) for task in range(6)]
    assert len(taken) <= 6 + 2 * count
    results.close()  # type: ignore[attr-defined]


def test_no_task_is_lost_when_a_process_dies_among_tasks_that_come_one_by_one() -> None:
    found = list(in_order(died, (task for task in TASKS), workers=2, lost=lost))
    assert [result.split(" done")[0].split(":")[0] for result in found] == [str(task) for task in TASKS]


def test_a_process_ends_when_its_pool_says_so() -> None:
    """Whatever the main process does on that signal; a pool that has lost a process waits for the others."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        assert all(in_order(ended_by_the_pool, TASKS, workers=2, lost=lambda *_: False))
    finally:
        signal.signal(signal.SIGTERM, before)
