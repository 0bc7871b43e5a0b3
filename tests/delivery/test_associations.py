"""C-STORE to a peer that answers all that a peer may answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from cxrlens.delivery.destinations import DeliveryFailed, DeliverySettings, Destination, open_destination
from ports import unused_port
from waiting import PATIENCE

pynetdicom = pytest.importorskip("pynetdicom")
from pynetdicom import AE, evt  # noqa: E402


class Peer:
    """A node that answers with a status, and keeps what it got."""

    def __init__(self) -> None:
        self.status: Any = 0x0000
        self.got: list[Dataset] = []
        self.syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        self.kinds = [ComprehensiveSRStorage, SecondaryCaptureImageStorage]
        self.callers: list[str] = []
        self._entity = AE("PEER")

    def start(self) -> Destination:
        entity = self._entity = AE("PEER")
        entity.require_called_aet = True
        entity.require_calling_aet = self.callers
        for kind in self.kinds:
            entity.add_supported_context(kind, self.syntaxes)
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        assert server is not None
        return destination(server.server_address[1])

    def stop(self) -> None:
        self._entity.shutdown()

    def _store(self, event: Any) -> Any:
        if self.status == "abort":
            event.assoc.abort()
            return 0x0000
        self.got.append(event.dataset)
        answer = Dataset()
        answer.Status = self.status
        if self.status:
            answer.ErrorComment = "because"
        return answer


def destination(port: int, title: str = "PEER") -> Destination:
    return open_destination(f"dicom://{title}@127.0.0.1:{port}", DeliverySettings(seconds=PATIENCE))


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.stop()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Something of the kind of a report, and of a picture."""
    paths = []
    for number, kind in enumerate((ComprehensiveSRStorage, SecondaryCaptureImageStorage)):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = kind, f"1.2.{number}"
        dataset.PatientName = "Doe^Jane"
        paths.append(tmp_path / f"{number}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def test_all_files_arrive_as_they_are(peer: Peer, files: list[Path]) -> None:
    peer.start().deliver(files)
    assert [each.SOPInstanceUID for each in peer.got] == ["1.2.0", "1.2.1"]
    assert [each.PatientName for each in peer.got] == [dcmread(file).PatientName for file in files]


def test_a_peer_that_knows_the_oldest_encoding_alone_gets_them_too(peer: Peer, files: list[Path]) -> None:
    peer.syntaxes = [ImplicitVRLittleEndian]
    peer.start().deliver(files)
    assert [each.SOPInstanceUID for each in peer.got] == ["1.2.0", "1.2.1"]


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_a_warning_says_that_the_file_was_stored(
    peer: Peer, files: list[Path], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    peer.status = status
    with caplog.at_level(logging.INFO, "cxrlens"):
        peer.start().deliver(files)
    assert f"{status:#06x}" in caplog.text


@pytest.mark.parametrize(
    ("status", "again"), [(0xA700, True), (0xA702, True), (0x0110, True), (0xA900, False), (0xC123, False)]
)
def test_a_failure_says_whether_it_is_the_files(peer: Peer, files: list[Path], status: int, again: bool) -> None:
    peer.status = status
    with pytest.raises(DeliveryFailed, match=f"{status:#06x}: because") as caught:
        peer.start().deliver(files)
    assert caught.value.again == again
    assert "Doe" not in str(caught.value)


def test_a_peer_that_takes_no_reports_refuses_them(peer: Peer, files: list[Path]) -> None:
    peer.kinds = [SecondaryCaptureImageStorage]
    with pytest.raises(DeliveryFailed, match="takes no Comprehensive SR") as caught:
        peer.start().deliver(files)
    assert not caught.value.again


def test_one_that_breaks_off_is_tried_again(peer: Peer, files: list[Path]) -> None:
    peer.status = "abort"
    with pytest.raises(DeliveryFailed) as caught:
        peer.start().deliver(files)
    assert caught.value.again


def test_one_that_rejects_the_call_says_why_and_is_tried_again(peer: Peer, files: list[Path]) -> None:
    peer.callers = ["SOMEBODY"]
    with pytest.raises(DeliveryFailed, match="AE title") as caught:
        peer.start().deliver(files)
    assert caught.value.again
    assert peer.got == []


def test_one_that_is_away_is_tried_again(files: list[Path]) -> None:
    with pytest.raises(DeliveryFailed, match="cannot be reached") as caught:
        destination(unused_port()).deliver(files)
    assert caught.value.again
