"""``--dicom`` of explain and screen: which files it writes, what it leaves out and says, and that runs go on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from command_line import cxrlens, refused
from cxrlens.models.model_file import load_model, save_model

pytest.importorskip("highdicom")
sr = pytest.importorskip("highdicom.sr")

HEIGHT, WIDTH = 90, 70
ROOT = "1.2.826.0.1.3680043.8.498."


def radiograph(path: Path, number: int, **elements: object) -> None:
    """A DICOM file with noise and a patient."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = DigitalXRayImageStorageForPresentation
    image.SOPInstanceUID, image.SeriesInstanceUID = f"{ROOT}{number}.3", f"{ROOT}{number}.2"
    image.StudyInstanceUID = f"{ROOT}{number}.1"
    image.Modality, image.PatientName, image.PatientID = "DX", f"Doe^Jane {number}", f"P-{number}"
    image.Rows, image.Columns, image.SamplesPerPixel = HEIGHT, WIDTH, 1
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation = 7, 0
    image.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in elements.items():
        setattr(image, keyword, value)
    image.PixelData = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two radiographs, one that names no study, and a PNG."""
    folder = tmp_path / "images"
    radiograph(folder / "ward" / "a.dcm", 1)
    radiograph(folder / "b.dcm", 2)
    radiograph(folder / "c.dcm", 3, StudyInstanceUID="")
    pixels = np.random.default_rng(4).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "d.png")
    return folder


@pytest.fixture(scope="module")
def wary(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, with a threshold that all images are above."""
    network, card = load_model(model)
    path = tmp_path_factory.mktemp("wary") / "wary.safetensors"
    save_model(path, network, card.model_copy(update={"threshold": 0.0}))
    return path


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_explain_writes_a_report_and_a_picture_for_each_dicom_image(images: Path, wary: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished = cxrlens("explain", images, "-m", wary, "-o", out, "--dicom", "--workers", 0)
    assert finished.code == 0, finished.err
    found = {f"{name}.{kind}.dcm" for name in ("ward/a.dcm", "b.dcm") for kind in ("sr", "sc", "pr")}
    assert names(out / "dicom") == {*found, "left_out.txt"}
    assert "DICOM results were written: 2" in finished.err
    assert "no DICOM files: 1" in finished.err
    assert "c.dcm: the element StudyInstanceUID is missing" in finished.err
    assert (out / "dicom" / "left_out.txt").read_text().startswith("c.dcm: the element StudyInstanceUID")
    assert "Doe" not in finished.out + finished.err
    for name, number in (("ward/a.dcm", 1), ("b.dcm", 2)):
        document = sr.srread(out / "dicom" / f"{name}.sr.dcm")
        assert document.PatientID == f"P-{number}"
        assert document.get_evidence()[0][2] == f"{ROOT}{number}.3"
        (whole,) = document.content.get_image_measurement_groups()
        rows = (out / "explanations.csv").read_text().splitlines()
        probability = next(line.split(",")[1] for line in rows if line.startswith(f"{name},"))
        assert whole.get_measurements()[0].value == pytest.approx(float(probability), rel=1e-5)
        picture = dcmread(out / "dicom" / f"{name}.sc.dcm")
        assert picture.PatientID == f"P-{number}"
        assert picture.Columns == WIDTH


def test_the_regions_lie_round_the_peak_of_the_map(images: Path, wary: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--method", "grad_cam", "--layers", "last", "--json", "--dicom")
    finished = cxrlens("explain", images / "b.dcm", "-m", wary, "-o", out, *options)
    (row,) = finished.json["rows"]
    document = sr.srread(out / "dicom" / "b.dcm.sr.dcm")
    regions = [group.roi.value for group in document.content.get_planar_roi_measurement_groups()]
    x, y = row["peak_x"] + 0.5, row["peak_y"] + 0.5
    assert any(
        left <= x <= right and top <= y <= bottom
        for (left, top), (right, bottom) in ((region.min(0), region.max(0)) for region in regions)
    )


def test_without_the_option_no_file_names_a_patient(images: Path, wary: Path, tmp_path: Path) -> None:
    for command in ("explain", "screen"):
        out = tmp_path / command
        assert cxrlens(command, images, "-m", wary, "-o", out, "--workers", 0).code == 0
        assert not (out / "dicom").exists()
        for path in out.rglob("*"):
            if path.is_file():
                assert b"Doe" not in path.read_bytes(), path


def test_screen_writes_them_by_content_and_goes_on(images: Path, wary: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = cxrlens("screen", images, "-m", wary, "-o", out, "--workers", 0)
    assert first.code == 0, first.err
    again = cxrlens("screen", images, "-m", wary, "-o", out, "--workers", 0, "--dicom", "--json")
    assert (again.code, again.json["computed"]) == (0, 0)
    keys = {
        row["name"]: row["key"]
        for row in map(json.loads, (out / "results.jsonl").read_text().splitlines())
        if row["name"] in ("ward/a.dcm", "b.dcm")
    }
    found = {f"{key}.{kind}.dcm" for key in keys.values() for kind in ("sr", "sc", "pr")}
    assert names(out / "dicom") == {*found, "left_out.txt"}
    assert "DICOM results were written: 2" in again.err
    report = out / "dicom" / f"{keys['b.dcm']}.sr.dcm"
    assert dcmread(report).PatientID == "P-2"
    before = report.read_bytes()
    report.unlink()
    third = cxrlens("screen", images, "-m", wary, "-o", out, "--workers", 2, "--dicom")
    assert "DICOM results were written: 1" in third.err
    assert report.read_bytes() == before
    assert cxrlens("screen", images, "-m", wary, "-o", out, "--workers", 0, "--force").code == 0
    assert names(out / "dicom") == set()


def test_a_screened_file_that_has_changed_has_no_results(images: Path, wary: Path, tmp_path: Path) -> None:
    from cxrlens.screening.dicom_results import ScreenedDicomResults
    from cxrlens.screening.folder import ScreenedFolder
    from cxrlens.screening.store.store import Store

    out = tmp_path / "out"
    cxrlens("screen", images, "-m", wary, "-o", out, "--workers", 0)
    screened = ScreenedFolder(out)
    radiograph(images / "b.dcm", 9)
    (images / "ward" / "a.dcm").unlink()
    results = ScreenedDicomResults(out, screened.info().model_facts())
    results.add_screened(screened, images, Store(screened).results.newest())
    assert results.written == 0
    reasons = {name: reason for (name, _), reason in results.refused.items()}
    assert "is not the one that was screened" in reasons["b.dcm"]
    assert "ward/a.dcm" in reasons["ward/a.dcm"]
    assert names(out / "dicom") == set()


def test_what_was_moved_or_away_gets_its_results_later(images: Path, wary: Path, tmp_path: Path) -> None:
    """Rows of names that have gone stay; the content may be there under another, or come back."""
    from cxrlens.screening.dicom_results import ScreenedDicomResults
    from cxrlens.screening.folder import ScreenedFolder
    from cxrlens.screening.store.store import Store

    out, away = tmp_path / "out", tmp_path / "away.dcm"
    cxrlens("screen", images, "-m", wary, "-o", out, "--workers", 0)
    (images / "read").mkdir()
    (images / "b.dcm").rename(images / "read" / "b.dcm")
    cxrlens("screen", images, "-m", wary, "-o", out, "--workers", 0)
    (images / "ward" / "a.dcm").rename(away)
    screened = ScreenedFolder(out)
    results = ScreenedDicomResults(out, screened.info().model_facts())
    results.add_screened(screened, images, Store(screened).results.newest())
    assert (results.written, {name for name, _ in results.refused}) == (1, {"c.dcm", "ward/a.dcm"})
    away.rename(images / "ward" / "a.dcm")
    results.add_screened(screened, images, Store(screened).results.newest())
    assert (results.written, {name for name, _ in results.refused}) == (2, {"c.dcm"})


def test_maps_of_another_target_are_not_reported(images: Path, wary: Path, tmp_path: Path) -> None:
    finished = cxrlens("explain", images, "-m", wary, "-o", tmp_path / "out", "--dicom", "--target", "predicted")
    refused(finished, 2, "--target", "leave one of the two out")
    assert not (tmp_path / "out").exists()


def test_no_result_of_an_earlier_run_stays(images: Path, wary: Path, tmp_path: Path) -> None:
    given = ("-m", wary, "-o", tmp_path / "out", "--dicom", "--workers", 0, "--method", "grad_cam", "--layers", "last")
    assert cxrlens("explain", images, *given).code == 0
    (images / "b.dcm").unlink()
    assert cxrlens("explain", images, *given, "--force", "--smooth", 2).code == 0
    assert names(tmp_path / "out" / "dicom") == {
        "ward/a.dcm.sr.dcm",
        "ward/a.dcm.sc.dcm",
        "ward/a.dcm.pr.dcm",
        "left_out.txt",
    }
    report = (tmp_path / "out" / "dicom" / "ward" / "a.dcm.sr.dcm").read_bytes()
    assert b"map: grad_cam, layers: last, gaussian sigma 2" in report


@pytest.mark.parametrize("command", ["explain", "screen"])
def test_a_missing_package_is_named_before_any_work(
    command: str, images: Path, wary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    finished = cxrlens(command, images, "-m", wary, "-o", tmp_path / "out", "--dicom", "--workers", 0)
    refused(finished, 2, "pip install 'cxrlens[dicom]'")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["explain", "screen"])
def test_the_help_says_that_patients_are_named(command: str) -> None:
    finished = cxrlens(command, "--help")
    assert "patient's identity" in " ".join(finished.out.replace("│", " ").split())
