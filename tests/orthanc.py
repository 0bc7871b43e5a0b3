"""An Orthanc for tests, of the system's package: a folder of its own, free ports, C-STORE and DICOMweb."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ports import unused_port
from waiting import PATIENCE

AE_TITLE = "ORTHANC"
_PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc")


class OrthancServer:
    """An archive that can be ended and started again.

    Attributes:
        http_port: of its REST API and DICOMweb.
        dicom_port: of its DICOM node.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self.http_port, self.dicom_port = unused_port(), unused_port()
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        plugins = [str(path) for place in _PLUGINS for path in Path(place).glob("libOrthancDicomWeb.so*")]
        self.has_dicomweb = bool(plugins)
        (folder / "orthanc.json").write_text(
            json.dumps(
                {
                    "Name": "tests",
                    "StorageDirectory": str(folder / "storage"),
                    "IndexDirectory": str(folder / "index"),
                    "HttpPort": self.http_port,
                    "DicomPort": self.dicom_port,
                    "DicomAet": AE_TITLE,
                    "DicomCheckCalledAet": True,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": False,
                    "DicomAlwaysAllowStore": True,
                    "HttpThreadsCount": 4,
                    "Plugins": plugins[:1],
                }
            )
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = (self._folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self._program, str(self._folder / "orthanc.json")], stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.ask("system")
                return
            except (urllib.error.URLError, ConnectionError):
                assert self._process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def stop(self) -> None:
        """End it, where it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    @property
    def dicom_address(self) -> str:
        return f"dicom://{AE_TITLE}@127.0.0.1:{self.dicom_port}"

    @property
    def web_address(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def ask(self, path: str) -> Any:
        """The JSON that its REST API answers with."""
        return json.loads(self.content(path))

    def content(self, path: str) -> bytes:
        """What its REST API answers with."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/{path}", timeout=PATIENCE) as answer:
            content: bytes = answer.read()
        return content

    def delete(self, path: str) -> None:
        """Have it delete something."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}/{path}", method="DELETE")
        urllib.request.urlopen(request, timeout=PATIENCE).close()

    def instances(self, modality: str) -> dict[str, dict[str, str]]:
        """Tags by SOP Instance UID of the instances of a modality that it holds."""
        found = {}
        for each in self.ask("instances?expand"):
            series = self.ask(f"series/{each['ParentSeries']}")["MainDicomTags"]
            if series.get("Modality") == modality:
                found[each["MainDicomTags"]["SOPInstanceUID"]] = {**series, "id": each["ID"]}
        return found

    def clear(self) -> None:
        """Delete all that it holds."""
        for patient in self.ask("patients"):
            self.delete(f"patients/{patient}")


@contextmanager
def orthanc_server() -> Iterator[OrthancServer]:
    """A running one; the test is skipped where the system has none."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("no Orthanc")
    folder = Path(tempfile.mkdtemp(prefix="orthanc-"))
    server = OrthancServer(program, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
