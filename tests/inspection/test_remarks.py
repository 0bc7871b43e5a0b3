"""What looks wrong in a picture is said wherever its result is, and lets no image pass unreviewed."""

from __future__ import annotations

import asyncio
import csv
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from highdicom import sr
from PIL import Image
from pydicom.uid import generate_uid
from typer.testing import CliRunner

import cxrlens
from browsing import Opened
from calibrated_cards import a_calibration
from cxrlens.cli.main import app
from cxrlens.dataset.check.run import check_data
from cxrlens.dicom_out import write_dicom
from cxrlens.explanation import run as explanation
from cxrlens.inputs.cache.store import ArrayStore
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Note
from cxrlens.inspection.model_facts import ModelFacts
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.inspection.record import ImageRecord
from cxrlens.inspection.result import ImageResult
from cxrlens.models.calibration import Calibration
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.saliency.explain import Row
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.run import screen
from cxrlens.screening.settings import ScreeningSettings
from cxrlens.screening.sources import take_sources
from cxrlens.screening.store.store import Store
from cxrlens.serving.app import create_app
from cxrlens.serving.review import Review
from cxrlens.serving.settings import ServerSettings
from cxrlens.testing.run import score_model
from cxrlens.training.data_module import QualityData
from cxrlens.training.recipe import resolve_recipe
from image_files import dicom, dicom_bytes

SHAPE = 96, 80
WINDOWED, TWELVE, CLEAN = "windowed.dcm", "twelve.png", "clean.png"
SAID = {WINDOWED: "window", TWELVE: "12 bits"}


def picture(top: int) -> np.ndarray[Any, Any]:
    """A bright middle between darker sides, as a chest's, that reaches 0 and ``top``."""
    y, x = np.indices(SHAPE)
    grey = 0.15 + 0.6 * np.exp(-(((x - 40) / 18) ** 2)) + 0.2 * np.sin(y / 9) ** 2
    grey[0, :3], grey[10:20, 40:50] = 0, 1
    return np.rint(np.clip(grey, 0, 1) * top)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture three times: pixels of 8 bits under a window for 12, values of 12 bits in words of 16, and in order."""
    folder = tmp_path_factory.mktemp("images")
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    study = {
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "Modality": "DX",
        "PatientID": "1",
    }
    windowed = dicom(picture(255).astype(np.uint8), bits=8, **window, **study)
    (folder / WINDOWED).write_bytes(dicom_bytes(windowed))
    Image.fromarray(picture(4095).astype(np.uint16)).save(folder / TWELVE)
    Image.fromarray(picture(255).astype(np.uint8)).save(folder / CLEAN)
    return folder


def calibration(review_threshold: float) -> Calibration:
    """Of a network whose probabilities are right as they are."""
    return a_calibration(
        temperature=1, prevalence=0.5, review_threshold=review_threshold, review_target=None, review_interval=None
    )


CARD = ModelCard(
    architecture="resnet18",
    preprocessing=Preprocessing(height=64, width=48),
    threshold=0.9999,
    calibration=calibration(0.9998),
)


@pytest.fixture(scope="module")
def model_file(build_lively: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated model by which all pictures here would pass."""
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    save_model(path, build_lively("resnet18", seed=2), CARD)
    return path


@pytest.fixture(scope="module")
def model(model_file: Path) -> QualityModel:
    return cxrlens.load(model_file, device="cpu")


@pytest.fixture(scope="module")
def checks(model: QualityModel, images: Path) -> dict[str, ImageResult]:
    return {name: model.check(images / name) for name in (WINDOWED, TWELVE, CLEAN)}


