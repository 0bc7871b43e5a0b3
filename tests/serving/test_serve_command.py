"""``cxrlens serve`` as a process of its own: started, interrupted, killed, and started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
from serving_files import add_results, asking, check, dicom, encoded, key_of, pixels, screened
from typer.testing import CliRunner

from cxrlens.cli.main import app
from cxrlens.errors import UsageError
from cxrlens.saliency.fusion import Fusion
from cxrlens.saliency.resizing import PUBLISHED_RESIZE, MapResize
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.postgresql import Server
from cxrlens.screening.store.store import Store
from cxrlens.serving import run as job
from cxrlens.serving.settings import ServerSettings
from ports import unused_port
from postgresql import PASSWORD
from prepared_process import Started, started
from waiting import PATIENCE

IMAGES = 120


@contextmanager
def process(*arguments: object, **variables: str) -> Iterator[tuple[Started, dict[str, Any]]]:
    """The command on a free port, and what it printed when it was ready."""
    with started("serve", *arguments, "--port", 0, "--json", "--workers", 1, **variables) as server:
        yield server, server.told()


def test_the_life_of_a_server(model_file: Path, tmp_path: Path) -> None:
    folder = screened(tmp_path / "screened")
    with process("-m", model_file, folder.path) as (command, said):
        assert said["token"] is None
        assert said["url"] == f"http://127.0.0.1:{said['port']}/"
        with asking(said["url"]) as client:
            assert check(client, encoded(pixels()), name="Mustermann.png").status_code == 200
            assert check(client, dicom(pixels())[:900]).status_code == 422
            assert client.get("/").headers["content-type"].startswith("text/html")
        again = CliRunner().invoke(app, ["serve", "-m", str(model_file), "--port", str(said["port"])])
        assert isinstance(again.exception, UsageError)
        assert f"127.0.0.1:{said['port']} cannot be listened on" in str(again.exception)
        command.send_signal(signal.SIGINT)
        _, log = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, log
    assert "Traceback" not in log
    assert "Mustermann" not in log
    assert "POST /api/check 200" in log
    assert "the server has ended" in log
    assert "was screened with another model" in log
    assert "model-a.safetensors" in log


def test_a_service_is_ended_in_good_order(model_file: Path) -> None:
    with process("-m", model_file) as (command, _):
        command.send_signal(signal.SIGTERM)
        _, log = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, log
    assert log.strip().endswith("the server has ended")


def test_a_killed_server_has_lost_and_doubled_nothing(
    model_file: Path, server: Server | None, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = screened(tmp_path / "screened")
    numbers = range(100, 100 + IMAGES)
    add_results(folder, *(ScreenedImage(name=f"{n}.png", key=key_of(n), probability=0.5) for n in numbers))
    variables = {} if server is None else {"CXRLENS_DATABASE": request.getfixturevalue("postgres").address()}
    answered: list[list[tuple[str, int]]] = [[] for _ in range(4)]
    with process("-m", model_file, folder.path, **variables) as (command, said):
        enough = threading.Event()
        before_the_kill = threading.Semaphore(IMAGES // 2)

        def give(writer: int) -> None:
            with asking(said["url"]) as client:
                for number in range(100 + writer, 100 + IMAGES, 4):
                    before_the_kill.acquire(timeout=PATIENCE)
                    try:
                        given = client.post("/api/verdicts", json={"key": key_of(number), "verdict": "retake"}).json()
                    except httpx.HTTPError:
                        return
                    answered[writer].append((given["key"], given["id"]))
                    if sum(map(len, answered)) > IMAGES // 8:
                        enough.set()

        writers = [threading.Thread(target=give, args=(writer,)) for writer in range(4)]
        for writer in writers:
            writer.start()
        assert enough.wait(PATIENCE)
        command.send_signal(signal.SIGKILL)
        command.wait(PATIENCE)
        before_the_kill.release(IMAGES)
        for writer in writers:
            writer.join()
        _, log = command.communicate()
    assert PASSWORD not in log
    known = dict(each for part in answered for each in part)
    assert IMAGES // 8 <= len(known) < IMAGES
    with process("-m", model_file, folder.path, **variables) as (_, said), asking(said["url"]) as client:
        entries = {
            entry["key"]: entry["id"] for entry in client.get("/api/audit", params={"limit": 1000}).json()["entries"]
        }
        assert known.items() <= entries.items()  # those answered are kept
        assert len(entries) <= len(known) + 4  # and at most one more a writer, whose answer was lost
        for number in range(100, 100 + IMAGES):  # each writer does all of its own again
            given = client.post("/api/verdicts", json={"key": key_of(number), "verdict": "retake"}).json()
            assert given["changed"] == (key_of(number) not in entries)
        total, audit = Store(folder, server).verdicts.audit()
    assert total == IMAGES
    ids = [entry.id for entry in audit]
    assert ids == sorted(set(ids))
    assert ids[-1] <= IMAGES + (0 if server is None else 4)  # where what was not finished leaves a gap
    assert {entry.replaced for entry in audit} == {"none"}


def started_with(*options: str, **variables: str) -> tuple[ServerSettings, dict[str, Any]]:
    """The settings that the command starts a server with, and what it prints when that is ready."""
    found: list[ServerSettings] = []

    def serve(model: Path, folder: Path | None, settings: ServerSettings, *, ready: Any, **_: object) -> None:
        found.append(settings)
        ready(job.Address("http://there:8000/", 8000))

    with mock.patch.object(job, "serve", serve), mock.patch.dict(os.environ, variables):
        finished = CliRunner().invoke(app, ["serve", "-m", "model", "--json", *options])
    assert finished.exit_code == 0, finished.output
    return found[0], json.loads(finished.stdout)


def test_a_local_server_asks_for_no_token() -> None:
    settings, said = started_with("--max-upload", "5MB", "--batch-size", "3", "--workers", "4")
    assert settings == ServerSettings(max_upload=5_000_000, batch_size=3, decoders=4)
    assert said["token"] is None


def test_the_resize_of_maps_is_an_option() -> None:
    settings, _ = started_with("--published-grid", "--flip")
    assert settings.fusion == Fusion(resize=PUBLISHED_RESIZE, flip=True)
    settings, _ = started_with("--interpolation", "bilinear")
    assert settings.fusion == Fusion(resize=MapResize("centres", "bilinear"))


@pytest.mark.parametrize("options", [("--host", "0.0.0.0"), ("--host", "::"), ("--allow-host", "qc.example")])
def test_a_server_that_others_reach_prints_a_new_token(options: tuple[str, ...]) -> None:
    (first, said), (second, _) = started_with(*options), started_with(*options)
    assert said["token"] == first.token
    assert first.token is not None
    assert len(first.token) > 40
    assert first.token != second.token


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_token_that_is_given_is_taken_and_not_printed(host: str) -> None:
    token = "the-token-that-is-given"
    for settings, said in (
        started_with("--host", host, CXRLENS_TOKEN=token),
        started_with("--host", host, "--token", token),
    ):
        assert settings.token == token
        assert said["token"] is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["FOLDER"], "no screened folder"),
        (["--token", "short"], "16 or more"),
        (["--max-upload", "much"], "--max-upload"),
        (["--host", "192.0.2.1"], "cannot be listened on"),
        (["--host", "no such host"], "cannot be listened on"),
        (["-m", "missing.safetensors"], "no such model file"),
    ],
)
def test_mistakes_are_said_in_a_sentence(model_file: Path, tmp_path: Path, options: list[str], said: str) -> None:
    given = [str(tmp_path) if option == "FOLDER" else option for option in options]
    port = "0" if "--port" not in options else ""
    finished = CliRunner().invoke(app, ["serve", "-m", str(model_file), "--port", port, *given])
    assert isinstance(finished.exception, UsageError), finished.output
    assert said in str(finished.exception)
    assert finished.exception.exit_code == 2


def test_a_missing_extra_is_named() -> None:
    with mock.patch.object(job, "_NEEDED", ("fastapi", "uvicorn", "no_such_package")):
        finished = CliRunner().invoke(app, ["serve", "-m", "model"])
    assert isinstance(finished.exception, UsageError)
    assert "pip install 'cxrlens[serve]'" in str(finished.exception)
    assert "no-such-package" in str(finished.exception)


def test_a_port_is_free_again() -> None:
    port = unused_port()
    with job.listening("127.0.0.1", port), pytest.raises(UsageError, match="Address already in use"):
        job.listening("localhost", port)
    with job.listening("127.0.0.1", port) as listener:
        assert listener.family == socket.AF_INET
