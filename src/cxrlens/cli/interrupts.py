"""Ctrl-C, however often: the first stops a command in good order, the next ends the process without a word."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cxrlens.errors import EXIT_INTERRUPTED

_SHOW_CURSOR = b"\x1b[?25h"


def take_interrupts() -> None:
    """From now on the first Ctrl-C raises KeyboardInterrupt; one more, while things are put in order, ends the process.

    A process that ignores Ctrl-C, as one in a shell's background does, goes on to.
    """
    if _is_ours():
        signal.signal(signal.SIGINT, _stop)


def end_at_interrupts() -> None:
    """From here on, when all is done, the first Ctrl-C ends the process at once."""
    if _is_ours():
        signal.signal(signal.SIGINT, _end)


@contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C, and a service manager's request, ask for an end; a second Ctrl-C enforces it."""

    def asked(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT])
            signal.raise_signal(number)
        stop.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is asked:
                signal.signal(number, handler)


def _is_ours() -> bool:
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _stop, _end)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, _end)
    signal.default_int_handler(number, frame)


def _end(_number: int, _frame: FrameType | None) -> None:
    """As if killed, which every folder of results stands."""
    if os.isatty(2):
        os.write(2, _SHOW_CURSOR)  # a progress bar hides it
    os._exit(EXIT_INTERRUPTED)
