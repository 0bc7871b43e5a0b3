"""Clients that send too much, too little, too slowly or too often: counts, times and space are bounded."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import resource
import select
import signal
import socket
import sqlite3
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
from serving_files import Poisoned, add_results, asking, check, encoded, key_of, pixels, running, screened

from cxrlens.inspection.quality_model import QualityModel
from cxrlens.screening.record import ScreenedImage
from cxrlens.serving import decoding, log_rate, state
from cxrlens.serving.app import create_app
from cxrlens.serving.log_rate import RateLimit
from cxrlens.serving.settings import ServerSettings
from prepared_process import started
from waiting import PATIENCE, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc of Linux")
ENDLESS = {"head_seconds": 1e6, "stall_seconds": 1e6, "upload_seconds": 1e6}
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"POST /api/check HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'


@contextmanager
def serving(
    model: QualityModel, folder: Path | None = None, **limits: object
) -> Iterator[tuple[httpx.Client, tuple[str, int]]]:
    """A server with these limits and no other of time, who asks it in good faith, and its address."""
    settings = ServerSettings(decoders=1, **{**ENDLESS, **limits})  # type: ignore[arg-type]
    app = create_app(settings, model, folder)
    with running(app, settings) as url, asking(url) as client:
        yield client, ("127.0.0.1", client.base_url.port or 0)


def connected(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=PATIENCE)


def ends(connection: socket.socket, *, trickle: bytes = b"", every: float = 0.2) -> bool:
    """Whether the server ends a connection, on which a client sends something again and again."""
    end = time.monotonic() + PATIENCE
    connection.settimeout(every)
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < end:
            if trickle:
                connection.sendall(trickle)
            with contextlib.suppress(TimeoutError):
                if not connection.recv(65536):
                    return True
        return False
    return True


@pytest.mark.parametrize("before", [b"", HEALTH], ids=["first", "second"])
def test_a_head_that_never_ends(served_model: QualityModel, before: bytes) -> None:
    with serving(served_model, head_seconds=1.5) as (client, address):
        for trickle in (b"", b"x"):
            with connected(address) as slow:
                slow.sendall(before + b"GET /health HTTP/1.1\r\nX: ")
                assert ends(slow, trickle=trickle)
        with connected(address) as silent:
            assert ends(silent)
        assert client.get("/health").status_code == 200


def test_a_body_that_nobody_waits_for(served_model: QualityModel) -> None:
    with serving(served_model, head_seconds=1.5) as (_, address), connected(address) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert ends(slow, trickle=b"x")


def test_answers_that_are_not_taken(served_model: QualityModel) -> None:
    with serving(served_model, stall_seconds=1.5) as (client, address):
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.settimeout(PATIENCE)
            deaf.connect(address)
            asked = b"GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100_000
            with pytest.raises(ConnectionError):
                deaf.sendall(asked)
        assert client.get("/health").status_code == 200


def test_one_connection_too_many(served_model: QualityModel) -> None:
    with serving(served_model, connections=5) as (_, address), contextlib.ExitStack() as stack:
        first, *_ = [stack.enter_context(connected(address)) for _ in range(5)]
        with connected(address) as refused:
            answer = refused.recv(1000)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in answer
        assert is_answered(first)
        stack.close()

        def is_welcome() -> bool:
            with connected(address) as another, contextlib.suppress(ConnectionError):
                return is_answered(another)
            return False

        until(is_welcome)


def is_answered(connection: socket.socket) -> bool:
    connection.sendall(HEALTH)
    return connection.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_half_sent_heads_at_few_descriptors(model_file: Path) -> None:
    """150 connections, of a server that may open 100 files, and then 600 more of them."""
    with started("serve", "-m", model_file, "--port", 0, "--json", "--workers", 1, files=100) as server:
        said = server.told()
        with contextlib.ExitStack() as stack:
            for number in range(750):
                half = stack.enter_context(connected(("127.0.0.1", said["port"])))
                with contextlib.suppress(ConnectionError):
                    half.sendall(b"GET /health HTTP/1.1\r\nX: ")
                if number == 150:
                    time.sleep(1)
            until(lambda: is_well(said["url"]))
        with asking(said["url"]) as client:
            assert check(client, encoded(pixels())).status_code == 200
        server.send_signal(signal.SIGINT)
        _, log = server.communicate(PATIENCE)
    assert server.returncode == 0
    assert len(log) < 50_000
    assert "Traceback" not in log


def is_well(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError), asking(url) as client:
        return client.get("/health").status_code == 200
    return False


@pytest.mark.parametrize("is_announced", [True, False])
def test_large_verdicts(served_model: QualityModel, tmp_path: Path, is_announced: bool) -> None:
    """60 MB of JSON are refused before they are read, or after the first of them; /health answers meanwhile."""
    large = b'{"key": "' + b"0" * 60_000_000 + b'"}'
    pieces = (large[at : at + 100_000] for at in range(0, len(large), 100_000))
    with serving(served_model, screened(tmp_path / "screened").path) as (client, address):

        def send() -> int:
            with (
                asking(str(client.base_url)) as own,
                contextlib.suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError),
            ):
                given = large if is_announced else pieces
                return own.post(
                    "/api/verdicts", content=given, headers={"Content-Type": "application/json"}
                ).status_code
            return 0  # the connection was ended before the answer was read

        with ThreadPoolExecutor(2) as threads:
            sent = [threads.submit(send) for _ in range(2 if is_announced else 1)]
            while not all(answer.done() for answer in sent):
                assert client.get("/health").status_code == 200
        assert {answer.result() for answer in sent} <= {413, 0}
        with connected(address) as raw:
            raw.sendall(b"POST /api/verdicts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000000\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 413 ")


UNFINISHED = HEAD + b"Content-Length: 1900000\r\n\r\n" + PART + bytes(1_500_000)


def test_uploads_that_are_not_finished(served_model: QualityModel) -> None:
    """100 of 1.5 MB: at most eight times the largest upload is kept, and all the others are refused."""
    with serving(served_model, max_upload=2_000_000) as (client, address):
        before = temporary_bytes()
        with contextlib.ExitStack() as stack:
            connections = []
            for _ in range(100):
                upload = stack.enter_context(connected(address))
                with contextlib.suppress(ConnectionError):
                    upload.sendall(UNFINISHED)
                connections.append(upload)
                assert temporary_bytes() - before <= 8 * 2_000_000
            until(lambda: len(answered(connections)) >= 90)  # of 1.5 MB no more than ten have room
            answers = Counter(status(upload) for upload in answered(connections))
            assert answers["503"] >= 80
            assert set(answers) <= {"503", ""}
            assert client.get("/health").status_code == 200
        until(lambda: temporary_bytes() - before < len(UNFINISHED))  # what tests print is kept in such a file, too
        assert check(client, encoded(pixels())).status_code == 200


def test_an_upload_that_stops_is_kept_no_longer(served_model: QualityModel) -> None:
    with serving(served_model, stall_seconds=1.5) as (client, address):
        before = temporary_bytes()
        with connected(address) as upload:
            upload.sendall(UNFINISHED)
            assert status(upload) == "408"
            until(lambda: temporary_bytes() - before < len(UNFINISHED) / 2)
        assert check(client, encoded(pixels())).status_code == 200


def answered(connections: list[socket.socket]) -> list[socket.socket]:
    """Those on which there is something to read, or that were ended."""
    return select.select(connections, [], [], 0)[0]


def status(connection: socket.socket) -> str:
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

        def give(number: int) -> tuple[int, int]:
            with asking(str(client.base_url)) as own:
                answer = own.post("/api/verdicts", json={"key": key_of(number), "verdict": "retake"})
                return number, answer.status_code

        try:
            given = [threads.submit(give, number) for number in range(100, 160)]
            while not any(answer.done() for answer in given):
                for address in ("/health", "/api/worklist", f"/api/worklist/{key_of(0)}/picture", "/api/audit", "/"):
                    assert client.get(address).status_code == 200
                time.sleep(0.3)
        finally:
            holder.execute("ROLLBACK")
            holder.close()
        answers = dict(answer.result() for answer in given)
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