@pytest.fixture(scope="module")
def screened(model_file: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> ScreenedFolder:
    out = tmp_path_factory.mktemp("screened")
    screen(take_sources([str(images)]), out, ScreeningSettings(model_file, device="cpu"), force=True)
    return ScreenedFolder(out)


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {row.get("name") or row["image"]: row for row in rows}


def test_a_check_says_what_looks_wrong(checks: dict[str, ImageResult], model: QualityModel) -> None:
    assert checks[CLEAN].remarks == ()
    assert checks[CLEAN].triage == "pass"
    assert not checks[CLEAN].is_flagged
    for name, part in SAID.items():
        check = checks[name]
        assert any(part in remark for remark in check.remarks), check.remarks
        assert check.decision == "normal"
        assert check.probability < model.card.calibration.review_threshold  # type: ignore[union-attr]
    check = checks[WINDOWED]
    assert (check.triage, check.is_flagged, check.doubts) == ("review", True, check.remarks)
    first, _, reason = check.reason.partition(", but there are doubts about the picture: ")
    assert "is below the review threshold" in first
    assert f"{reason}." == " ".join(check.remarks)
    check = checks[TWELVE]
    assert (check.triage, check.is_flagged, check.doubts) == ("pass", False, ())
    assert "remarks" not in check.reason
    # the picture of 12 bits is read as it was meant, so that its probability is that of the clean one
    assert checks[TWELVE].probability == pytest.approx(checks[CLEAN].probability, abs=0.01)


@pytest.mark.parametrize(
    ("probability", "calibrated", "decision", "triage", "said"),
    [
        (0.1, True, "normal", "review", True),
        (0.4, True, "normal", "review", False),
        (0.7, True, "affected", "retake", False),
        (0.1, False, "normal", None, False),
        (0.7, False, "affected", None, False),
    ],
)
@pytest.mark.parametrize("review", [0.3, 0.6])
def test_remarks_raise_a_pass_and_nothing_else(
    probability: float, calibrated: bool, decision: str, triage: str | None, said: bool, review: float
) -> None:
    card = CARD.model_copy(update={"threshold": 0.6, "calibration": calibration(review) if calibrated else None})
    plain = ImageResult.of(probability, card, None, SHAPE)  # type: ignore[arg-type]
    found = plain.with_remarks(["It is black.", "It is cut off."])
    said = said or (calibrated and probability < review)
    assert (found.probability, found.decision, found.triage) == (probability, decision, triage)
    assert found.is_flagged
    assert found.reason == plain.reason + ", but there are doubts about the picture: It is black. It is cut off" * said
    assert plain.triage == ("pass" if calibrated and probability < review else triage)
    noted = plain.with_remarks([Note("It has 12 bits.")])
    assert (noted.triage, noted.reason, noted.is_flagged) == (plain.triage, plain.reason, plain.is_flagged)
    both = plain.with_remarks([Note("It has 12 bits."), "It is black."])
    assert both.triage == found.triage
    assert both.reason == plain.reason + ", but there are doubts about the picture: It is black" * said


def test_a_screening_says_so_in_all_its_files(screened: ScreenedFolder, checks: dict[str, ImageResult]) -> None:
    records = {row["name"]: row for row in map(json.loads, screened.results_file.read_text("utf-8").splitlines())}
    rows = table(screened.worklist_file)
    assert list(rows[CLEAN])[-3:] == ["remarks", "doubts", "refusals"]
    for name, check in checks.items():
        assert tuple(records[name]["remarks"]) == check.remarks
        assert tuple(records[name]["doubts"]) == check.doubts
        assert records[name]["triage"] == rows[name]["triage"] == check.triage
        assert rows[name]["remarks"] == " ".join(check.remarks)
        assert rows[name]["doubts"] == " ".join(check.doubts)
        assert bool(records[name]["map"]) == (name == WINDOWED)  # a reader looks at it, so that it has a map
    with Store(screened) as store:
        assert store.results.remarked() == 1


def test_a_gate_asks_for_doubts_alone(model_file: Path, images: Path, tmp_path: Path) -> None:
    for name, code in {WINDOWED: 10, TWELVE: 0, CLEAN: 0}.items():
        options = ["-m", str(model_file), "-o", str(tmp_path / name), "--fail-on", "remarked", "--device", "cpu"]
        result = CliRunner().invoke(app, ["screen", str(images / name), *options])
        assert result.exit_code == code, result.output
        assert ("; 1 with doubtful display" in result.output) == (code == 10)


def test_a_filter_of_the_worklist_shows_remarked_images_alone(screened: ScreenedFolder, model: QualityModel) -> None:
    part = Review(screened.path, model.identity.name, model.identity.sha256).part(show="remarked")
    assert (part.total, part.shown) == (3, 1)
    assert [image.name for image in part.images] == [WINDOWED]


def test_text_within_a_record_is_no_remark(tmp_path: Path) -> None:
    evil = 'a"remarks":["b"doubts":["c.png'
    with Store(ScreenedFolder(tmp_path)) as store:
        store.add([ScreenedImage(name=evil, key="a" * 64, reason=evil, tags={"doubts": '["', evil: evil})])
        assert store.results.remarked() == 0


def test_results_from_before_there_were_remarks_are_read(screened: ScreenedFolder) -> None:
    line = json.loads(screened.results_file.read_text("utf-8").splitlines()[0])
    del line["remarks"], line["doubts"]
    assert ScreenedImage.model_validate(line).remarks == ()


def test_remarks_of_a_record_that_does_not_tell_their_kind_are_doubts(tmp_path: Path) -> None:
    said = ScreenedImage(name="a.png", key="a" * 64, remarks=("It is black.", "It has 12 bits."), doubts=())
    assert ScreenedImage.model_validate_json(said.model_dump_json()) == said
    before = said.model_dump(exclude={"doubts"})
    assert ScreenedImage.model_validate(before).doubts == said.remarks
    with Store(ScreenedFolder(tmp_path)) as store:
        store.add([said])
        assert store.results.remarked() == 0
        store.add([ScreenedImage.model_validate(before)])
        assert store.results.remarked() == 1
        assert [image.doubts for image in store.results.newest()] == [said.remarks]


async def answers(model: QualityModel, folder: Path, files: list[Path]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The server's answers to uploads, and its worklist."""
    app = create_app(ServerSettings(decoders=1), model, folder)
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as client,
    ):
        found = [await client.post("/api/check", files={"file": file.read_bytes()}) for file in files]
        worklist = await client.get("/api/worklist", params={"show": "remarked"})
    return [answer.raise_for_status().json() for answer in found], worklist.raise_for_status().json()


def test_the_server_says_the_same(
    model: QualityModel, screened: ScreenedFolder, images: Path, checks: dict[str, ImageResult]
) -> None:
    found, worklist = asyncio.run(answers(model, screened.path, [images / name for name in checks]))
    for answer, check in zip(found, checks.values(), strict=True):
        assert tuple(answer["remarks"]) == check.remarks
        assert tuple(answer["doubts"]) == check.doubts
        assert (answer["triage"], answer["decision"]) == (check.triage, check.decision)
        assert ("doubts about the picture" in answer["reason"]) == bool(check.doubts)
    assert {image["name"]: tuple(image["doubts"]) for image in worklist["images"]} == {
        WINDOWED: checks[WINDOWED].doubts
    }


def test_an_explanation_says_it_in_its_table_and_its_log(
    model: QualityModel, images: Path, checks: dict[str, ImageResult], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "cxrlens")
    settings = explanation.ExplanationSettings()
    explanation.explain_images([images], model, tmp_path, [Row("grad_cam", "last")], settings)
    rows = table(tmp_path / "explanations.csv")
    for name, check in checks.items():
        assert rows[name]["remarks"] == " ".join(check.remarks)
        assert rows[name]["doubts"] == " ".join(check.doubts)
        assert rows[name]["triage"] == check.triage
    assert any(message.endswith("as meant: 1") for message in caplog.messages)
    assert any(message.endswith("surely rightly: 1") for message in caplog.messages)
    assert any(str(images / TWELVE) in message for message in caplog.messages)
    assert not any(str(images / CLEAN) in message for message in caplog.messages)


def test_a_data_check_lists_them(images: Path, checks: dict[str, ImageResult]) -> None:
    kinds = {"displayed-oddly": WINDOWED, "taken-otherwise": TWELVE}
    found = {
        finding.kind.id: (finding.images, finding.message)
        for finding in check_data(Dataset(images)).findings
        if finding.kind.id in kinds
    }
    assert found == {kind: ((name,), f"{name}: {' '.join(checks[name].remarks)}") for kind, name in kinds.items()}


def test_scores_and_trainings_say_it(
    model: QualityModel, images: Path, checks: dict[str, ImageResult], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "data"
    for split in ("train", "dev", "test"):
        for label, names in {"affected": (TWELVE,), "normal": (CLEAN, WINDOWED)}.items():
            (data / split / label).mkdir(parents=True)
            for name in names:
                shutil.copy(images / name, data / split / label / name)
    caplog.set_level(logging.WARNING, "cxrlens")
    score_model(Dataset(data), model, tmp_path)
    assert any(message.endswith("as meant: 1") for message in caplog.messages)
    assert any(message.endswith("surely rightly: 1") for message in caplog.messages)
    rows = table(tmp_path / "predictions.csv")
    for path, row in rows.items():
        check = checks[Path(path).name]
        assert (row["triage"], row["decision"], row["remarks"]) == (
            check.triage,
            check.decision,
            " ".join(check.remarks),
        )
    caplog.clear()
    splits = [Dataset(data).split(name) for name in ("train", "dev")]
    store = ArrayStore(tmp_path / "cache", 10**8)
    for _ in range(2):  # decoded, and as they were kept
        loaded = QualityData(*splits, resolve_recipe("paper", {}), Preprocessing(height=32, width=32), store, workers=0)
        with store.in_use():
            loaded.prepare_data()
            loaded.setup()
        assert {line.partition(": ")[0]: isinstance(line, Note) for line in loaded.remarked} == {
            str(data / split / place): is_note
            for split in ("train", "dev")
            for place, is_note in {f"normal/{WINDOWED}": False, f"affected/{TWELVE}": True}.items()
        }


def report_of(source: bytes, record: ImageRecord, model: QualityModel, stem: Path) -> tuple[str, Any]:
    """The comment of a report, and the report."""
    facts = ModelFacts.now(model.identity, model.card, method=record.method, layers=record.layers)
    document = sr.srread(write_dicom(source, record, facts, stem).report)
    (whole,) = document.content.get_image_measurement_groups()
    *_, comment = (item.TextValue for item in whole[0].ContentSequence if item.ValueType == "TEXT")
    return comment, document


def test_a_report_in_dicom_says_it_and_points_at_nothing(
    model: QualityModel, images: Path, checks: dict[str, ImageResult], tmp_path: Path
) -> None:
    check, content = checks[WINDOWED], (images / WINDOWED).read_bytes()
    assert check.contours
    fields = check.fields()
    reviewed, document = report_of(content, ImageRecord(name="a", **fields), model, tmp_path / "a")
    assert reviewed.count(" ".join(check.remarks).rstrip(".")) == 1
    assert "review" in reviewed.lower().split(":")[0]
    assert not document.content.get_planar_roi_measurement_groups()
    affected = fields | {"decision": "affected", "triage": "retake", "reason": "it is", "probability": 0.99999}
    retaken, other = report_of(content, ImageRecord(name="a", **affected), model, tmp_path / "b")
    assert f"Remarks on the picture: {' '.join(check.remarks)}" in retaken
    assert len(other.content.get_planar_roi_measurement_groups()) == len(check.contours)
    plain = ImageRecord(name="a", **affected | {"remarks": (), "doubts": ()})
    without, third = report_of(content, plain, model, tmp_path / "c")
    assert "emark" not in without
    assert third.SOPInstanceUID != other.SOPInstanceUID
    note = Note("It has 12 bits.")
    noted = ImageRecord(name="a", **check.with_remarks([note]).fields())
    passed, _ = report_of(content, noted, model, tmp_path / "d")
    assert f"Remarks on the picture: {note}" in passed
    assert "review" not in passed.lower().split(":")[0]
    both = ImageRecord(name="a", **check.with_remarks([*check.remarks, note]).fields())
    reviewed, _ = report_of(content, both, model, tmp_path / "e")
    assert f"Remarks on the picture: {note}" in reviewed
    assert reviewed.count(check.remarks[0].rstrip(".")) == 1


def test_the_page_marks_and_filters_them(
    browser: Any, screened: ScreenedFolder, checks: dict[str, ImageResult]
) -> None:
    opened = Opened(browser, screened.report_file)
    page = opened.page

    def titles(which: str = "") -> list[str]:
        return sorted(page.eval_on_selector_all(f"#rows .row{which}", "rows => rows.map((row) => row.title)"))

    def choose(name: str) -> None:
        page.locator(f'#rows .row[title="{name}"]').click()
        opened.becomes(lambda: opened.texts("#result h2"), [name])

    assert titles(":has(.mark)") == [WINDOWED]
    page.locator("#decisions .chip.remarked").click()
    opened.becomes(titles, [WINDOWED])
    assert opened.texts("#decisions .chip.remarked b") == ["1"]
    choose(WINDOWED)
    assert tuple(opened.texts("#result .remarks li")) == checks[WINDOWED].remarks
    assert opened.texts("#result .decision") == ["To be reviewed"]
    page.locator("#decisions .chip.all").click()
    choose(TWELVE)
    assert page.locator("#result .remarks").count() == 1
    assert tuple(opened.texts("#result .remarks.noted li")) == checks[TWELVE].remarks
    choose(CLEAN)
    assert page.locator("#result .remarks").count() == 0
    assert opened.complaints == []
    page.close()
