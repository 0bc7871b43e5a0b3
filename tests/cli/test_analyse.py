"""`cxrlens analyse`: from DICOM files that are screened to the page, its exit codes, and its sentences."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian
from test_screen import FAST, calibrated, run

from command_line import cxrlens, refused, table
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.store.store import Store

__all__ = ["calibrated"]  # a fixture


def as_dicom(picture: Path, path: Path, **elements: str) -> None:
    """A radiograph as the device of a room writes it."""
    pixels = np.asarray(Image.open(picture).convert("L"))
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    uid = f"1.2.{zlib.crc32(path.name.encode())}"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
    values = {
        "Rows": pixels.shape[0], "Columns": pixels.shape[1], "SamplesPerPixel": 1, "BitsAllocated": 8, "BitsStored": 8,
        "HighBit": 7, "PixelRepresentation": 0, "PixelData": pixels.tobytes(), "Modality": "DX", "PatientID": "SECRET",
        "PhotometricInterpretation": "MONOCHROME2", "ViewPosition": "PA", "BodyPartExamined": "CHEST",
    }  # fmt: skip
    for name, value in {**values, **elements}.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def months(phantoms: Path, calibrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """Two months, screened with days, stations and views, and the verdicts of one reader; for reading only."""
    folder = tmp_path_factory.mktemp("months")
    pictures = sorted((phantoms / "train").rglob("*.jpg"))
    screened = []
    for month, some in ((1, pictures[:8]), (2, pictures[8:])):
        source = folder / f"in-{month}"
        source.mkdir()
        for number, picture in enumerate(some):
            day, station = f"2026{month:02}{1 + 7 * (number % 4):02}", f"XR{1 + number % 2}"
            as_dicom(picture, source / f"{picture.stem}.dcm", AcquisitionDate=day, StationName=station)
        out = folder / f"screened-{month}"
        kept = ("--keep-tags", "station,date", "--keep-tags", "projection", "--maps", "none")
        assert run(source, calibrated, out, *kept).code == 0
        screened.append(out)
        with Store(ScreenedFolder(out)) as store:
            for image in list(store.results.newest())[::2]:
                store.verdicts.give(image.key, "retake" if month == 1 else "accept", lambda: "d" * 64)
    return screened


def test_months_of_a_department(months: Sequence[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished = cxrlens("analyse", *months, months[0], "-o", out, "--period", "month", "--json")
    assert (finished.code, finished.err) == (0, "")
    (model,) = finished.json["models"]
    assert (model["images"], model["retaken"]["hits"], model["retaken"]["images"]) == (16, 4, 8)
    assert model["charts"]["retaken"]["centre"] == 0.5
    stations = table(out / "tables" / "rate-by-station.csv")
    assert [(row["group"], row["images"]) for row in stations] == [("XR1", "8"), ("XR2", "8")]
    assert [row["group"] for row in table(out / "tables" / "rate-by-view.csv")] == ["PA"]
    weeks = table(out / "tables" / "rate-by-week.csv")
    assert weeks[0]["group"] == "2026-W01"
    assert all(Path(file).is_file() for file in finished.json["files"])
    for path in out.rglob("*"):
        assert path.is_dir() or b"SECRET" not in path.read_bytes()

    again = cxrlens("analyse", *months, "-o", out, "--force", "--until", "2026-01-31")
    assert again.code == 0, again.err
    assert "Images: 8" in again.out
    assert "8 images of other days" in again.out
    assert f"page: {out / 'analysis.html'}" in again.out


def test_gates(months: Sequence[Path], tmp_path: Path) -> None:
    """Month by month readers go from all retakes to none; scores cannot be compared with this calibration's."""
    gate = ("--fail-on", "signal", "--period", "month", "--baseline", "2026-01-31")
    assert cxrlens("analyse", *months, "-o", tmp_path / "signal", *gate).code == 10
    assert cxrlens("analyse", months[0], "-o", tmp_path / "calm", "--fail-on", "signal").code == 0
    finished = cxrlens("analyse", *months, "-o", tmp_path / "drift", "--fail-on", "drift")
    refused(finished, 2, "drift cannot be told", "calibrate it anew", "--fail-on drift")
    assert not (tmp_path / "drift").exists()


def test_sentences(months: Sequence[Path], model: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "out")
    refused(cxrlens("analyse", tmp_path, *out), 2, "is no screened folder", "cxrlens screen")
    refused(cxrlens("analyse", *months, *out, "--since", "January"), 2, "--since takes a day", "'January'")
    refused(cxrlens("analyse", *months, *out, "--since", "2026-02-01", "--until", "2026-01-01"), 2, "lies before")
    refused(cxrlens("analyse", *months, *out, "--until", "2020-01-01"), 4, "none of the 16 images", "--keep-tags date")
    refused(cxrlens("analyse", *months, *out, "-m", model), 2, model.name, "none of the folders was screened with")
    refused(cxrlens("analyse", *months, "-o", months[0], "--force"), 2, "is a screened folder")
    assert not (tmp_path / "out").exists()


def test_from_calibration_to_drift(data: Path, model: Path, tmp_path: Path) -> None:
    """`calibrate` keeps the scores, `screen` hands them on, `analyse` compares: its own images have not drifted."""
    site = tmp_path / "site.safetensors"
    target = ("--specificity", "0.5", "--review", "none", "--workers", 0, "--device", "cpu", "--split", "train")
    calibration = cxrlens("calibrate", data, "-m", model, "-o", site, *target, "--json")
    assert calibration.code == 0, calibration.err
    assert "scores" not in calibration.json
    screened = tmp_path / "screened"
    assert cxrlens("screen", data / "train", "-m", site, "-o", screened, "--maps", "none", *FAST).code == 0
    finished = cxrlens("analyse", screened, "-o", tmp_path / "out", "--fail-on", "drift", "--json")
    assert finished.code == 0, finished.err
    (test,) = finished.json["models"][0]["drift"]["tests"]
    assert test["images"] == 16
    assert test["distance"] < 0.13  # of the very images: quantiles are straight between them, a step of eight a class

    (screened / "calibration.json").unlink()  # of an earlier version
    refused(cxrlens("analyse", screened, "-o", tmp_path / "b", "--fail-on", "drift"), 2, "--model")
    named = cxrlens("analyse", screened, "-o", tmp_path / "b", "--fail-on", "drift", "-m", site, "--json")
    assert named.json["models"][0]["drift"] == finished.json["models"][0]["drift"]
