"""A process that is killed before each change it makes to a folder, one after the other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_CHANGES = {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.truncate"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def killed_before_each_change(work: Callable[[], object], folder: Path) -> Iterator[str]:
    """Do the work in a process of its own that dies before its first change below the folder, then before its second.

    Yields:
        What it was about to do, each time it was killed; at last "" when it came to its end. The folder is as it was
        left: whoever asks restores it, or not.
    """
    number = 1
    while True:
        receiving, sending = multiprocessing.Pipe(duplex=False)
        arguments = (work, folder, number, sending)
        process = multiprocessing.get_context("fork").Process(target=_work, args=arguments)
        process.start()
        sending.close()
        process.join()
        if process.exitcode != -signal.SIGKILL:
            assert process.exitcode == 0
            yield ""
            return
        yield receiving.recv()
        number += 1


def _work(work: Callable[[], object], folder: Path, number: int, sending: Any) -> None:
    left = number

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if not (event in _CHANGES or (event == "open" and arguments[2] & _WRITES)):
            return
        if isinstance(arguments[0], str | os.PathLike) and Path(arguments[0]).is_relative_to(folder):
            left -= 1
            if left == 0:
                sending.send(f"{event} {Path(arguments[0]).relative_to(folder)}")
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    work()
