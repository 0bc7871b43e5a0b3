"""Where received images lie: whole or not at all, and at no place that a sender names."""

from __future__ import annotations

import errno
import io
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from radiographs import radiograph

from cxrlens.node.spool import Instance, Kind, NoSpaceError, Spool


def instance(number: int = 1, **elements: Any) -> Instance:
    image = radiograph(number, **elements)
    stream = io.BytesIO()
    meta = image.file_meta
    image.save_as(stream, enforce_file_format=True)
    content = stream.getvalue()
    start = 132 + 12 + int.from_bytes(content[140:144], "little")  # behind the group of the file meta information
    return Instance(str(image.SOPInstanceUID), str(image.SOPClassUID), str(meta.TransferSyntaxUID), content[start:])


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "images")


def below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_an_image_is_a_file_that_anybody_reads(spool: Spool) -> None:
    received = spool.take(instance())
    assert received.kind is Kind.NEW
    assert list(spool.files()) == below(spool.folder) == [received.file]
    assert dcmread(received.file).pixel_array.tobytes() == radiograph(1).pixel_array.tobytes()
    assert received.file.stat().st_mode & 0o077 == 0


def test_the_same_image_is_one_file_and_a_correction_another(spool: Spool) -> None:
    first = spool.take(instance())
    assert spool.take(instance()) == replace(first, kind=Kind.REPEATED)
    corrected = spool.take(instance(seed=7))
    assert corrected.kind is Kind.CORRECTED
    assert corrected.file != first.file
    assert spool.take(instance(seed=7)).kind is Kind.REPEATED
    assert spool.take(instance(2)).kind is Kind.NEW
    assert len(below(spool.folder)) == 3


def test_another_encoding_of_the_same_bytes_is_another_content(spool: Spool) -> None:
    spool.take(instance())
    assert spool.take(replace(instance(), syntax=ImplicitVRLittleEndian)).kind is Kind.CORRECTED


@pytest.mark.parametrize(
    "uid", ["../../etc/passwd", "/tmp/x", "..", "a/b", "1.2\0.3", "-rf", "x" * 5000, "1.2.\n3", ""]
)
def test_no_uid_leads_elsewhere(spool: Spool, uid: str, tmp_path: Path) -> None:
    before = set(below(tmp_path))
    made = replace(instance(), uid=uid)
    object.__setattr__(made, "content", b"whatever")  # pydicom would not write such a UID
    file = spool.take(made).file
    assert file.resolve().is_relative_to(spool.folder.resolve())
    assert set(below(tmp_path)) - before == {file}
    assert file.name.removesuffix(".dcm").replace("-", "").isalnum()


def test_names_say_nothing_of_the_image(spool: Spool) -> None:
    file = spool.take(instance()).file
    assert "1.2.826" not in str(file)
    assert "Doe" not in str(file)


def test_a_disk_that_would_be_too_full_takes_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "images", keep_free=1 << 60)
    with pytest.raises(NoSpaceError):
        spool.take(instance())
    assert below(tmp_path) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_nothing(spool: Spool, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
    with pytest.raises(OSError, match="No space"):
        spool.take(instance())
    monkeypatch.undo()
    assert below(spool.folder) == []
    assert spool.take(instance()).kind is Kind.NEW


def test_what_a_killed_node_left_half_written_goes(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "images")
    file = spool.take(instance()).file
    half = file.with_name(f".{'0' * 16}.partial.{file.name}")
    half.write_bytes(b"half")
    other = file.with_name("notes.txt")
    other.write_text("not ours")
    assert list(Spool(tmp_path / "images").files()) == [file]
    assert not half.exists()
    assert other.exists()


def test_threads_may_bring_the_same_image_at_once(spool: Spool) -> None:
    with ThreadPoolExecutor(8) as threads:
        received = list(threads.map(lambda _: spool.take(instance()), range(32)))
    assert len({each.file for each in received}) == 1
    assert Kind.CORRECTED not in {each.kind for each in received}
    assert len(below(spool.folder)) == 1
    assert dcmread(received[0].file).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_an_image_that_another_thread_writes_meanwhile_is_no_correction(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_usage = shutil.disk_usage

    def meanwhile(path: Path) -> Any:
        monkeypatch.undo()
        assert spool.take(instance()).kind is Kind.NEW
        return disk_usage(path)

    monkeypatch.setattr(shutil, "disk_usage", meanwhile)
    assert spool.take(instance()).kind in (Kind.NEW, Kind.REPEATED)
    assert len(below(spool.folder)) == 1
