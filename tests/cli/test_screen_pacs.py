"""Screening an Orthanc by DICOMweb and by its own API: what is asked for, nothing twice, results back into it."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from test_dicom_option import ROOT, radiograph

from command_line import Finished, cxrlens, refused
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.remote.followed import Followed
from cxrlens.screening.remote.sources import RemoteWatch
from cxrlens.screening.remote.taking import take_remote
from cxrlens.screening.remote.web import WebServer
from cxrlens.screening.store.store import Store
from orthanc import OrthancServer, orthanc_server
from waiting import PATIENCE, until

pytest.importorskip("dicomweb_client")

FAST = ("--batch-size", 4, "--workers", 0, "--device", "cpu")
OF_JANUARY, OF_FEBRUARY = range(1, 4), range(4, 6)


@pytest.fixture(scope="module")
def archive() -> Iterator[OrthancServer]:
    with orthanc_server() as server:
        if not server.has_dicomweb:
            pytest.skip("no DICOMweb plugin of Orthanc")
        yield server


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three of January, two of February at another station, and a slice of CT."""
    folder = tmp_path_factory.mktemp("radiographs")
    for number in OF_JANUARY:
        radiograph(folder / f"{number}.dcm", number, StudyDate=f"2026010{number}", StationName="ROOM1")
    for number in OF_FEBRUARY:
        radiograph(folder / f"{number}.dcm", number, StudyDate=f"2026020{number}", StationName="ROOM2", Modality="CR")
    radiograph(folder / "6.dcm", 6, StudyDate="20260201", StationName="ROOM2", Modality="CT")
    return folder


@pytest.fixture
def filled(archive: OrthancServer, radiographs: Path) -> OrthancServer:
    archive.clear()
    for path in sorted(radiographs.iterdir()):
        upload(archive, path)
    return archive


def upload(archive: OrthancServer, path: Path) -> None:
    address = f"http://127.0.0.1:{archive.http_port}/instances"
    urllib.request.urlopen(urllib.request.Request(address, path.read_bytes(), method="POST"), timeout=PATIENCE).close()


def dicomweb(archive: OrthancServer) -> str:
    return f"dicomweb+http://127.0.0.1:{archive.http_port}/dicom-web"


def orthanc(archive: OrthancServer) -> str:
    return f"orthanc+http://127.0.0.1:{archive.http_port}"


def screen(source: object, model: Path, out: Path, *more: object) -> Finished:
    return cxrlens("screen", "-m", model, "-o", out, "--json", *FAST, *more, "--", source)


def records(out: Path) -> dict[str, ScreenedImage]:
    with Store(ScreenedFolder(out)) as store:
        return {image.name: image for image in store.results.newest()}


def content_key(folder: Path, number: int) -> str:
    return hashlib.sha256((folder / f"{number}.dcm").read_bytes()).hexdigest()


@pytest.mark.parametrize("address", [dicomweb, orthanc])
def test_an_archive_is_screened_as_a_folder_is(
    filled: OrthancServer, radiographs: Path, model: Path, tmp_path: Path, address: object
) -> None:
    assert callable(address)
    finished = screen(address(filled), model, tmp_path / "out", "--workers", 1, "--batch-size", 1)
    assert finished.code == 0, finished.err
    assert screen(radiographs, model, tmp_path / "local", "--batch-size", 1).code == 0
    found = {image.key: image for image in records(tmp_path / "out").values()}
    expected = {image.key: image for image in records(tmp_path / "local").values()}
    assert found.keys() == {content_key(radiographs, number) for number in (*OF_JANUARY, *OF_FEBRUARY)}
    for key, image in found.items():
        assert image.model_copy(update={"name": ""}) == expected[key].model_copy(update={"name": ""})
    names = {image.name for image in found.values()}
    if address is dicomweb:
        assert names == {f"{ROOT}{n}.1/{ROOT}{n}.2/{ROOT}{n}.3" for n in (*OF_JANUARY, *OF_FEBRUARY)}
    else:
        assert names < {*filled.ask("instances")}


@pytest.mark.parametrize("address", [dicomweb, orthanc])
@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("date=20260102", {2}),
        ("date=20260102-20260204", {2, 3, 4}),
        ("date=20260103-&modality=DX", {3}),
        ("date=-20260101", {1}),
        ("station=ROOM2", {4, 5}),
        ("station=*2&modality=*", {4, 5, 6}),
        ("modality=CT", {6}),
        ("modality=MG", set()),
    ],
)
def test_what_was_asked_for_is_found(filled: OrthancServer, address: object, query: str, numbers: set[int]) -> None:
    assert callable(address)
    found = [origin.read() for origin in take_remote(f"{address(filled)}?{query}").origins()]
    uids = sorted(dcmread_bytes(content) for content in found)
    assert uids == sorted(f"{ROOT}{number}.3" for number in numbers)


def dcmread_bytes(content: bytes) -> str:
    return str(dcmread(io.BytesIO(content), stop_before_pixels=True).SOPInstanceUID)


