"""Sixteen clients at once, with good and bad uploads: everybody gets the answer that it would get alone."""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
from serving_files import Poisoned, asking, check, encoded, key_of, pixels, running, screened, uploads

from cxrlens.inspection.quality_model import QualityModel
from cxrlens.inspection.result import ImageResult
from cxrlens.serving import state
from cxrlens.serving.app import create_app
from cxrlens.serving.batching import BatchedExplainer, RequestInspector
from cxrlens.serving.settings import ServerSettings
from waiting import PATIENCE, until

CLIENTS = 16
CHOICES = (
    {},
    {"method": "grad_cam", "layers": "last"},
    {"method": "normgrad_scaling", "layers": "combined", "smooth": 1.5},
    {"method": "gradient"},
)


def test_mixed_uploads_are_answered_as_alone(client: httpx.Client) -> None:
    tasks = [(name, choice) for name in uploads() for choice in range(len(CHOICES))]
    alone = {task: ask(client, *task) for task in tasks}
    assert {answer[0] for answer in alone.values()} == {200, 413, 415, 422}
    todo = tasks * 3
    random.Random(0).shuffle(todo)
    start = threading.Barrier(CLIENTS)

    def client_of(number: int) -> list[tuple[tuple[str, int], tuple[int, Any]]]:
        with asking(str(client.base_url)) as own:
            start.wait(PATIENCE)
            return [(task, ask(own, *task)) for task in todo[number::CLIENTS]]

    with a_pass_that_waits(), ThreadPoolExecutor(CLIENTS) as threads:
        answers = [each for found in threads.map(client_of, range(CLIENTS)) for each in found]
    assert len(answers) == len(todo)
    for task, (status, answer) in answers:
        assert (status, task) == (alone[task][0], task)
        same_answer(answer, alone[task][1])
    sizes = client.get("/metrics").text
    passes = float(sizes.split("cxrlens_batch_images_count ")[1].split()[0])
    images = float(sizes.split("cxrlens_batch_images_sum ")[1].split()[0])
    good = sum(status == 200 for _, (status, _) in answers) + sum(answer[0] == 200 for answer in alone.values())
    assert images == good
    assert passes < images


@contextmanager
def a_pass_that_waits() -> Iterator[None]:
    """The first pass waits until so many images do that two of them ask for the same, and are made together."""
    explainers: list[BatchedExplainer] = []
    submit, inspect = BatchedExplainer.submit, RequestInspector.inspect
    enough = len(CHOICES) + 1

    def noted(self: BatchedExplainer, *image: Any) -> Future[ImageResult]:
        explainers.append(self)
        return submit(self, *image)

    def waiting(self: RequestInspector, *images: Any) -> list[ImageResult]:
        if len(explainers) <= enough:
            until(lambda: explainers[0].waiting >= enough)
        return inspect(self, *images)

    with (
        mock.patch.object(BatchedExplainer, "submit", noted),
        mock.patch.object(RequestInspector, "inspect", waiting),
    ):
        yield


def ask(client: httpx.Client, name: str, choice: int) -> tuple[int, Any]:
    response = check(client, uploads()[name].content, **CHOICES[choice])
    assert response.status_code == uploads()[name].status
    return response.status_code, response.json()


def same_answer(answer: dict[str, Any], other: dict[str, Any]) -> None:
    """All is the same but for the last digits of the probability; the map too, as its file has 8 bits."""
    assert answer.keys() == other.keys()
    if "probability" in answer:
        assert answer["probability"] == pytest.approx(other["probability"], abs=1e-6)
    rest = ("key", "decision", "origin", "height", "width", "method", "layers", "smooth", "flat", "peak", "picture")
    for field in rest if "key" in answer else ("detail",):
        assert answer[field] == other[field], field


@contextmanager
def poisoned(model: QualityModel, **limits: Any) -> Iterator[httpx.Client]:
    """A server whose decoder dies of some uploads and hangs on others."""
    with mock.patch.object(state, "Decode", return_value=Poisoned()):
        app = create_app(ServerSettings(decoders=2, **limits), model)
        with running(app) as url, asking(url) as client:
            yield client


