"""An image that cannot be judged is said to be so wherever its result is: no pass, no retake, no number, no map."""

from __future__ import annotations

import asyncio
import csv
import json
import logging
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom.uid import generate_uid
from typer.testing import CliRunner

import cxrlens
from browsing import Opened
from calibrated_cards import a_calibration
from cxrlens.cli.main import app
from cxrlens.dataset.check.run import check_data
from cxrlens.dicom_out.statement import statement_of
from cxrlens.errors import ArgumentError, NotAssessedError
from cxrlens.explanation import run as explanation
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Note, Refusal
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.inspection.record import ImageRecord
from cxrlens.inspection.result import ImageResult
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.saliency.explain import Row
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage, worklist_order
from cxrlens.screening.run import screen
from cxrlens.screening.settings import ScreeningSettings
from cxrlens.screening.sources import take_sources
from cxrlens.serving.app import create_app
from cxrlens.serving.review import Review
from cxrlens.serving.settings import ServerSettings
from image_files import dicom, dicom_bytes

SHAPE = 96, 80
HIP, FLAT, CHEST = "hip.dcm", "flat.png", "chest.png"
SAID = {HIP: "another part of the body", FLAT: "the same value"}
NOWHERE = "unreadable.png"


def picture() -> np.ndarray[Any, Any]:
    """A bright middle between darker sides, as a chest's."""
    y, x = np.indices(SHAPE)
    grey = 0.15 + 0.6 * np.exp(-(((x - 40) / 18) ** 2)) + 0.2 * np.sin(y / 9) ** 2
    grey[0, :3], grey[10:20, 40:50] = 0, 1
    return np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture as it is and as one of a hip, one of nothing, and no picture."""
    folder = tmp_path_factory.mktemp("images")
    study = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), "PatientID": "1"}
    hip = dicom(picture(), bits=8, Modality="CR", BodyPartExamined="HIP", **study)
    (folder / HIP).write_bytes(dicom_bytes(hip))
    Image.fromarray(np.full(SHAPE, 100, np.uint8)).save(folder / FLAT)
    Image.fromarray(picture()).save(folder / CHEST)
    (folder / NOWHERE).write_bytes(b"none")
    return folder


CALIBRATION = a_calibration(
    temperature=1, prevalence=0.5, review_threshold=0.9998, review_target=None, review_interval=None
)
CARD = ModelCard(
    architecture="resnet18", preprocessing=Preprocessing(height=64, width=48), threshold=0.9999, calibration=CALIBRATION
)


@pytest.fixture(scope="module", params=["calibrated", "plain"])
def model_file(request: Any, build_lively: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model by which all pictures here would pass, were they judged, and one that would call all of them affected."""
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    plain = CARD.model_copy(update={"calibration": None, "threshold": 0.0})
    save_model(path, build_lively("resnet18", seed=2), CARD if request.param == "calibrated" else plain)
    return path


@pytest.fixture(scope="module")
def model(model_file: Path) -> QualityModel:
    return cxrlens.load(model_file, device="cpu")


