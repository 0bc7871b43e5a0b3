"""Progress where stderr is no terminal: what a line says, when it is said, and that every long command says it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_line import cxrlens
from cxrlens.cli import progress_lines as lines_module
from cxrlens.cli.progress_lines import ProgressLines, clock, progress_lines
from waiting import PATIENCE, until

ROWS = ("--method", "normgrad_conv1x1", "--layers", "last", "--workers", 0)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "EVERY", 0.02)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that tests move; no line is said by itself."""
    time = [100.0]
    monkeypatch.setattr(lines_module.time, "monotonic", lambda: time[0])
    return time


def test_the_time_that_is_left_is_that_of_the_work_done_so_far(now: list[float]) -> None:
    lines = ProgressLines("study", lambda _: None)
    assert lines.line(107.0) == "study: at work for 0:00:07"
    lines.move("study", 10, 50, "resnet34")  # of a study that goes on: the first ten cost nothing
    assert lines.line(130.0) == "study, resnet34: 10 of 50, at work for 0:00:30"
    now[0] = 140.0
    lines.move("study", 14, 50, "resnet50")
    assert lines.line(140.0) == "study, resnet50: 14 of 50, 0:06:00 left"  # 40 s for 4 of the 36 that are left
    assert lines.line(180.0) == "study, resnet50: 14 of 50, 0:12:00 left"  # nothing has moved since
    lines.move("study", 50, 50)
    assert lines.line(200.0) == "study: 50 of 50, at work for 0:01:40"
    lines.end()


def test_another_part_of_the_work_begins_its_estimate_anew(now: list[float]) -> None:
    lines = ProgressLines("demo", lambda _: None)
    lines.move("demo", 0, 10)
    now[0] = 1000.0
    lines.move("demo", 1, 90)
    now[0] = 1010.0
    lines.move("demo", 11, 90)
    assert lines.line(1010.0) == "demo: 11 of 90, 0:01:19 left"
    lines.move("demo", 2, 90)  # the same number of another thing
    assert lines.line(1010.0) == "demo: 2 of 90, at work for 0:15:10"
    lines.move("demo", 3, None, pace="7 images/s")
    assert lines.line(1010.0) == "demo: 3, 7 images/s"
    lines.end()


def test_clocks() -> None:
    assert [clock(seconds) for seconds in (0, 59.6, 3600, 90061)] == ["0:00:00", "0:01:00", "1:00:00", "25:01:01"]


def test_lines_are_said_again_and_again_until_the_end(often: None) -> None:
    said: list[str] = []
    with progress_lines("work", said.append) as move:
        until(lambda: len(said) > 1)
        move(1, 4)
        until(lambda: "work: 1 of 4" in said[-1])
    count = len(said)
    with progress_lines("other", said.append):
        until(lambda: said[-1].startswith("other"))
    assert all(line.startswith("other") for line in said[count + 1 :])  # one may have been on its way


def test_where_nothing_moves_an_idle_follower_is_silent(often: None) -> None:
    said: list[str] = []
    other: list[str] = []
    with progress_lines("following", said.append, idle=False) as move:
        watch = ProgressLines("beside", other.append)
        until(lambda: len(other) > 3)
        assert said == []
        move(1, None)
        until(lambda: said)
        seen = len(other)
        until(lambda: len(other) > seen + 3)
        assert said == [said[0]]
        watch.end()


def test_within_another_one_there_is_one_voice(often: None) -> None:
    said: list[str] = []
    inner: list[str] = []
    with progress_lines("outer", said.append) as move:
        move(1, 3)
        with progress_lines("inner", inner.append) as within:
            within(2, 5)
            until(lambda: any(line.startswith("inner: 2 of 5") for line in said))
        move(2, 3)
        until(lambda: said[-1].startswith("outer: 2 of 3"))
    assert inner == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
def test_a_process_that_is_forked_while_a_line_is_said_says_its_own(often: None) -> None:
    with progress_lines("parent", lambda _: None):
        for _ in range(20):
            child = os.fork()
            if not child:
                with lines_module._SAYING:  # would hang if the parent's thread had held it
                    os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Heard(ProgressLines):
    """Whoever tells how much of a known whole is done waits, the first time, until a line has said so."""

    def __init__(self, title: str, say: Callable[[str], None], **options: bool) -> None:
        self._said_so = threading.Event()

        def heard(line: str) -> None:
            say(line)
            if " of " in line:
                self._said_so.set()

        super().__init__(title, heard, **options)

    def move(self, title: str, done: int, total: int | None, *more: Any, **options: Any) -> None:
        super().move(title, done, total, *more, **options)
        if total is not None:
            assert self._said_so.wait(PATIENCE)


@pytest.mark.parametrize("command", ["train", "test", "explain", "pointing-game", "screen", "study", "compare"])
def test_every_long_command_says_how_far_it_is(
    phantoms: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(lines_module, "EVERY", 0.01)
    monkeypatch.setattr(lines_module, "ProgressLines", Heard)
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump({"architectures": ["resnet18"], "rows": ["grad_cam last"], "repeats": 20}))
    small = ("--recipe", "small", "--arch", "resnet18", "--image-size", 32, "--epochs", 2, "--workers", 0)
    given: dict[str, tuple[Any, ...]] = {
        "train": ("train", phantoms, "--runs", tmp_path / "runs", *small),
        "test": ("test", phantoms, "-m", model, "-o", tmp_path / "out", "--workers", 0, "--batch-size", 1),
        "study": ("study", phantoms, "-m", model, "-o", tmp_path / "out", "--plan", plan, "--workers", 0),
        "compare": ("compare", model, model, "--data", phantoms, "-o", tmp_path / "out", *ROWS),
        "screen": ("screen", phantoms / "dev", "-m", model, "-o", tmp_path / "out", "--workers", 0),
    }
    usual = (command, phantoms, "-m", model, "-o", tmp_path / "out", "--batch-size", 1, *ROWS)
    finished = cxrlens(*given.get(command, usual))
    assert finished.code == 0, finished.err
    titles = {"train": "training, epoch", "explain": "explaining", "pointing-game": "pointing game",
              "screen": "screening", "compare": "comparing", "test": "testing", "study": "study"}  # fmt: skip
    told = [line for line in finished.err.splitlines() if line.startswith(titles[command]) and " of " in line]
    assert told, finished.err


def test_signals_still_end_a_command_that_says_lines(often: None) -> None:
    def interrupted() -> None:
        with progress_lines("work", lambda _: None):
            signal.raise_signal(signal.SIGINT)
            until(lambda: False)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    finally:
        signal.signal(signal.SIGINT, before)
    assert lines_module._running is None