def wait_for(client: httpx.Client, count: int, sent: list[Future[httpx.Response]]) -> None:
    """Until so many uploads are in the making, or one is answered."""
    while not any(answer.done() for answer in sent):
        text = client.get("/metrics").text.split("gauge\ncxrlens_checks ")[1]
        if float(text.split()[0]) == count:
            return


def test_uploads_that_take_long_or_kill_leave_the_rest_alone(served_model: QualityModel, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with poisoned(served_model, decode_seconds=PATIENCE) as client, ThreadPoolExecutor(3) as threads:
        waiting = threads.submit(check, client, os.fsencode(gate))
        try:
            wait_for(client, 1, [waiting])
            assert client.get("/api/model").status_code == 200
            dying = [threads.submit(check, client, b"die") for _ in range(2)]
            assert check(client, b"good").status_code == 200
            for answer in dying:
                assert answer.result().status_code == 422
                assert "ended the process" in answer.result().json()["detail"]
            assert not waiting.done()
        finally:
            gate.touch()
        assert waiting.result().status_code == 200


def test_an_upload_that_hangs_is_given_up(served_model: QualityModel) -> None:
    with poisoned(served_model, decode_seconds=0.5) as client:
        hanging = check(client, b"hang")
        assert client.get("/api/model").status_code == 200
    assert hanging.status_code == 422
    assert "longer than 0.5 s" in hanging.json()["detail"]


def test_a_full_server_says_when_to_come_again(served_model: QualityModel, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with poisoned(served_model, decode_seconds=PATIENCE, queue=2) as client, ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(check, client, os.fsencode(gate)) for _ in range(2)]
        try:
            wait_for(client, 2, waiting)
            refused = check(client, encoded(pixels()))
        finally:
            gate.touch()
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert {answer.result().status_code for answer in waiting} == {200}


def test_a_failure_is_answered_and_logged_and_over(
    served_model: QualityModel, caplog: pytest.LogCaptureFixture
) -> None:
    with poisoned(served_model) as client:
        response = check(client, b"odd")
        assert check(client, b"good").status_code == 200
    assert response.status_code == 500
    assert response.json() == {"detail": "the server has failed at this request; its log says why"}
    assert "Traceback" in caplog.text
    assert response.headers["x-content-type-options"] == "nosniff"


def test_uploads_that_stop_arriving(served_model: QualityModel, caplog: pytest.LogCaptureFixture) -> None:
    head = b"POST /api/check HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    begun = head + b'Content-Length: 9000\r\n\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n'
    app = create_app(ServerSettings(upload_seconds=1.5), served_model)
    with running(app) as url, asking(url) as client:
        address = (client.base_url.host, client.base_url.port or 0)
        with socket.create_connection(address) as gone:
            gone.sendall(begun)
        with socket.create_connection(address) as slow:
            slow.sendall(begun)
            slow.settimeout(PATIENCE)
            assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
        assert check(client, encoded(pixels())).status_code == 200
    assert "Traceback" not in caplog.text


def test_verdicts_that_cannot_be_kept(served_model: QualityModel, tmp_path: Path) -> None:
    folder = screened(tmp_path / "screened")
    app = create_app(ServerSettings(), served_model, folder.path)
    with running(app) as url, asking(url) as client:
        folder.store_file.write_bytes(b"damaged" * 1000)
        for suffix in ("-wal", "-shm"):
            (folder.path / f"{folder.store_file.name}{suffix}").unlink(missing_ok=True)
        for response in (
            client.post("/api/verdicts", json={"key": key_of(0), "verdict": "accept"}),
            client.get("/api/worklist"),
        ):
            assert response.status_code == 503
            assert response.headers["retry-after"]
            assert "store.sqlite: cannot be read or written" in response.json()["detail"]
