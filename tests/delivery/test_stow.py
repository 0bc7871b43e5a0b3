"""STOW-RS to a server that answers all that a server may answer."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from cxrlens.delivery.credentials import Credentials, Login
from cxrlens.delivery.destinations import DeliveryFailed, DeliverySettings, open_destination
from ports import unused_port
from waiting import PATIENCE

pytest.importorskip("dicomweb_client")

SECRET = "hunter-2-hunter"
STORED, FAILED, UID = "00081199", "00081198", "00081155"


class Server:
    """Answers as told, and keeps what it got."""

    def __init__(self) -> None:
        self.status = 200
        self.answer: Any = None
        self.headers: dict[str, str] = {}
        self.got: list[tuple[dict[str, str], bytes]] = []
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                ours.got.append((dict(self.headers), body))
                content = b"" if ours.answer is None else json.dumps(ours.answer).encode()
                self.send_response(ours.status)
                for name, value in {"Content-Type": "application/dicom+json", **ours.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/dicom-web"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def listed(uids: list[str], **others: Any) -> dict[str, Any]:
    items = [{UID: {"vr": "UI", "Value": [uid]}, **others} for uid in uids]
    return {"vr": "SQ", "Value": items}


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = []
    for number in range(2):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, f"1.2.{number}"
        dataset.PatientName, dataset.PatientComments = "Doe^Jane", "x" * 10_000
        paths.append(tmp_path / f"{number}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def deliver(server: Server, files: list[Path], login: Login | None = None) -> None:
    settings = DeliverySettings(credentials=Credentials(otherwise=login), seconds=PATIENCE)
    open_destination(server.url, settings).deliver(files)


def test_files_are_stored_in_one_request(server: Server, files: list[Path]) -> None:
    server.answer = {STORED: listed(["1.2.0", "1.2.1"])}
    deliver(server, files)
    ((headers, body),) = server.got
    assert headers["Content-Type"].startswith("multipart/related")
    assert all(file.read_bytes() in body for file in files)
    assert "Authorization" not in headers


def test_a_server_that_says_just_that_all_is_well_is_believed(server: Server, files: list[Path]) -> None:
    deliver(server, files)


@pytest.mark.parametrize(
    ("login", "header"),
    [
        (Login("a", SECRET), "Basic " + base64.b64encode(f"a:{SECRET}".encode()).decode()),
        (Login("", SECRET), f"Bearer {SECRET}"),
    ],
)
def test_credentials_go_along(server: Server, files: list[Path], login: Login, header: str) -> None:
    deliver(server, files, login)
    assert server.got[0][0]["Authorization"] == header


@pytest.mark.parametrize(
    ("status", "answer", "again"),
    [
        (202, None, True),
        (202, {STORED: listed(["1.2.0"])}, True),
        (200, {STORED: listed(["1.2.0"])}, True),
        (
            202,
            {STORED: listed(["1.2.0"]), FAILED: listed(["1.2.1"], **{"00081197": {"vr": "US", "Value": [0xA700]}})},
            True,
        ),
        (
            202,
            {STORED: listed(["1.2.0"]), FAILED: listed(["1.2.1"], **{"00081197": {"vr": "US", "Value": [0xA900]}})},
            False,
        ),
        (409, {FAILED: listed(["1.2.0", "1.2.1"])}, False),
        (400, None, False),
        (415, None, False),
        (401, None, True),
        (429, None, True),
        (503, None, True),
    ],
)
def test_less_than_all_is_a_failure(server: Server, files: list[Path], status: int, answer: Any, again: bool) -> None:
    server.status, server.answer = status, answer
    with pytest.raises(DeliveryFailed) as caught:
        deliver(server, files, Login("a", SECRET))
    assert caught.value.again == again
    assert len(server.got) == 1
    assert server.url in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "Doe" not in str(caught.value)


def test_a_server_that_sends_elsewhere_is_not_followed(server: Server, files: list[Path]) -> None:
    """A page to log in, say: asked for without the files, it would answer that all is well."""
    server.status, server.headers = 302, {"Location": server.url + "/login"}
    with pytest.raises(DeliveryFailed, match="elsewhere"):
        deliver(server, files, Login("a", SECRET))
    assert len(server.got) == 1


def test_one_that_is_away_is_tried_again(files: list[Path]) -> None:
    away = open_destination(f"http://127.0.0.1:{unused_port()}/dicom-web", DeliverySettings(seconds=PATIENCE))
    with pytest.raises(DeliveryFailed, match="cannot be reached") as caught:
        away.deliver(files)
    assert caught.value.again
