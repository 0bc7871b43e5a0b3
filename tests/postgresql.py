"""A PostgreSQL server for tests, of the system's package: a directory of its own, a free port, and a password."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ports import unused_port
from waiting import PATIENCE, until

PASSWORD = "secret-of-the-tests"
USER = "tester"


class PostgresServer:
    """A server that can be killed and started again.

    Attributes:
        port: where it listens on this machine.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self.port = unused_port()
        self._programs = programs
        self._folder = folder
        self._as = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        if self._as:
            os.chown(folder, self._as["user"], self._as["group"])
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if self._as:
            os.chown(secret, self._as["user"], self._as["group"])
        self._run(
            "initdb", "--auth=scram-sha-256", f"--username={USER}", f"--pwfile={secret}", "-E", "UTF8", "-D", self._data
        )

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        environment = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run(
            command, cwd=self._folder, env=environment, capture_output=True, text=True, check=False, **self._as
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._folder,
            "fsync": "off",
        }
        command = [str(self._programs / "postgres"), "-D", self._data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        log = (self._folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdout=log, stderr=log, start_new_session=True, **self._as
            )
        import psycopg

        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(self.address(), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def kill(self) -> None:
        """End all of its processes as a crash of the machine would."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        for child in _of_session(self._process.pid):  # each of them leads a group of its own
            with contextlib.suppress(ProcessLookupError):  # it has ended, as its leader is gone
                os.kill(child, signal.SIGKILL)
        leader = self._process.pid
        self._process.wait()
        until(lambda: not _of_session(leader))

    def stop(self) -> None:
        """End it in good order, at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()

    def address(self, name: str = "postgres", user: str = USER, password: str = PASSWORD) -> str:
        """The address of one of its databases."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{name}"

    def ask(self, statement: str, name: str = "postgres") -> list[Any]:
        """The rows that answer a statement."""
        import psycopg

        with psycopg.connect(self.address(name), autocommit=True) as connection:
            found = connection.execute(statement)  # type: ignore[arg-type]
            return found.fetchall() if found.description else []


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server, whose clients are patient; the test is skipped where the system has none."""
    pytest.importorskip("psycopg")
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL")
    from cxrlens.screening.store import postgresql

    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # which its user can reach, unlike pytest's
    server = None
    try:
        server = PostgresServer(programs, folder)
        server.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(postgresql, "SECONDS", round(PATIENCE))
            patch.setitem(postgresql._CONNECTING, "connect_timeout", round(PATIENCE))
            yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    """The newest version's; Debian does not put them on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    where = shutil.which("initdb")
    return found[-1].parent if found else Path(where).resolve().parent if where else None


def _unprivileged() -> dict[str, Any]:
    """As whom it runs, which root may not."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _of_session(leader: int) -> list[int]:
    """The processes of a session that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        state, _, _, session = rest.split()[:4]
        if int(session) == leader and state != "Z":
            found.append(int(stat.parent.name))
    return found
