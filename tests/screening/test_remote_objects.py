"""Images in file systems of fsspec: which are taken, how they are known, and what is said of those that are not."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxrlens.errors import UnreadableImageError, UsageError
from cxrlens.inputs.origin import ChangedFileError, KnownOrigin
from cxrlens.screening.remote import objects
from cxrlens.screening.remote.object_store import ObjectStore, StoreFailedError, in_plain_words
from cxrlens.screening.remote.objects import StoredImage, is_image_name
from cxrlens.screening.remote.taking import origin_of, take_remote

fsspec = pytest.importorskip("fsspec")

ROOT = "memory://ward/in"


@pytest.fixture
def files() -> Iterator[dict[str, bytes]]:
    """The store, by paths."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    put = {
        "a.jpg": b"a", "deep/er/b.PNG": b"b", "1.2.840.5": b"c", "no-ending": b"d", "deep/e.dcm": b"e",
        ".hidden.jpg": b"", "deep/.git/f.jpg": b"", "@eaDir/a.jpg": b"", "DICOMDIR": b"", "notes.txt": b"",
        "old/.cxrlens.json": json.dumps({"format": 1, "names": ["pictures", "report.html"]}).encode(),
        "old/pictures/x.jpg": b"", "old/report.html": b"", "old/mine.jpg": b"m",
        "out/pictures/y.jpg": b"", "outer.jpg": b"o",
    }  # fmt: skip
    for name, content in put.items():
        system.pipe_file(f"/ward/in/{name}", content)
    yield put
    system.store.clear()


def test_images_are_taken_and_nothing_else(files: dict[str, bytes], caplog: pytest.LogCaptureFixture) -> None:
    source = take_remote(ROOT, left_out=f"{ROOT}/out")
    with caplog.at_level(logging.INFO):
        found = {origin.name: origin.read() for origin in source.origins()}
    taken = ("a.jpg", "deep/er/b.PNG", "1.2.840.5", "no-ending", "deep/e.dcm", "old/mine.jpg", "outer.jpg")
    assert found == {name: files[name] for name in taken}
    assert f"{ROOT}: 2 files whose names are no images' are left out" in caplog.text


def test_a_change_is_another_version(files: dict[str, bytes]) -> None:
    system = fsspec.filesystem("memory")
    before = {origin.name: origin.identity() for origin in take_remote(ROOT).origins()}
    assert {origin.name: origin.identity() for origin in take_remote(ROOT).origins()} == before
    system.pipe_file("/ward/in/a.jpg", b"another")
    after = {origin.name: origin.identity() for origin in take_remote(ROOT).origins()}
    assert {name for name in before if before[name] != after[name]} == {"a.jpg"}


def test_an_image_that_is_gone_empty_or_too_large_is_told(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    system = fsspec.filesystem("memory")
    system.pipe_file("/ward/in/empty.jpg", b"")
    for name, said in (("gone.jpg", "is not there"), ("empty.jpg", "the file is empty")):
        with pytest.raises(UnreadableImageError, match=f"^{ROOT}/{name}: {said}"):
            origin_of(ROOT, name).read()
    assert origin_of(ROOT, "a.jpg").exists()
    assert not origin_of(ROOT, "gone.jpg").exists()
    monkeypatch.setattr(objects, "MAX_BYTES", 0)
    with pytest.raises(UnreadableImageError, match="too large"):
        origin_of(ROOT, "a.jpg").read()


def test_a_known_image_is_held_to_its_content(files: dict[str, bytes]) -> None:
    origin = origin_of(ROOT, "a.jpg")
    known = KnownOrigin(origin, "a.jpg", hashlib.sha256(b"a").hexdigest())
    assert (known.read(), known.exists(), known.below(Path())) == (b"a", True, "a.jpg")
    fsspec.filesystem("memory").pipe_file("/ward/in/a.jpg", b"other")
    with pytest.raises(ChangedFileError, match=r"^a.jpg: the file has changed"):
        known.read()


def test_what_a_store_says_is_cut_where_it_may_be_a_signature() -> None:
    with pytest.raises(StoreFailedError) as failed, in_plain_words():
        raise RuntimeError("cannot GET https://x/y?X-Amz-Signature=secret now\nand more")
    assert "secret" not in failed.value.reason
    assert failed.value.reason == "the store fails (RuntimeError: cannot GET https://x/y?... now)"


def test_names_of_images() -> None:
    assert all(map(is_image_name, ("a.JPG", "x/1.2.840.113", "x/IM0001", "a.tiff")))
    assert not any(map(is_image_name, ("a.txt", "x/DICOMDIR", "a.csv", "a.jpg.part")))


def test_results_are_no_source(files: dict[str, bytes]) -> None:
    mark = json.dumps({"format": 1, "names": ["screening.json"]}).encode()
    fsspec.filesystem("memory").pipe_file("/ward/in/old/.cxrlens.json", mark)
    with pytest.raises(UsageError, match="is the output of a screening"):
        take_remote(f"{ROOT}/old")


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(UsageError, match=r"gs://b/x: needs a package .*pip install 'cxrlens\[remote\]' gcsfs"):
        ObjectStore("gs://b/x")


def test_origins_are_known_by_place_alone() -> None:
    assert StoredImage(ROOT, "a.jpg", 3, version="1") == StoredImage(ROOT, "a.jpg", version="2")
