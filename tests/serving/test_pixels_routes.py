"""Pictures of the worklist and of uploads at full depth over HTTP, and other maps of images of the worklist."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from serving_files import add_results, asking, check, encoded, pixels, running, screened

from cxrlens.inspection.quality_model import QualityModel
from cxrlens.screening.record import ScreenedImage
from cxrlens.serving.app import create_app
from cxrlens.serving.settings import ServerSettings
from image_files import dicom, dicom_bytes

TOKEN = "a-token-of-the-tests"
STORED = (40 * np.arange(100)[None] + np.arange(70)[:, None]).astype(np.uint16)
DICOM = dicom_bytes(
    dicom(STORED, WindowCenter=2000, WindowWidth=1000, ImagerPixelSpacing=[0.2, 0.1], PatientName="Mustermann")
)
KEY = hashlib.sha256(DICOM).hexdigest()


def opened(answer: httpx.Response) -> tuple[dict[str, Any], npt.NDArray[np.uint16]]:
    """The line of JSON, and the levels, read as the documentation says."""
    assert answer.status_code == 200, answer.text
    line, _, levels = answer.content.partition(b"\n")
    assert (len(line) + 1) % 2 == 0
    about = json.loads(line)
    return about, np.frombuffer(levels, "<u2").reshape(about["height"], about["width"])


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive")
    (path / "ward").mkdir()
    (path / "ward" / "chest.dcm").write_bytes(DICOM)
    (path / "plain.png").write_bytes(encoded(pixels(2)))
    return path


def result(name: str, content: bytes) -> ScreenedImage:
    key = hashlib.sha256(content).hexdigest()
    return ScreenedImage(name=name, key=key, probability=0.4, decision="normal", height=70, width=100)


@pytest.fixture(scope="module")
def served(
    served_model: QualityModel, archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    folder = screened(tmp_path_factory.mktemp("screened"), served_model.identity.sha256, root=str(archive))
    changed = b"what was there when it was screened"
    (archive / "changed.dcm").write_bytes(b"something else")
    add_results(
        folder,
        result("ward/chest.dcm", DICOM),
        result("plain.png", encoded(pixels(2))),
        result("changed.dcm", changed),
        result("first copy.dcm", b"two copies"),  # it has changed, the other has not
        result("second copy.dcm", b"two copies"),
    )
    (archive / "first copy.dcm").write_bytes(b"changed")
    (archive / "second copy.dcm").write_bytes(b"two copies")
    with running(create_app(ServerSettings(decoders=1), served_model, folder.path)) as url, asking(url) as client:
        yield client


def test_the_values_of_an_image_of_the_worklist(served: httpx.Client) -> None:
    about, levels = opened(served.get(f"/api/worklist/{KEY}/pixels"))
    assert (about["width"], about["height"], about["bits"], about["exact"]) == (100, 70, 12, True)
    assert (about["slope"] * levels + about["intercept"] == STORED).all()
    assert about["window"] == {"centre": 2000, "width": 1000, "function": "LINEAR", "explanation": ""}
    assert about["windows"] == [about["window"]]
    assert (about["spacing"]["rows"], about["spacing"]["columns"]) == (0.2, 0.1)
    assert "Mustermann" not in json.dumps(about)


def test_an_upload_at_full_depth_is_the_same(served: httpx.Client) -> None:
    answer = served.post("/api/pixels", files={"file": ("private name.dcm", DICOM)})
    assert answer.content == served.get(f"/api/worklist/{KEY}/pixels").content
    refused = served.post("/api/pixels", files={"file": ("private name.dcm", b"no picture")})
    assert refused.status_code == 415
    assert "private" not in refused.text


@pytest.mark.parametrize("what", ["pixels", "check"])
def test_a_file_that_is_gone_or_has_changed_is_named(served: httpx.Client, archive: Path, what: str) -> None:
    def ask(content: bytes) -> httpx.Response:
        address = f"/api/worklist/{hashlib.sha256(content).hexdigest()}/{what}"
        return served.get(address) if what == "pixels" else served.post(address)

    changed = ask(b"what was there when it was screened")
    assert changed.status_code == 409
    assert (
        changed.json()["detail"] == "changed.dcm: the file has changed since it was screened; screen the folder again"
    )
    gone = ask(b"1")  # key_of(1), whose file there never was
    assert gone.status_code == 404
    assert "is no longer where it was screened (" in gone.json()["detail"]
    assert str(archive) in gone.json()["detail"]
    copies = ask(b"two copies")  # the second one was read, and is no image
    assert copies.status_code == 415
    assert copies.json()["detail"].startswith("second copy.dcm: ")
    assert ask(b"no image of the worklist").json()["detail"] == "no image of the worklist has this key"


def test_another_map_of_an_image_of_the_worklist_is_that_of_its_file(served: httpx.Client) -> None:
    before = served.get("/api/worklist").json()
    answer = served.post(f"/api/worklist/{KEY}/check", data={"method": "gradient"})
    assert answer.status_code == 200, answer.text
    expected = check(served, DICOM, method="gradient").json()
    assert answer.json() == expected
    assert expected["key"] == KEY
    assert expected["method"] == "gradient"
    assert served.get("/api/worklist").json() == before
    unknown = served.post(f"/api/worklist/{KEY}/check", data={"method": "magic"})
    assert unknown.status_code == 422
    assert "magic" in unknown.json()["detail"]


def test_a_token_is_asked_for_and_what_goes_over_a_network_is_compressed(
    served_model: QualityModel, archive: Path, tmp_path: Path
) -> None:
    folder = screened(tmp_path / "screened", served_model.identity.sha256, root=str(archive))
    add_results(folder, result("ward/chest.dcm", DICOM))
    settings = ServerSettings(decoders=1, token=TOKEN, hosts=("qc.example",))
    address = f"/api/worklist/{KEY}/pixels"
    with running(create_app(settings, served_model, folder.path)) as url, asking(url) as client:
        for what in ("pixels", "check"):
            method = "GET" if what == "pixels" else "POST"
            assert client.request(method, f"/api/worklist/{KEY}/{what}").status_code == 401
        assert client.post("/api/pixels", files={"file": ("a", DICOM)}).status_code == 401
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        foreign = {"Origin": "http://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
        assert client.post(f"/api/worklist/{KEY}/check", headers=foreign).status_code == 403
        plain = client.get(address, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        with client.stream("GET", address, headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["content-encoding"] == "gzip"
            raw = b"".join(answer.iter_raw())
        assert len(raw) < len(plain.content)
        assert gzip.decompress(raw) == plain.content
        refused = client.get(address, headers={"Accept-Encoding": "br, gzip;q=0"})
        assert "content-encoding" not in refused.headers


def test_pictures_are_bounded_and_slots_come_back(served_model: QualityModel, archive: Path, tmp_path: Path) -> None:
    folder = screened(tmp_path / "screened", served_model.identity.sha256, root=str(archive))
    add_results(folder, result("ward/chest.dcm", DICOM))
    app = create_app(ServerSettings(decoders=1, max_pixels=6999), served_model, folder.path)
    with running(app) as url, asking(url) as client:
        for _ in range(4):  # more than there are slots: one that fails, or has been sent, is free again
            large = client.get(f"/api/worklist/{KEY}/pixels")
            assert large.status_code == 413
            assert large.json()["detail"].startswith("ward/chest.dcm: the picture is 100 x 70 pixels, more than")


def test_without_a_folder_there_are_no_images_of_a_worklist(served_model: QualityModel) -> None:
    with running(create_app(ServerSettings(decoders=1), served_model)) as url, asking(url) as client:
        assert "no screened folder" in client.get(f"/api/worklist/{KEY}/pixels").json()["detail"]
        assert "no screened folder" in client.post(f"/api/worklist/{KEY}/check").json()["detail"]