@pytest.mark.parametrize("address", [dicomweb, orthanc])
def test_nothing_is_fetched_twice(
    filled: OrthancServer, model: Path, tmp_path: Path, address: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(address)
    assert screen(address(filled) + "?date=20260101-20260131", model, tmp_path / "out").json["computed"] == 3
    fetched: list[str] = []
    content = WebServer.content

    def noted(self: WebServer, path: str, accept: str) -> tuple[bytes, str]:
        fetched.append(path)
        return content(self, path, accept)

    monkeypatch.setattr(WebServer, "content", noted)
    wider = screen(address(filled), model, tmp_path / "out")
    assert (wider.json["images"], wider.json["computed"]) == (5, 2)
    assert len(fetched) == 2


def test_an_image_that_an_orthanc_was_sent_anew_is_screened_anew(
    filled: OrthancServer, radiographs: Path, model: Path, tmp_path: Path
) -> None:
    source = f"{orthanc(filled)}?date=20260101"
    screen(source, model, tmp_path / "out")
    (before,) = records(tmp_path / "out").values()
    filled.delete(f"instances/{before.name}")
    radiograph(tmp_path / "corrected.dcm", 1, StudyDate="20260101", StationName="ROOM1", SeriesDescription="corrected")
    upload(filled, tmp_path / "corrected.dcm")
    assert screen(source, model, tmp_path / "out").json["images"] == 1
    (after,) = records(tmp_path / "out").values()
    assert before.name == after.name
    assert before.key != after.key
    assert after.key == hashlib.sha256((tmp_path / "corrected.dcm").read_bytes()).hexdigest()


def test_results_are_sent_back_once(filled: OrthancServer, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    send = ("--send", filled.web_address)
    finished = screen(dicomweb(filled), model, tmp_path / "out", *send)
    assert finished.code == 0, finished.err
    assert f"{filled.web_address}: has taken the DICOM results of 5 images" in finished.err
    reports = filled.instances("SR")
    assert len(reports) == 5
    assert reports.keys() == {
        str(dcmread(path).SOPInstanceUID) for path in (tmp_path / "out" / "dicom").glob("*.sr.dcm")
    }
    last = filled.ask("changes?last")["Last"]
    again = screen(f"{dicomweb(filled)}?modality=*&date=20260101-20260131", model, tmp_path / "out", *send)
    assert again.code == 0, again.err
    assert again.json["images"] == 5  # no result is taken for an image
    assert "left out 6 series of results that cxrlens made" in again.err
    changes = {change["ChangeType"] for change in filled.ask(f"changes?since={last}&limit=1000")["Changes"]}
    assert changes <= {"StableSeries", "StableStudy", "StablePatient"}  # which it says of what has been there a while


def test_results_that_do_not_arrive_are_kept(filled: OrthancServer, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    out, source = tmp_path / "out", f"{orthanc(filled)}?date=20260101"
    away = "http://127.0.0.1:9/dicom-web"
    refused(screen(source, model, out, "--send", away), 5, "of 1 image have not arrived", away, "the same command")
    assert (out / "worklist.csv").exists()
    both = screen(source, model, out, "--send", away, "--send", filled.web_address)
    assert both.code == 5
    assert len(filled.instances("SR")) == 1


def test_changes_are_followed_from_the_last_one(filled: OrthancServer, radiographs: Path, tmp_path: Path) -> None:
    address = f"{orthanc(filled)}?station=ROOM?"
    watch = RemoteWatch(take_remote(address), 0.1, Followed(tmp_path))
    assert len([*watch.poll()]) == 5
    watch.settled()
    assert [*watch.poll()] == []
    watch.settled()
    for number, station, modality in ((7, "ROOM3", "DX"), (8, "ROOM12", "DX"), (9, "ROOM1", "CT")):
        radiograph(tmp_path / f"{number}.dcm", number, StudyDate="20260301", StationName=station, Modality=modality)
        upload(filled, tmp_path / f"{number}.dcm")
    (new,) = watch.poll()
    assert dcmread_bytes(new.read()) == f"{ROOT}7.3"
    restarted = RemoteWatch(take_remote(address), 0.1, Followed(tmp_path))  # as if killed before it was settled
    assert [*restarted.poll()] == [new]
    restarted.settled()
    assert [*RemoteWatch(take_remote(address), 0.1, Followed(tmp_path)).poll()] == []


def test_an_orthanc_that_has_forgotten_its_changes_is_searched(filled: OrthancServer, tmp_path: Path) -> None:
    followed = Followed(tmp_path)
    followed.follow(orthanc(filled), 10**9)
    assert len([*RemoteWatch(take_remote(orthanc(filled)), 0.1, followed).poll()]) == 5


def test_a_killed_watch_goes_on(filled: OrthancServer, whole_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "cxrlens", "screen", orthanc(filled), "-m", whole_model, "-o", out, "--watch"]
    command += ["--interval", 0.2, *FAST]

    def started() -> subprocess.Popen[bytes]:
        return subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def screened() -> int:
        """As its results say, which come after the store's."""
        return (out / "results.jsonl").read_text().count("\n") if (out / "results.jsonl").exists() else 0

    first = started()
    try:
        until(lambda: screened() == 5)
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    radiograph(tmp_path / "7.dcm", 7, StudyDate="20260301")
    upload(filled, tmp_path / "7.dcm")
    second = started()
    try:
        until(lambda: screened() == 6)
    finally:
        second.send_signal(signal.SIGTERM)
        assert second.wait() == 0
    assert len((out / "results.jsonl").read_text().splitlines()) == 6
    assert len((out / "worklist.csv").read_text().splitlines()) == 7
