"""``cxrlens node`` as a process of its own between two sides of a real archive: images in, results back."""

from __future__ import annotations

import io
import json
import signal
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from radiographs import ROOT, radiograph, send

from cxrlens.screening.run import screen
from cxrlens.screening.settings import ScreeningSettings
from cxrlens.screening.sources import take_sources
from orthanc import OrthancServer, orthanc_server
from prepared_process import Started, started
from waiting import PATIENCE, until

pytest.importorskip("highdicom")
pytest.importorskip("pynetdicom")


@pytest.fixture(scope="module")
def orthanc() -> Iterator[OrthancServer]:
    with orthanc_server() as server:
        yield server


@contextmanager
def process(model: Path, out: Path, *arguments: object) -> Iterator[tuple[Started, dict[str, Any]]]:
    """A node on a free port, and what it printed when it was ready."""
    with started("node", "-m", model, "-o", out, "--port", 0, "--json", "--workers", 1, *arguments) as node:
        yield node, node.told()


def ended(node: Started) -> tuple[dict[str, Any], str]:
    """Have a node end in good order; its result, and what it said."""
    node.send_signal(signal.SIGTERM)
    out, err = node.communicate(timeout=PATIENCE)
    assert node.returncode == 0, err
    return json.loads(out), err


def post(orthanc: OrthancServer, path: str, content: bytes) -> Any:
    url = f"http://127.0.0.1:{orthanc.http_port}/{path}"
    with urllib.request.urlopen(urllib.request.Request(url, content, method="POST"), timeout=PATIENCE) as answer:
        return json.loads(answer.read())


def uploaded(orthanc: OrthancServer, image: Dataset) -> str:
    stream = io.BytesIO()
    image.save_as(stream, enforce_file_format=True)
    identity: str = post(orthanc, "instances", stream.getvalue())["ID"]
    return identity


def results(out: Path) -> list[dict[str, Any]]:
    """Those that are written; the node may be at the next one."""
    file = out / "screened" / "results.jsonl"
    written = file.read_bytes().rpartition(b"\n")[0] if file.exists() else b""
    return [json.loads(line) for line in written.splitlines()]


def test_from_an_archive_through_a_node_and_back(orthanc: OrthancServer, model: Path, tmp_path: Path) -> None:
    if not orthanc.has_dicomweb:
        pytest.skip("no DICOMweb plugin of Orthanc")
    out = tmp_path / "node"
    both = ("--send", orthanc.dicom_address, "--send", orthanc.web_address)
    identities = [uploaded(orthanc, radiograph(number)) for number in (1, 2, 3)]
    with process(model, out, *both, "--allow", "ORTHANC,SCANNER") as (node, said):
        modality = f"modalities/node-{said['port']}"
        url = f"http://127.0.0.1:{orthanc.http_port}/{modality}"
        content = json.dumps({"AET": "CXRLENS", "Host": "127.0.0.1", "Port": said["port"]}).encode()
        urllib.request.urlopen(urllib.request.Request(url, content, method="PUT"), timeout=PATIENCE).close()
        post(orthanc, f"{modality}/echo", b"{}")
        post(orthanc, f"{modality}/store", json.dumps(identities).encode())
        until(lambda: len(orthanc.instances("SR")) == 3)
        until(lambda: len(orthanc.instances("PR")) == 3)
        table = sqlite3.connect(out / "outbox.sqlite")
        until(lambda: table.execute("SELECT count(*) FROM deliveries WHERE state = 'delivered'").fetchone() == (6,))
        told, log = ended(node)
    assert told == {"received": 3, "screened": 3, "unscreened": 0, "undelivered": 0, "refused": 0}
    assert "Doe" not in log
    held = [
        dcmread(io.BytesIO(orthanc.content(f"instances/{each['id']}/file")))
        for each in orthanc.instances("SR").values()
    ]
    assert sorted(str(each.PatientName) for each in held) == [f"Doe^Jane {number}" for number in (1, 2, 3)]
    assert sorted(str(each.StudyInstanceUID) for each in held) == [f"{ROOT}{number}.1" for number in (1, 2, 3)]
    assert len(orthanc.ask("studies")) == 3  # in the studies of their images, in none of their own
    assert_same_as_screened(model, out, tmp_path / "again")
    orthanc.clear()


def assert_same_as_screened(model: Path, out: Path, again: Path) -> None:
    """The records are those of ``screen``, but for the last digits, as its batches are others."""
    screen(take_sources([str(out / "images")]), again, ScreeningSettings(model))
    one = {line["name"]: line for line in results(out)}
    other = {line["name"]: line for line in map(json.loads, (again / "results.jsonl").read_text().splitlines())}
    assert one.keys() == other.keys()
    for name, record in one.items():
        assert record["probability"] == pytest.approx(other[name].pop("probability"), rel=1e-4)
        for near in ("probability", "contours", "reason", "peak"):
            record.pop(near), other[name].pop(near, None)
        assert record == other[name]


def test_killed_with_an_archive_away_it_loses_and_doubles_nothing(
    orthanc: OrthancServer, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "node"
    orthanc.stop()
    numbers = list(range(11, 19))
    try:
        with process(model, out, "--send", orthanc.dicom_address, "--batch-size", 2) as (node, said):
            for number in numbers[:6]:
                assert send(said["port"], radiograph(number)) == [(0x0000, "")]
            until(lambda: results(out))  # some are screened, others not yet
            node.send_signal(signal.SIGKILL)
            node.wait(PATIENCE)
    finally:
        orthanc.start()
    assert len(list((out / "images").rglob("*.dcm"))) == 6
    with process(model, out, "--send", orthanc.dicom_address, "--batch-size", 2) as (node, said):
        for number in numbers:  # who was not answered sends again; so may who was
            assert send(said["port"], radiograph(number)) == [(0x0000, "")]
        until(lambda: len(orthanc.instances("SR")) == len(numbers))
        time.sleep(0.2)
        table = sqlite3.connect(out / "outbox.sqlite")
        until(lambda: table.execute("SELECT count(*) FROM deliveries WHERE state = 'waiting'").fetchone() == (0,))
        told, _ = ended(node)
    assert told["undelivered"] == told["unscreened"] == 0
    assert len(orthanc.instances("SR")) == len(numbers)
    found = results(out)
    assert len(found) == len({line["key"] for line in found}) == len(numbers)
    orthanc.clear()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host", "0.0.0.0"), "--allow AETITLE"),
        (("--aet", "MORE_THAN_SIXTEEN"), "--aet: an AE title"),
        (("--send", "pacs.example"), "is no destination"),
        (("--send", "https://a:hunter2@pacs.example/x"), "--credentials"),
        (("--key", "key.pem"), "--certificate"),
        (("--serve", "0.0.0.0:8000"), "--readers"),
        (("--serve", "port"), "--serve takes a port"),
        (("--keep-free", "much"), "--keep-free takes a size"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(
    arguments: tuple[str, ...], said: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from cxrlens.cli.main import app
    from cxrlens.errors import UsageError

    monkeypatch.delenv("CXRLENS_TOKEN", raising=False)
    done = CliRunner().invoke(app, ["node", "-m", str(model), "-o", str(tmp_path / "node"), "--port", "0", *arguments])
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)
    assert "hunter2" not in str(done.exception) + done.output
    assert not (tmp_path / "node").exists()
