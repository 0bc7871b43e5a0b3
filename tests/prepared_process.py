"""Processes of the command line that begin at once: one process has imported what commands need, and forks for each.

A command that is started by itself imports for seconds. What is forked has arguments, environment, folder, session and
standard streams of its own and the signals of a new process, and runs ``python -m cxrlens``. Tests of starting itself,
such as of what is imported when, start the interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Any, NoReturn

from waiting import PATIENCE

_IMPORTED = (
    "cxrlens.cli.main",
    "cxrlens.inspection.quality_model",
    "cxrlens.node.run",
    "cxrlens.screening.run",
    "cxrlens.serving.app",
    "uvicorn",
)
"""What serving, nodes and screening import; a package that is not installed is left out."""

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_LENGTH = 8  # bytes of each number


class Started:
    """A command that runs or has ended, with the members of `subprocess.Popen` that tests use."""

    def __init__(self, stdout: int, stderr: int, report: int) -> None:
        self.stdout: IO[str] = os.fdopen(stdout, encoding="utf-8")
        self.stderr: IO[str] = os.fdopen(stderr, encoding="utf-8")
        self.returncode: int | None = None
        self._report = os.fdopen(report, "rb", buffering=0)
        self.pid = int(self._reported(PATIENCE))

    def _reported(self, seconds: float | None) -> bytes:
        """The next number that is told of the command: its own, then that with which it ended."""
        if not select.select([self._report], [], [], seconds)[0]:
            raise subprocess.TimeoutExpired("cxrlens", seconds or 0)
        number: bytes = self._report.read(_LENGTH)  # each is written at once
        assert number, "the prepared process has ended"
        return number

    def poll(self) -> int | None:
        """The code with which it has ended, minus a signal's number where one has ended it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """The code with which it ends."""
        if self.returncode is None:
            self.returncode = int(self._reported(timeout))
        return self.returncode

    def told(self) -> Any:
        """The JSON object that it prints with ``--json`` when it is ready."""
        lines: list[str] = []
        for line in self.stdout:
            lines.append(line)
            if line == "}\n":
                return json.loads("".join(lines))
        raise AssertionError(self.communicate(PATIENCE)[1])

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it writes until it ends; a command that does not end in time is killed."""
        with ThreadPoolExecutor(2) as threads:
            written = [threads.submit(stream.read) for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            out, err = (each.result() for each in written)
        return out, err

    def close(self) -> None:
        self.kill()
        self.wait(PATIENCE)
        for stream in (self.stdout, self.stderr, self._report):
            stream.close()


@contextmanager
def started(*arguments: object, files: int | None = None, **variables: str) -> Iterator[Started]:
    """The command ``cxrlens`` with some arguments, which is killed at the end.

    Args:
        files: how many it may have open.
        variables: of its environment, beside those of this process.
    """
    environment = {**os.environ, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    asked = {"arguments": [*map(str, arguments)], "environment": environment, "folder": os.getcwd(), "files": files}  # noqa: PTH109
    ours, theirs = zip(*(os.pipe() for _ in range(3)), strict=True)
    try:
        text = json.dumps(asked).encode()
        control = _prepared()
        socket.send_fds(control, [len(text).to_bytes(_LENGTH, "big")], theirs)
        control.sendall(text)
    finally:
        for end in theirs:
            os.close(end)
    command = Started(*ours)
    try:
        yield command
    finally:
        command.close()


@functools.cache
def _prepared() -> socket.socket:
    """The connection with the prepared process, which ends with this one."""
    ours, theirs = socket.socketpair()
    environment = {**os.environ, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(sys.path)}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    atexit.register(process.wait)
    atexit.register(ours.shutdown, socket.SHUT_RDWR)  # also where a fork of this process holds it
    return ours


# -- In the prepared process -------------------------------------------------------------------------------------------


def _serve(control: socket.socket) -> None:
    """Fork for each command until nobody is there to ask; returns in the fork, ready to run it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who wait for commands need nobody who waits for them
    while True:
        head, streams, _, _ = socket.recv_fds(control, _LENGTH, 3)
        if not head:
            os._exit(0)
        asked = json.loads(_exactly(control, int.from_bytes(head, "big")))
        if os.fork() == 0:
            control.close()
            _begin(asked, *streams)
            return
        for stream in streams:
            os.close(stream)


def _exactly(control: socket.socket, count: int) -> bytes:
    read = b""
    while len(read) < count:
        read += control.recv(count - len(read))
    return read


def _begin(asked: dict[str, Any], stdout: int, stderr: int, report: int) -> None:
    """Become the command; this process itself stays and reports the command's number and how it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    command = os.fork()
    if command:
        os.close(stdout)
        os.close(stderr)
        _report_on(command, report)
    os.setsid()
    os.close(report)
    for number, stream in ((1, stdout), (2, stderr)):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    if asked["files"] is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (asked["files"],) * 2)
    sys.argv[1:] = asked["arguments"]


def _report_on(command: int, report: int) -> NoReturn:
    os.write(report, b"%*d" % (_LENGTH, command))
    _, status = os.waitpid(command, 0)
    os.write(report, b"%*d" % (_LENGTH, os.waitstatus_to_exitcode(status)))
    os._exit(0)


if __name__ == "__main__":
    for module in _IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    _serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module("cxrlens", run_name="__main__", alter_sys=True)
