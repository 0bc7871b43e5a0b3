"""Clients that send too much, too little, too slowly or too often: counts, times and space are bounded."""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import httpx
import pytest
from serving_files import Poisoned, add_results, check, encoded, key_of, pixels, running, screened

from cxrlens.inspection.quality_model import QualityModel
from cxrlens.screening.record import ScreenedImage
from cxrlens.serving import decoding, log_rate, state
from cxrlens.serving.app import create_app
from cxrlens.serving.log_rate import RateLimit
from cxrlens.serving.settings import ServerSettings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc of Linux")
HEAD = b"POST /api/check HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'


@contextmanager
def serving(
    model: QualityModel, folder: Path | None = None, **limits: object
) -> Iterator[tuple[httpx.Client, tuple[str, int]]]:
    """A server with these limits, who asks it in good faith, and its address."""
    settings = ServerSettings(decoders=1, **limits)  # type: ignore[arg-type]
    app = create_app(settings, model, folder)
    with running(app, settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client, ("127.0.0.1", client.base_url.port or 0)


def until_closed(connection: socket.socket, *, trickle: bytes = b"", every: float = 0.2) -> float:
    """Seconds until the server ends a connection, on which a client sends something again and again."""
    began = time.monotonic()
    connection.settimeout(every)
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < began + 30:
            if trickle:
                connection.sendall(trickle)
            with contextlib.suppress(TimeoutError):
                if not connection.recv(65536):
                    break
    return time.monotonic() - began


@pytest.mark.parametrize("before", [b"", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"], ids=["first", "second"])
def test_a_head_that_never_ends(served_model: QualityModel, before: bytes) -> None:
    with serving(served_model, head_seconds=1.5) as (client, address):
        for trickle in (b"", b"x"):
            with socket.create_connection(address) as slow:
                slow.sendall(before + b"GET /health HTTP/1.1\r\nX: ")
                assert until_closed(slow, trickle=trickle) < 5
        with socket.create_connection(address) as silent:
            assert until_closed(silent) < 5
        assert client.get("/health").status_code == 200


def test_a_body_that_nobody_waits_for(served_model: QualityModel) -> None:
    with serving(served_model, head_seconds=1.5) as (_, address), socket.create_connection(address) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert until_closed(slow, trickle=b"x") < 5


def test_answers_that_are_not_taken(served_model: QualityModel) -> None:
    with serving(served_model, stall_seconds=1.5) as (client, address):
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(address)
            deaf.settimeout(10)
            asked = b"GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100_000
            with pytest.raises(ConnectionError):
                deaf.sendall(asked)
        assert client.get("/health").status_code == 200


def test_one_connection_too_many(served_model: QualityModel) -> None:
    with serving(served_model, connections=5) as (client, address), contextlib.ExitStack() as stack:
        assert client.get("/health").status_code == 200
        for _ in range(4):
            stack.enter_context(socket.create_connection(address))
        with socket.create_connection(address, timeout=30) as refused:
            answer = refused.recv(1000)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in answer
        assert client.get("/health").status_code == 200
        stack.close()
        time.sleep(0.5)
        with socket.create_connection(address, timeout=30) as welcome:
            welcome.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert welcome.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_half_sent_heads_at_few_descriptors(model_file: Path, tmp_path: Path) -> None:
    """150 connections, of a server that may open 100 files, and then 600 more of them."""
    command = [sys.executable, "-m", "cxrlens", "serve", "-m", str(model_file), "--port", "0", "--json"]
    few = (100, 100)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    log = tmp_path / "log"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [*command, "--workers", "1"],
            stdout=subprocess.PIPE,
            stderr=stream,
            env=environment,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, few),
        )
    assert server.stdout is not None
    try:
        said = json.loads(b"".join(iter(lambda: server.stdout.readline(), b"}\n")) + b"}")
        with contextlib.ExitStack() as stack:
            for number in range(750):
                half = stack.enter_context(socket.create_connection(("127.0.0.1", said["port"]), timeout=30))
                with contextlib.suppress(ConnectionError):
                    half.sendall(b"GET /health HTTP/1.1\r\nX: ")
                if number == 150:
                    time.sleep(1)
            began = time.monotonic()
            while not is_well(said["url"]):
                assert time.monotonic() < began + 30
                time.sleep(0.2)
        with httpx.Client(base_url=said["url"], timeout=60) as client:
            assert check(client, encoded(pixels())).status_code == 200
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
    assert server.returncode == 0
    assert log.stat().st_size < 50_000
    assert b"Traceback" not in log.read_bytes()


def is_well(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{url}health", timeout=5).status_code == 200
    return False


@pytest.mark.parametrize("is_announced", [True, False])
def test_large_verdicts(served_model: QualityModel, tmp_path: Path, is_announced: bool) -> None:
    """60 MB of JSON are refused before they are read, or after the first of them; /health answers meanwhile."""
    large = b'{"key": "' + b"0" * 60_000_000 + b'"}'
    pieces = (large[at : at + 100_000] for at in range(0, len(large), 100_000))
    slowest = 0.0
    with serving(served_model, screened(tmp_path / "screened").path) as (client, address):

        def send() -> int:
            own = httpx.Client(base_url=client.base_url, timeout=60)
            with own, contextlib.suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
                given = large if is_announced else pieces
                return own.post(
                    "/api/verdicts", content=given, headers={"Content-Type": "application/json"}
                ).status_code
            return 0  # the connection was ended before the answer was read

        with ThreadPoolExecutor(2) as threads:
            sent = [threads.submit(send) for _ in range(2 if is_announced else 1)]
            while not all(answer.done() for answer in sent):
                began = time.monotonic()
                assert client.get("/health").status_code == 200
                slowest = max(slowest, time.monotonic() - began)
        assert {answer.result() for answer in sent} <= {413, 0}
        assert slowest < 2
        with socket.create_connection(address) as raw:
            raw.sendall(b"POST /api/verdicts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000000\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 413 ")


def test_uploads_that_are_not_finished(served_model: QualityModel) -> None:
    """100 of 1.5 MB: at most eight times the largest upload is kept, and for as long as they stop alone."""
    with serving(served_model, max_upload=2_000_000, stall_seconds=3.0) as (client, address):
        before = temporary_bytes()
        with contextlib.ExitStack() as stack:
            connections = []
            for _ in range(100):
                upload = stack.enter_context(socket.create_connection(address, timeout=30))
                with contextlib.suppress(ConnectionError):
                    upload.sendall(HEAD + b"Content-Length: 1900000\r\n\r\n" + PART + bytes(1_500_000))
                connections.append(upload)
            assert temporary_bytes() - before <= 8 * 2_000_000
            assert client.get("/health").status_code == 200
            answers = Counter(status(upload) for upload in connections)
        assert answers["408"] >= 1
        assert answers["503"] >= 80
        assert set(answers) <= {"408", "503", ""}
        deadline = time.monotonic() + 60
        while temporary_bytes() - before >= 1_500_000:  # of one upload; what tests print is kept in such a file, too
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert check(client, encoded(pixels())).status_code == 200


def status(connection: socket.socket) -> str:
    connection.settimeout(30)
    try:
        return connection.recv(100)[9:12].decode()
    except ConnectionError:
        return ""


def temporary_bytes() -> int:
    """Bytes in files of this process that have no name."""
    total = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if "(deleted)" in str(link.readlink()):
                total += link.stat().st_size
    return total


def test_verdicts_on_a_locked_store_hold_up_nothing_else(served_model: QualityModel, tmp_path: Path) -> None:
    folder = screened(tmp_path / "screened")
    add_results(folder, *(ScreenedImage(name=f"{n}.png", key=key_of(n), probability=0.5) for n in range(100, 160)))
    with serving(served_model, folder.path) as (client, _), ThreadPoolExecutor(60) as threads:
        holder = sqlite3.connect(folder.store_file, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        began = time.monotonic()

        def give(number: int) -> tuple[int, int]:
            with httpx.Client(base_url=client.base_url, timeout=60) as own:
                answer = own.post("/api/verdicts", json={"key": key_of(number), "verdict": "retake"})
                return number, answer.status_code

        try:
            given = [threads.submit(give, number) for number in range(100, 160)]
            slowest = 0.0
            while not any(answer.done() for answer in given):
                assert time.monotonic() < began + 30
                for address in ("/health", "/api/worklist", f"/api/worklist/{key_of(0)}/picture", "/api/audit", "/"):
                    asked = time.monotonic()
                    assert client.get(address).status_code == 200
                    slowest = max(slowest, time.monotonic() - asked)
                time.sleep(0.3)
        finally:
            holder.execute("ROLLBACK")
            holder.close()
        answers = dict(answer.result() for answer in given)
        assert slowest < 3
        assert set(answers.values()) == {200, 503}
        kept = {entry["key"] for entry in client.get("/api/audit").json()["entries"]}
        assert kept == {key_of(number) for number, code in answers.items() if code == 200}


def test_a_decoder_comes_back_when_there_are_descriptors_again(served_model: QualityModel) -> None:
    poisoned = mock.patch.object(state, "Decode", return_value=Poisoned())
    with poisoned, mock.patch.object(decoding, "_PATIENCE", 0.5):
        before = set(multiprocessing.active_children())
        with serving(served_model) as (client, _):
            assert check(client, b"good").status_code == 200
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)
            for _ in range(2):
                (decoder,) = set(multiprocessing.active_children()) - before
                os.kill(decoder.pid or 0, signal.SIGKILL)
                decoder.join()
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, limit[1]))
                try:
                    refused = [check(client, b"good") for _ in range(2)]
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, limit)
                for answer in refused:
                    assert answer.status_code == 503
                    assert "no process that reads images can be started" in answer.json()["detail"]
                assert check(client, b"good").status_code == 200


def test_an_upload_that_takes_all_memory(served_model: QualityModel) -> None:
    with mock.patch.object(state, "Decode", return_value=Poisoned()), serving(served_model) as (client, _):
        assert check(client, b"memory").status_code == 413
        assert check(client, b"good").status_code == 200


def test_the_lines_of_a_log_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(log_rate.time, "monotonic", lambda: now[0])
    limit, kept = RateLimit(), []

    def say(level: int, text: str) -> None:
        record = logging.LogRecord("name", level, "path", 1, text, None, None)
        if limit.filter(record):
            kept.append(record.getMessage())

    for number in range(5000):
        say(logging.INFO, f"request {number}")
        say(logging.ERROR, f"failure {number}")
    assert len(kept) == log_rate.LINES + log_rate.WARNINGS
    now[0] += log_rate.SECONDS
    say(logging.INFO, "later")
    assert kept[-1] == f"later ({10_000 - log_rate.LINES - log_rate.WARNINGS} lines were left out)"
