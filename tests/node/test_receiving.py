"""Who may send what to a node, and what it answers; without a model."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import (
    MPEG2MPML,
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    SecondaryCaptureImageStorage,
)
from pynetdicom.dsutils import encode
from radiographs import call, radiograph, send

from cxrlens.errors import UnreadableImageError, UsageError
from cxrlens.inputs.readers import codecs
from cxrlens.node.counts import Counts
from cxrlens.node.receiving import Receiver, ReceivingSettings, server_context
from cxrlens.node.spool import Spool
from cxrlens.node.wanted import Wanted, wanted_of
from waiting import until


class Node:
    """A receiver with its spool, and what it was told to screen."""

    def __init__(self, folder: Path, settings: ReceivingSettings, keep_free: int) -> None:
        self.spool = Spool(folder / "images", keep_free)
        self.counts = Counts()
        self.arrived: list[Path] = []
        self.receiver = Receiver(settings, self.spool, self.counts, self.arrived.append)

    @property
    def port(self) -> int:
        return self.receiver.port

    def files(self) -> list[Path]:
        return [path for path in self.spool.folder.rglob("*") if path.is_file()]


@contextmanager
def running(folder: Path, *, keep_free: int = 0, **settings: Any) -> Iterator[Node]:
    node = Node(folder, ReceivingSettings(**{"port": 0, **settings}), keep_free)
    with node.receiver:
        yield node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with running(tmp_path) as made:
        yield made


def test_it_answers_c_echo(node: Node) -> None:
    association = call(node.port)
    assert association.send_c_echo().Status == 0x0000
    association.release()


def test_images_are_on_the_disk_when_success_is_answered(node: Node) -> None:
    images = [radiograph(1), radiograph(2, Modality="CR", SOPClassUID=ComputedRadiographyImageStorage)]
    kinds = [image.SOPClassUID for image in images]
    assert send(node.port, *images, kinds=kinds) == [(0x0000, "")] * 2
    assert len(node.files()) == 2
    assert set(node.arrived) == set(node.files())


def test_the_same_again_is_not_screened_again_a_correction_is(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "cxrlens"):
        assert send(node.port, radiograph(1), radiograph(1), radiograph(1, seed=9)) == [(0x0000, "")] * 3
    assert len(node.arrived) == len(node.files()) == 2
    assert [node.counts[event] for event in ("new", "repeated", "corrected")] == [1, 1, 1]
    assert "a correction from SCANNER" in caplog.text
    assert "Doe" not in caplog.text


@pytest.mark.parametrize(
    ("settings", "call_as"),
    [
        ({}, {"title": "SOMEBODY"}),
        ({"callers": frozenset({"PACS"})}, {"caller": "SCANNER"}),
    ],
)
def test_a_wrong_ae_title_is_rejected(settings: Any, call_as: Any, tmp_path: Path) -> None:
    with running(tmp_path, **settings) as node:
        association = call(node.port, **call_as)
        assert association.is_rejected
        assert not association.is_established


def test_an_ae_title_that_is_allowed_is_not(tmp_path: Path) -> None:
    with running(tmp_path, ae_title="NODE", callers=frozenset({"PACS", "SCANNER"})) as node:
        assert send(node.port, radiograph(1), title="NODE") == [(0x0000, "")]


def test_other_modalities_and_views_are_refused_and_named(tmp_path: Path) -> None:
    wanted = Wanted(views=frozenset({"PA", "AP"}))
    with running(tmp_path, wanted=wanted) as node:
        images = [radiograph(1, Modality="MG"), radiograph(2, ViewPosition="LL"), radiograph(3, ViewPosition="")]
        answers = send(node.port, *images)
    assert answers == [
        (0xC001, "modality MG is not asked for"),
        (0xC001, "view LL is not asked for"),
        (0x0000, ""),
    ]
    assert len(node.files()) == len(node.arrived) == 1
    assert node.counts["refused"] == 2


def test_results_that_come_back_are_refused(node: Node) -> None:
    own = radiograph(1, Manufacturer="cxrlens", SOPClassUID=SecondaryCaptureImageStorage)
    ((status, said),) = send(node.port, own, kinds=[SecondaryCaptureImageStorage])
    assert status == 0xC001
    assert "a result of this software" in said


def test_what_is_not_asked_for_can_be_dropped_silently_to_the_sender(tmp_path: Path) -> None:
    with running(tmp_path, drops_unwanted=True) as node:
        assert send(node.port, radiograph(1, Modality="MG")) == [(0x0000, "")]
        assert (node.files(), node.arrived, node.counts["refused"]) == ([], [], 1)


def test_another_class_or_an_encoding_without_a_codec_is_not_negotiated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def accepted(kind: str, *syntaxes: UID) -> bool:
        association = call(node.port, kinds=[kind], syntaxes=syntaxes)
        found = [context for context in association.accepted_contexts if context.abstract_syntax == kind]
        association.release()
        return bool(found)

    with running(tmp_path / "all") as node:
        kind = radiograph(1).SOPClassUID
        assert accepted(kind, ImplicitVRLittleEndian)
        assert accepted(kind, JPEG2000Lossless)
        assert not accepted(kind, MPEG2MPML)
        assert not accepted(CTImageStorage, ImplicitVRLittleEndian)
    available = codecs._available

    def without_one(syntax: Any, name: str) -> list[str]:
        if syntax == JPEG2000Lossless:
            raise UnreadableImageError("no codec is installed")
        return available(syntax, name)

    monkeypatch.setattr(codecs, "_available", without_one)
    with running(tmp_path / "fewer") as node:
        assert not accepted(kind, JPEG2000Lossless)


@pytest.mark.parametrize("dataset", [encode(radiograph(2), False, True), b"\x08\x00\xff\xffnothing"])
def test_another_instance_than_was_announced_is_refused(
    node: Node, dataset: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pynetdicom.association.encode", lambda *_: dataset)
    ((answered, _),) = send(node.port, radiograph(1))
    assert answered == 0xA900
    assert (node.files(), node.arrived) == ([], [])


def test_a_full_disk_is_answered_with_the_status_for_it(tmp_path: Path) -> None:
    with running(tmp_path, keep_free=1 << 60) as node:
        assert send(node.port, radiograph(1)) == [(0xA700, "the disk is full")]
        assert (node.files(), node.arrived, node.counts["no_space"]) == ([], [], 1)


@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 0xA700), (errno.EDQUOT, 0xA700), (errno.EACCES, 0x0110)])
def test_a_write_that_fails_is_never_called_success(
    node: Node, number: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise OSError(number, os.strerror(number), "file")

    monkeypatch.setattr(os, "fsync", fails)
    ((answered, _),) = send(node.port, radiograph(1))
    monkeypatch.undo()
    assert answered == status
    assert (node.files(), node.arrived) == ([], [])
    assert send(node.port, radiograph(1)) == [(0x0000, "")]


def test_a_call_that_is_broken_off_within_an_image_leaves_nothing(node: Node) -> None:
    image = radiograph(1, PixelData=bytes(4_000_000), Rows=2000, Columns=2000)
    association = call(node.port)
    sent = association.dul.socket.send
    pieces = []

    def cut(data: bytes) -> None:
        pieces.append(len(data))
        if len(pieces) > 8:
            association.dul.socket.close()
            return
        sent(data)

    association.dul.socket.send = cut
    answer = association.send_c_store(image)
    assert "Status" not in answer
    until(lambda: not node.receiver._entity.active_associations)
    assert (node.files(), node.arrived) == ([], [])
    assert send(node.port, radiograph(2)) == [(0x0000, "")]


@pytest.mark.parametrize("said", [b"\x04\0\0\x01\0\0" + bytes(100), b"\x04\0\xff\xff\xff\xff" + bytes(100)])
def test_one_that_falls_silent_within_a_piece_or_announces_a_huge_one_is_let_go(said: bytes, tmp_path: Path) -> None:
    with running(tmp_path, seconds=3) as node:
        association = call(node.port)
        association.dul.socket.socket.sendall(said)
        until(lambda: not node.receiver._entity.active_associations)
        assert node.files() == []
        association.kill()


def test_an_image_without_end_is_cut_off(tmp_path: Path) -> None:
    with running(tmp_path, max_bytes=100_000) as node:
        ((status, _),) = send(node.port, radiograph(1, PixelData=bytes(1_000_000), Rows=1000, Columns=1000))
        assert status is None
        assert node.files() == []
        assert send(node.port, *(radiograph(number) for number in range(30))) == [(0x0000, "")] * 30


def test_calls_beyond_the_limit_are_rejected_until_one_ends(tmp_path: Path) -> None:
    with running(tmp_path, associations=2) as node:
        calls = [call(node.port) for _ in range(2)]
        assert all(each.is_established for each in calls)
        assert not call(node.port).is_established
        calls[0].release()
        until(lambda: len(node.receiver._entity.active_associations) < 2)
        assert send(node.port, radiograph(1)) == [(0x0000, "")]
        calls[1].release()


def test_a_port_that_is_taken_is_named(node: Node, tmp_path: Path) -> None:
    other = Node(tmp_path / "other", ReceivingSettings(port=node.port), 0)
    with pytest.raises(UsageError, match=rf"127\.0\.0\.1:{node.port} cannot be listened on"), other.receiver:
        pass


def test_what_is_wanted_is_named_on_the_command_line() -> None:
    assert wanted_of(None, None) == Wanted(frozenset({"CR", "DX"}), frozenset())
    assert wanted_of(["cr, rg", "DX"], ["pa"]) == Wanted(frozenset({"CR", "RG", "DX"}), frozenset({"PA"}))
    assert wanted_of(["any"], ["any"]) == Wanted(frozenset(), frozenset())
    with pytest.raises(UsageError, match="--modality"):
        wanted_of(["CR;DX"], None)


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that is its own authority, for 127.0.0.1, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl")
    folder = tmp_path_factory.mktemp("certificates")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=node"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def client(certificate: tuple[Path, Path], *, proves_itself: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificate[0])
    if proves_itself:
        context.load_cert_chain(*certificate)
    return context


def test_with_tls_images_come_encrypted_or_not_at_all(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    with running(tmp_path, tls=server_context(*certificate, None)) as node:
        assert send(node.port, radiograph(1), tls=(client(certificate), "127.0.0.1")) == [(0x0000, "")]
        assert not call(node.port).is_established
        assert len(node.files()) == 1


def test_a_caller_that_never_begins_with_tls_holds_up_no_other(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    with (
        running(tmp_path, tls=server_context(*certificate, None)) as node,
        socket.create_connection(("127.0.0.1", node.port)),
    ):
        assert send(node.port, radiograph(1), tls=(client(certificate), "127.0.0.1")) == [(0x0000, "")]


def test_callers_can_be_asked_for_a_certificate(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    with running(tmp_path, tls=server_context(*certificate, certificate[0])) as node:
        proven = client(certificate, proves_itself=True)
        assert send(node.port, radiograph(1), tls=(proven, "127.0.0.1")) == [(0x0000, "")]
        assert not call(node.port, tls=(client(certificate), "127.0.0.1")).is_established


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    other = tmp_path / "other.pem"
    other.write_text("nothing")
    with pytest.raises(UsageError, match=r"other\.pem"):
        server_context(other, None, None)
    with pytest.raises(UsageError, match=r"other\.pem"):
        server_context(*certificate, other)
