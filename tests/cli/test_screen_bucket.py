"""Screening a bucket, and into one: the same results as of a folder, none fetched twice, none published half."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buckets import Buckets, s3_server
from command_line import Finished, cxrlens, refused, table
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.remote import object_store
from cxrlens.screening.remote.object_store import ObjectStore, StoreFailedError
from cxrlens.screening.remote.objects import ObjectSource, StoredImage
from ports import unused_port

FAST = ("--batch-size", 4, "--workers", 0, "--device", "cpu", "--maps", "all")


@pytest.fixture(scope="module")
def s3() -> Iterator[Buckets]:
    with s3_server() as server:
        server.make("data")
        server.make("results")
        yield server


@pytest.fixture(scope="module")
def pictures(phantoms: Path) -> list[Path]:
    return sorted((phantoms / "train").rglob("*.jpg"))[:3]


@pytest.fixture
def inbox(s3: Buckets, pictures: list[Path], request: pytest.FixtureRequest) -> str:
    """A folder of a bucket of its own, with three images, and what is none."""
    prefix = f"{request.node.name}/in"
    for number, path in enumerate(pictures):
        s3.put("data", f"{prefix}/{'deep//er/' if number % 2 else ''}{path.name}", path.read_bytes())
    for name in (".hidden.jpg", "@eaDir/a.jpg", "notes.txt", "deep/"):
        s3.put("data", f"{prefix}/{name}", b"none of ours")
    return f"s3://data/{prefix}"


def screen(source: object, model: Path, out: object, *more: object) -> Finished:
    return cxrlens("screen", "-m", model, "-o", out, "--json", *FAST, *more, "--", source)


def records(out: Path) -> dict[str, dict[str, Any]]:
    lines = (out / "results.jsonl").read_text("utf-8").splitlines()
    found = map(ScreenedImage.model_validate_json, lines)
    return {image.name: image.model_dump() for image in found}


def test_a_bucket_is_screened_as_a_folder_is(
    s3: Buckets, inbox: str, pictures: list[Path], model: Path, tmp_path: Path
) -> None:
    finished = screen(inbox, model, tmp_path / "out", "--workers", 1, "--batch-size", 1)
    assert finished.code == 0, finished.err
    assert "1 files whose names are no images' are left out" in finished.err
    local = tmp_path / "in"
    local.mkdir()
    for path in pictures:
        shutil.copy(path, local)
    assert screen(local, model, tmp_path / "local", "--batch-size", 1).code == 0
    found, expected = records(tmp_path / "out"), records(tmp_path / "local")
    assert found.keys() == {f"{'deep//er/' if n % 2 else ''}{path.name}" for n, path in enumerate(pictures)}
    for name, record in found.items():
        assert record | {"name": ""} == expected[name.rpartition("/")[2]] | {"name": ""}
    info = json.loads((tmp_path / "out" / "screening.json").read_text())
    assert info["root"] == inbox
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert f"{inbox}/deep//er/" in page
    assert "never-to-be-shown" not in page + finished.err


def test_another_endpoint_in_the_environment_is_another_store(
    s3: Buckets, inbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = [*ObjectStore(inbox).pages()]
    assert here
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_port()}")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(StoreFailedError, match="Could not connect"):
            next(ObjectStore(inbox).pages())
    assert [*ObjectStore(inbox).pages()] == here


def test_what_has_not_changed_is_not_fetched_again(
    s3: Buckets, inbox: str, pictures: list[Path], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    read = StoredImage.read

    def noted(self: StoredImage) -> bytes:
        fetched.append(self.name)
        return read(self)

    monkeypatch.setattr(StoredImage, "read", noted)
    s3.put("data", f"{inbox.removeprefix('s3://data/')}/broken.jpg", b"no image")
    first = screen(inbox, model, tmp_path / "out")
    assert (first.code, first.json["computed"], first.json["unreadable"], len(fetched)) == (3, 3, 1, 4)
    fetched.clear()
    second = screen(inbox, model, tmp_path / "out")
    assert (second.json["images"], second.json["computed"]) == (4, 0)
    assert fetched == ["broken.jpg"]  # it may be another time
    fetched.clear()
    s3.put("data", f"{inbox.removeprefix('s3://data/')}/{pictures[0].name}", pictures[1].read_bytes())
    (tmp_path / "out" / "pictures" / f"{hashlib.sha256(pictures[2].read_bytes()).hexdigest()}.jpg").unlink()
    screen(inbox, model, tmp_path / "out")
    assert sorted(fetched) == sorted(["broken.jpg", pictures[0].name, pictures[2].name])
    assert records(tmp_path / "out")[pictures[0].name]["key"] == hashlib.sha256(pictures[1].read_bytes()).hexdigest()


def test_a_large_bucket_is_listed_as_it_is_needed(
    s3: Buckets, inbox: str, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "PAGE", 2)
    pages: list[int] = []
    source = ObjectSource(inbox)
    ask = source._store.files.call_s3

    def noted(method: str, **wanted: Any) -> Any:
        answer = ask(method, **wanted)
        pages.append(len(answer.get("Contents", ())))
        return answer

    monkeypatch.setattr(source._store.files, "call_s3", noted)
    found = source.origins()
    next(found)
    assert len(pages) <= 2
    assert len([*found]) == len(pictures) - 1
    assert len(pages) > 3
    assert max(pages) == 2


def test_results_that_lie_among_the_images_are_no_images(
    s3: Buckets, inbox: str, pictures: list[Path], model: Path, tmp_path: Path
) -> None:
    out = f"{inbox}/0-results"
    first = screen(inbox, model, out, "--work-folder", tmp_path / "work")
    assert (first.code, first.json["images"]) == (0, 3)
    elsewhere = screen(inbox, model, tmp_path / "other")
    assert (elsewhere.code, elsewhere.json["images"]) == (0, 3)
    refused(screen(out, model, tmp_path / "third"), 2, out, "is the output of a screening")


def test_one_object_is_screened(s3: Buckets, inbox: str, pictures: list[Path], model: Path, tmp_path: Path) -> None:
    finished = screen(f"{inbox}/{pictures[0].name}", model, tmp_path / "out")
    assert (finished.code, finished.json["images"]) == (0, 1)
    assert records(tmp_path / "out").keys() == {pictures[0].name}


def test_what_cannot_be_screened_is_told(s3: Buckets, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(screen("s3://no-such-bucket/in", model, out), 2, "s3://no-such-bucket/in: is not there")
    refused(screen("nosuch://b/in", model, out), 2, "there is no address of the kind 'nosuch://'")
    refused(screen("s3://data/empty", model, out), 4, "s3://data/empty: no images were found")
    refused(screen("s3://data/in", model, "s3://results/x"), 2, "--work-folder")
    refused(screen("s3://data/in", model, out, "--work-folder", out), 2, "--work-folder")
    refused(screen("s3://data/in", model, out, "--ca-file", out), 2, "--ca-file")
    refused(screen(tmp_path, model, "dicomweb://pacs/x", "--work-folder", out), 2, "takes no folder of results")
    assert not out.exists()


def published(s3: Buckets, prefix: str) -> dict[str, bytes]:
    return {key: s3.get("results", f"{prefix}{key}") for key in s3.keys("results", prefix)}


def check_whole(found: dict[str, bytes], work: Path) -> None:
    """All that an index says is there as it says, and all pictures and maps of the work folder are."""
    index = json.loads(found["index.json"])
    for name, facts in index["files"].items():
        assert facts == {"size": len(found[name]), "sha256": hashlib.sha256(found[name]).hexdigest()}
    for folder, count in index["folders"].items():
        there = {f"{folder}/{file.name}": file.read_bytes() for file in (work / folder).glob("[!.]*")}
        assert len(there) == count
        assert {name: content for name, content in found.items() if name.startswith(f"{folder}/")} == there
    for name in ("worklist.csv", "report.html", "results.jsonl", "screening.json"):
        assert found[name] == (work / name).read_bytes()
    assert {"store.sqlite", "worklist.csv", "report.html", "screening.json"} <= index["files"].keys()


def test_results_are_published_and_another_machine_goes_on_with_them(
    s3: Buckets, inbox: str, pictures: list[Path], model: Path, tmp_path: Path
) -> None:
    out, first, second = "s3://results/moved", tmp_path / "first", tmp_path / "second"
    finished = screen(inbox, model, out, "--work-folder", first)
    assert finished.code == 0, finished.err
    assert finished.json["files"]["worklist"] == "s3://results/moved/worklist.csv"
    check_whole(published(s3, "moved/"), first)
    s3.put("data", f"{inbox.removeprefix('s3://data/')}/new.jpg", pictures[0].read_bytes() + b"another")
    moved = screen(inbox, model, out, "--work-folder", second)
    assert (moved.code, moved.json["images"], moved.json["computed"]) == (0, 4, 1), moved.err
    found = published(s3, "moved/")
    check_whole(found, second)
    refused(screen(inbox, model, out, "--work-folder", first), 2, out, "another work folder", str(first))
    copy = tmp_path / "copy"
    for name, content in found.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(content)
    assert cxrlens("share", copy, "-o", tmp_path / "page.html").code == 0  # its store is whole
    assert len(table(copy / "worklist.csv")) == 4
