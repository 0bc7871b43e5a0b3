"""Checking an upload: the answer is what the library says of the file."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import logging

import httpx
import numpy as np
import pytest
from PIL import Image
from serving_files import PATIENT, PATIENT_ID, asking, check, dicom, encoded, pixels, running, uploads

from cxrlens.inspection.quality_model import QualityModel
from cxrlens.inspection.result import ImageResult
from cxrlens.saliency.fusion import Fusion
from cxrlens.saliency.methods import METHODS
from cxrlens.saliency.resizing import PUBLISHED_RESIZE
from cxrlens.serving.app import create_app
from cxrlens.serving.settings import ServerSettings


def decoded(address: str, kind: str) -> Image.Image:
    head, _, body = address.partition(",")
    assert head == f"data:{kind};base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


@pytest.mark.parametrize("name", [name for name, sent in uploads().items() if sent.status == 200])
def test_an_upload_is_answered_as_the_library_does(client: httpx.Client, served_model: QualityModel, name: str) -> None:
    content = uploads()[name].content
    answer = check(client, content).json()
    found = served_model.check(content)
    assert answer["key"] == hashlib.sha256(content).hexdigest()
    assert answer["probability"] == pytest.approx(found.probability, abs=5e-6)
    assert answer["decision"] == found.decision
    assert answer["triage"] is None
    assert_highest(answer["peak"], found, "normgrad_conv1x1")
    assert not answer["flat"]
    height, width = found.maps["normgrad_conv1x1"].shape
    assert (answer["height"], answer["width"]) == (height, width)
    assert decoded(answer["picture"], "image/jpeg").size == (width, height)
    inner = served_model.card.preprocessing.geometry(height, width).without_padding()
    map_ = np.asarray(decoded(answer["map"], "image/png"))
    assert map_.shape == (inner.out_height, inner.out_width)
    shown = inner.backward_map(map_.astype(np.float32) / 255)
    np.testing.assert_allclose(shown, found.maps["normgrad_conv1x1"], atol=0.01)
    row, column = answer["peak"]
    assert any(_holds(contour, column, row) for contour in answer["contours"])


def assert_highest(peak: list[int] | None, found: ImageResult, method: str) -> None:
    """The peak is where the map is highest, or as good as that: the last digits of maps depend on the batch."""
    if peak is None:
        assert method in found.flat
    else:
        map_ = found.maps[method]
        assert map_[peak[0], peak[1]] >= map_.max() - 0.02


def _holds(polygon: list[list[float]], x: float, y: float) -> bool:
    """Whether a point lies in a polygon, or within a pixel of it (even-odd rule, at five points)."""
    return any(_inside(polygon, x + dx, y + dy) for dx, dy in ((0, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)))


def _inside(polygon: list[list[float]], x: float, y: float) -> bool:
    inside = False
    for (x0, y0), (x1, y1) in itertools.pairwise(polygon):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            inside = not inside
    return inside


def test_a_turned_photograph_is_upright_everywhere(client: httpx.Client) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    answer = check(client, encoded(pixels(1, (60, 200)), "JPEG", exif=exif)).json()
    assert (answer["height"], answer["width"], answer["origin"]) == (200, 60, "JPEG")
    assert decoded(answer["picture"], "image/jpeg").size == (60, 200)


def test_a_large_jpeg_has_the_library_s_probability_and_a_preview_of_1024_px(
    client: httpx.Client, served_model: QualityModel
) -> None:
    content = encoded(pixels(8, (1300, 2100)), "JPEG")
    answer = check(client, content).json()
    assert answer["probability"] == pytest.approx(served_model.check(content).probability, abs=5e-6)
    assert max(decoded(answer["picture"], "image/jpeg").size) == 1024
    assert (answer["height"], answer["width"]) == (1300, 2100)


@pytest.mark.parametrize("layers", ["last", "combined", "layer3.0"])
def test_layers_and_smoothing_are_taken(client: httpx.Client, served_model: QualityModel, layers: str) -> None:
    content = encoded(pixels(7))
    answer = check(client, content, method="grad_cam", layers=layers, smooth=2.5).json()
    found = served_model.check(content, methods="grad_cam", layers=layers, smooth=2.5)
    assert (answer["method"], answer["layers"], answer["smooth"]) == ("grad_cam", layers, 2.5)
    assert (answer["grid"], answer["interpolation"], answer["flip"]) == ("centres", "bicubic", False)
    assert answer["flat"] == bool(found.flat)
    assert_highest(answer["peak"], found, "grad_cam")


def test_maps_are_resized_as_the_server_was_told(served_model: QualityModel) -> None:
    settings = ServerSettings(fusion=Fusion(resize=PUBLISHED_RESIZE, flip=True))
    content = encoded(pixels(7))
    with running(create_app(settings, served_model)) as url, asking(url) as client:
        answer = check(client, content, method="grad_cam", layers="last").json()
        offered = client.get("/api/methods").json()
    expected = {"grid": "areas", "interpolation": "bilinear", "flip": True}
    found = served_model.check(content, methods="grad_cam", layers="last", **expected)
    assert {name: answer[name] for name in expected} == {name: offered[name] for name in expected} == expected
    assert_highest(answer["peak"], found, "grad_cam")
    default = served_model.check(content, methods="grad_cam", layers="last")
    assert not np.allclose(default.maps["grad_cam"], found.maps["grad_cam"], atol=0.05)
    inner = served_model.card.preprocessing.geometry(found.height, found.width).without_padding()
    shown = inner.backward_map(np.asarray(decoded(answer["map"], "image/png"), np.float32) / 255)
    np.testing.assert_allclose(shown, found.maps["grad_cam"], atol=0.01)


def test_every_method_that_is_offered_is_made(client: httpx.Client, served_model: QualityModel) -> None:
    answer = client.get("/api/methods").json()
    offered = {method["id"]: method for method in answer["methods"]}
    assert offered.keys() == {id_ for id_, method in METHODS.items() if method.reads != "network"}
    assert answer["default_method"] in offered
    content = encoded(pixels(3))
    for id_, method in offered.items():
        assert method["layers"] == (["last", "combined"] if method["has_layers"] else [])
        made = check(client, content, method=id_, layers="last").json()
        found = served_model.check(content, methods=id_, layers="last")
        assert made["layers"] == ("last" if method["has_layers"] else "input")
        assert_highest(made["peak"], found, id_)


@pytest.mark.parametrize("name", [name for name, sent in uploads().items() if sent.status != 200])
def test_a_bad_upload_gets_its_status_and_a_sentence(client: httpx.Client, name: str) -> None:
    sent = uploads()[name]
    response = check(client, sent.content, name="Mustermann.dcm")
    assert response.status_code == sent.status, response.text
    assert response.json().keys() == {"detail"}
    assert response.json()["detail"].startswith("the upload: ")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"method": "gradcam"}, "near matches: grad_cam"),
        ({"method": "rise"}, "--slow-methods"),
        ({"method": "captum:Occlusion"}, "--slow-methods"),
        ({"layers": "layer9"}, "layer9"),
        ({"smooth": "0"}, "smooth"),
        ({"smooth": "nan"}, "smooth"),
        ({"smooth": "much"}, "smooth"),
        ({"grid": "areas"}, "unknown field 'grid'"),
    ],
)
def test_a_wrong_choice_is_said(client: httpx.Client, data: dict[str, str], said: str) -> None:
    response = check(client, encoded(pixels()), **data)
    assert response.status_code == 422
    assert said in response.json()["detail"]


def test_a_form_without_a_file_is_refused(client: httpx.Client) -> None:
    assert client.post("/api/check", data={"method": "grad_cam"}).status_code == 422
    damaged = client.post("/api/check", content=b"--x\r\n", headers={"Content-Type": "multipart/form-data; boundary=y"})
    assert damaged.status_code in (400, 422)
    assert damaged.json().keys() == {"detail"}


def test_the_limit_holds_for_lengths_that_are_said_and_for_those_that_are_not(client: httpx.Client) -> None:
    large = check(client, bytes(1_100_000))
    assert large.status_code == 413
    assert "1 MB" in large.json()["detail"]

    def parts() -> object:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        for _ in range(30):
            yield bytes(50_000)

    streamed = client.post("/api/check", content=parts(), headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert streamed.status_code == 413
    assert check(client, encoded(pixels())).status_code == 200


def test_no_patient_data_in_answers_and_logs(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    sound = dicom(pixels(1), PatientBirthDate="19570304")
    texts = []
    for content in (sound, sound[: len(sound) // 2], dicom(pixels(1), ViewPosition="LL"), dicom(pixels(1), Rows=7)):
        response = check(client, content, name=f"{PATIENT}.dcm")
        texts += [response.text, str(response.headers)]
    assert "POST /api/check 200" in caplog.text
    texts += [caplog.text, client.get("/metrics").text]
    for text in texts:
        for secret in (PATIENT, "Mustermann", PATIENT_ID, "19570304", "1.2.3.4"):
            assert secret not in text