@pytest.fixture(scope="module")
def screened(model_file: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> ScreenedFolder:
    out = tmp_path_factory.mktemp("screened")
    screen(take_sources([str(images)]), out, ScreeningSettings(model_file, maps="all", device="cpu"), force=True)
    return ScreenedFolder(out)


def table(path: Path, name: str = "name") -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return {row[name]: row for row in csv.DictReader(stream)}


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("calibration", [CALIBRATION, None])
def test_a_refusal_is_above_all_that_the_network_says(probability: float, calibration: Any) -> None:
    card = CARD.model_copy(update={"calibration": calibration})
    plain = ImageResult.of(probability, card, None, SHAPE)  # type: ignore[arg-type]
    found = plain.with_remarks(
        ["It is dark.", Refusal("It is of a hip."), Note("It has 12 bits."), Refusal("No chest.")]
    )
    assert found.triage == "not_assessable"
    assert found.reason == found.not_assessed == "It is of a hip. No chest."
    assert (found.doubts, found.refusals) == (("It is dark.",), ("It is of a hip.", "No chest."))
    with pytest.raises(NotAssessedError, match=r"It is of a hip\."):
        _ = found.decision
    fields = found.fields()
    assert (fields["probability"], fields["decision"], fields["triage"]) == (None, None, "not_assessable")
    anyway = plain.with_remarks(found.remarks, assess_any=True)
    assert anyway.doubts == ("It is dark.", "It is of a hip.", "No chest.")
    assert anyway.decision == plain.decision
    assert anyway.triage == (None if calibration is None else "retake" if plain.triage == "retake" else "review")


def test_no_number_is_not_assessable_either() -> None:
    found = ImageResult.of(float("nan"), CARD, None, SHAPE)  # type: ignore[arg-type]
    assert found.triage == "not_assessable"
    assert "no number" in found.reason
    assert ImageRecord(name="a", **found.fields()).probability is None


def test_a_check_says_so_and_draws_no_map(model: QualityModel, images: Path) -> None:
    for name, part in SAID.items():
        found = model.check(images / name)
        assert found.triage == "not_assessable"
        assert part in found.not_assessed
        assert found.maps == {}
        assert found.contours == ()
    assert model.check(images / CHEST).maps
    anyway = model.check(images / HIP, assess_any=True)
    assert anyway.maps
    assert anyway.triage == ("review" if model.card.calibration else None)
    assert model.check(np.full(SHAPE, 0.3)).triage == "not_assessable"  # an array is looked at as well


def test_a_screening_lists_them_apart(screened: ScreenedFolder, model: QualityModel) -> None:
    rows = table(screened.worklist_file)
    assert list(rows) == [CHEST, FLAT, HIP, NOWHERE]
    records = {row["name"]: row for row in map(json.loads, screened.results_file.read_text("utf-8").splitlines())}
    for name, part in SAID.items():
        row, record = rows[name], records[name]
        assert (row["status"], row["triage"], row["decision"], row["probability"]) == ("ok", "not_assessable", "", "")
        assert (record["triage"], record["decision"], record["probability"]) == ("not_assessable", None, None)
        assert part in row["reason"]
        assert part in row["refusals"] == " ".join(record["refusals"])
        assert row["doubts"] == row["map"] == row["method"] == row["peak_x"] == ""
        assert (screened.path / row["picture"]).is_file()
    assert rows[CHEST]["map"]
    assert rows[CHEST]["refusals"] == ""
    part_ = Review(screened.path, model.identity.name, model.identity.sha256).part(show="not_assessable")
    assert [image.name for image in part_.images] == [FLAT, HIP]
    assert (part_.total, part_.shown, part_.unreadable) == (4, 2, 1)
    assert [image.name for image in worklist_order(map(ScreenedImage.model_validate, records.values()))] == list(rows)


def test_the_command_counts_them_and_can_fail_on_them(model_file: Path, images: Path, tmp_path: Path) -> None:
    def run(name: str, *options: str) -> Any:
        given = ["screen", str(images / name), "-m", str(model_file), "-o", str(tmp_path / "out"), "--device", "cpu"]
        return CliRunner().invoke(app, [*given, "--force", *options])

    found = run(HIP)
    assert found.exit_code == 0, found.output
    assert ", 1 not assessable, 0 unreadable" in found.output
    assert run(HIP, "--fail-on", "not-assessable").exit_code == 10
    assert run(CHEST, "--fail-on", "not-assessable").exit_code == 0
    anyway = run(HIP, "--fail-on", "not-assessable", "--assess-any")
    assert anyway.exit_code == 0
    assert "not assessable" not in anyway.output
    assert json.loads((tmp_path / "out" / "screening.json").read_text())["assess_any"]
    other = ["screen", str(images / HIP), "-m", str(model_file), "-o", str(tmp_path / "out"), "--device", "cpu"]
    refused = CliRunner().invoke(app, other)  # goes on otherwise than it began
    assert "--assess-any" in str(refused.exception)


def test_a_screening_from_before_is_read(screened: ScreenedFolder) -> None:
    line = json.loads(screened.results_file.read_text("utf-8").splitlines()[0])
    del line["refusals"]
    assert ScreenedImage.model_validate(line).refusals == ()
    info = json.loads((screened.path / "screening.json").read_text("utf-8"))
    del info["assess_any"]
    (screened.path / "screening.json").write_text(json.dumps(info))
    assert not screened.info().assess_any


async def answers(model: QualityModel, files: list[Path], **settings: Any) -> list[dict[str, Any]]:
    """The server's answers to uploads, and its counts."""
    served = create_app(ServerSettings(decoders=1, **settings), model)
    transport = httpx.ASGITransport(app=served)
    async with (
        served.router.lifespan_context(served),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as client,
    ):
        found = [await client.post("/api/check", files={"file": file.read_bytes()}) for file in files]
        metrics = (await client.get("/metrics")).text
    return [*(answer.raise_for_status().json() for answer in found), {"metrics": metrics}]


def in_a_thread(asked: Coroutine[Any, Any, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What is asked for, by an event loop of its own: a browser may have one in this thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, asked).result()


def test_the_server_says_the_same(model: QualityModel, images: Path) -> None:
    *found, counts = in_a_thread(answers(model, [images / name for name in SAID]))
    for answer, part in zip(found, SAID.values(), strict=True):
        assert (answer["triage"], answer["probability"], answer["decision"]) == ("not_assessable", None, None)
        assert (answer["map"], answer["contours"], answer["peak"], answer["method"]) == ("", [], None, "")
        assert answer["picture"]
        assert part in answer["reason"]
        assert part in answer["refusals"][0]
    assert "cxrlens_uploads_not_assessable_total 2.0" in counts["metrics"]
    anyway, _ = in_a_thread(answers(model, [images / HIP], assess_any=True))
    assert anyway["map"]
    assert anyway["decision"] in ("normal", "affected")


def test_an_explanation_has_a_row_without_a_map(
    model: QualityModel, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "cxrlens")
    rows = [Row("grad_cam", "last"), Row("normgrad_conv1x1", "last")]
    found = explanation.explain_images([images], model, tmp_path, rows, explanation.ExplanationSettings())
    assert [Path(line.partition(": ")[0]).name for line in found.not_assessable] == [FLAT, HIP]
    of = table(tmp_path / "explanations.csv", "image")
    assert sorted(row["image"] for row in found.rows) == [CHEST, CHEST, FLAT, HIP]
    for name, part in SAID.items():
        row = of[name]
        assert (row["triage"], row["probability"], row["decision"], row["map"]) == ("not_assessable", "", "", "")
        assert part in row["refusals"]
        assert (tmp_path / row["overlay"]).is_file()
    assert sorted(path.name.partition(".")[0] for path in (tmp_path / "maps").iterdir()) == ["chest", "chest"]
    assert "images that cannot be judged as frontal chest radiographs: 2" in caplog.messages
    anyway = explanation.ExplanationSettings(assess_any=True)
    judged = explanation.explain_images([images], model, tmp_path / "anyway", rows, anyway)
    assert len(judged.rows) == 6


def test_no_report_is_made_of_what_is_not_assessable(model_file: Path, images: Path, tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    settings = ScreeningSettings(model_file, device="cpu")
    screen(take_sources([str(images / HIP)]), tmp_path / "s", settings, dicom=True)
    assert [path.name for path in (tmp_path / "s" / "dicom").iterdir()] == ["left_out.txt"]
    assert (
        "not assessable: It is of another part of the body" in (tmp_path / "s" / "dicom" / "left_out.txt").read_text()
    )
    record = ImageRecord(name="a", triage="not_assessable", reason="It is of a hip.")
    with pytest.raises(ArgumentError, match="It is of a hip"):
        statement_of(record)


def test_a_data_check_lists_them(images: Path) -> None:
    found = [finding for finding in check_data(Dataset(images)).findings if finding.kind.id == "not-assessable"]
    assert [finding.images for finding in found] == [(FLAT,), (HIP,)]
    assert all(SAID[finding.images[0]] in finding.message for finding in found)


def test_the_page_shows_no_pass_and_no_map(screened: ScreenedFolder, browser: Any) -> None:
    opened = Opened(browser, screened.report_file)
    page = opened.page
    assert page.locator("#decisions .chip.not_assessable").inner_text().split() == ["not", "assessable", "2"]
    page.locator("#decisions .chip.not_assessable").click()
    titles = "[...document.querySelectorAll('#rows .row')].map((row) => row.title).sort()"
    assert page.evaluate(titles) == [FLAT, HIP]
    page.locator(f'#rows .row[title="{HIP}"]').click()
    assert page.locator("#result .decision").inner_text() == "Not assessable"
    assert SAID[HIP] in page.locator("#result .reason").inner_text()
    assert page.locator("#result .scale").count() == 0
    assert page.locator("#result .remarks").count() == 0  # the reason says it already
    opened.until("window.review.viewer.shown?.image.name === 'hip.dcm'")
    assert page.evaluate("window.review.viewer.shown.map") is None
    assert page.locator("#marks *").count() == 0
    assert opened.complaints == []
