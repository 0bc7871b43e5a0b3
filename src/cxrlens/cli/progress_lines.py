"""How far a command is, in lines: a line at least every half a minute, where no terminal shows a bar."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

EVERY = 30.0
"""Seconds between two lines."""

_SAYING = threading.Lock()  # held while a line is said: a process that is forked meanwhile would wait for ever
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_SAYING.acquire, after_in_parent=_SAYING.release, after_in_child=_SAYING.release)


@dataclass(frozen=True)
class _State:
    """How far the work was when that was last told, and where and when its present part began."""

    title: str
    what: str
    done: int
    total: int | None
    pace: str
    first: int
    since: float


class ProgressLines:
    """Says again and again, from a thread of its own, how far the work is.

    Args:
        title: what is being done, as long as no progress is told.
        say: writes one line.
        idle: say it too where nothing has moved since the last line.
    """

    def __init__(self, title: str, say: Callable[[str], None], *, idle: bool = True) -> None:
        self._title = title
        self._say = say
        self._idle = idle
        self._state: _State | None = None
        self._said: _State | None = None
        self._began = time.monotonic()
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="progress lines", daemon=True).start()

    def move(self, title: str, done: int, total: int | None, what: str = "", pace: str = "") -> None:
        """Note how far the work is.

        Args:
            total: None while it is not known.
            what: is being done at the moment.
            pace: said in place of the estimated time that is left.
        """
        before = self._state
        goes_on = before is not None and (before.title, before.total) == (title, total) and before.done <= done
        first, since = (before.first, before.since) if before and goes_on else (done, time.monotonic())
        self._state = _State(title, what, done, total, pace, first, since)

    def end(self) -> None:
        """Say nothing more."""
        self._ended.set()

    def line(self, now: float) -> str:
        """What is to be said at a time of the monotonic clock, s."""
        state = self._state
        for_long = f"at work for {clock(now - self._began)}"
        if state is None:
            return f"{self._title}: {for_long}"
        name = f"{state.title}, {state.what}" if state.what else state.title
        done = f"{state.done}" if state.total is None else f"{state.done} of {state.total}"
        return f"{name}: {done}, {state.pace or _left(state, now) or for_long}"

    def _run(self) -> None:
        while not self._ended.wait(EVERY):
            state = self._state
            if state is self._said and not self._idle:
                continue
            self._said = state
            with _SAYING:
                self._say(self.line(time.monotonic()))


def clock(seconds: float) -> str:
    """Seconds as "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _left(state: _State, now: float) -> str:
    """The time that is left if all goes on as since the part began; "" where that cannot be told."""
    advanced = state.done - state.first
    if state.total is None or advanced <= 0 or state.done >= state.total:
        return ""
    return f"{clock((now - state.since) / advanced * (state.total - state.done))} left"


_running: ProgressLines | None = None


@contextmanager
def progress_lines(title: str, say: Callable[[str], None], *, idle: bool = True) -> Iterator[Callable[..., None]]:
    """Lines as `ProgressLines` says them; gives its `move` for this title.

    Within another one of these no second voice begins: what is told is said in the other's turn.
    """
    global _running
    if _running is not None:
        yield partial(_running.move, title)
        return
    _running = lines = ProgressLines(title, say, idle=idle)
    try:
        yield partial(lines.move, title)
    finally:
        _running = None
        lines.end()
