"""Report and capture against DICOM's own rules, by programs that know them and were not written for this one."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dicom_sources import IDENTITY, INFO, cr, dx, map_of_object, result
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    ComprehensiveSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    SecondaryCaptureImageStorage,
)

from cxrlens.dicom_out import WrittenDicom, write_dicom
from waiting import PATIENCE

pytest.importorskip("highdicom")
validation = pytest.importorskip("dicom_validator.validator.dicom_file_validator")

CASES: dict[str, tuple[Callable[[], Dataset], dict[str, Any]]] = {
    "digital, retake": (lambda: dx(PixelSpacing=[0.15, 0.15]), {}),
    "computed, retake": (cr, {}),
    "pass": (dx, {"decision": "normal", "triage": "pass", "probability": 0.1}),
    "review without calibration of pixels": (lambda: dx(ImagerPixelSpacing=[0.3, 0.2]), {"triage": "review"}),
    "with a window": (lambda: dx(WindowCenter=600, WindowWidth=900, RescaleSlope=1, RescaleIntercept=0), {}),
    "flat": (dx, {"contours": (), "flat": True, "peak": None}),
    "nameless": (lambda: dx(**dict.fromkeys(IDENTITY)), {}),
}


@pytest.fixture(scope="module", params=list(CASES))
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> WrittenDicom:
    make, fields = CASES[request.param]
    stem = tmp_path_factory.mktemp("files") / "one"
    return write_dicom(make(), result(**fields), INFO, stem, map_=map_of_object())


@pytest.fixture(scope="module")
def tables() -> Any:
    from standard_tables import dicom_info

    return dicom_info(ComprehensiveSRStorage, SecondaryCaptureImageStorage, GrayscaleSoftcopyPresentationStateStorage)


@pytest.fixture(scope="module")
def standard() -> Any:
    """The standard's text, where dicom-validator has downloaded it before (`validate_iods` does)."""
    from dicom_validator.spec_reader.edition_reader import EditionReader

    reader = EditionReader()
    here = [path.parent.name for path in reader.path.glob("*/docbook")]
    if not here:
        pytest.skip(f"no edition of the standard lies in {reader.path}")
    edition = max(here)
    reader.get_edition_path(edition, recreate_json=False)
    return reader.load_dicom_info(edition)


def faults(path: Path, info: Any) -> list[str]:
    (found,) = validation.DicomFileValidator(info, error_handler=_Silent()).validate(path).values()
    listed = [
        f"{module}: {tag} {error.code.name}"
        for module, errors in found.module_errors.items()
        for tag, error in errors.items()
    ]
    assert found.sop_class_uid in info.iods
    assert found.errors == len(listed)
    return listed


class _Silent:
    """Takes what dicom-validator would print."""

    def handle_validation_start(self, result: Any) -> None: ...

    def handle_validation_result(self, result: Any) -> None: ...


def test_dicom_validator_with_highdicoms_tables(files: WrittenDicom, tables: Any) -> None:
    assert faults(files.report, tables) == []
    assert faults(files.capture, tables) == []
    if files.presentation is not None:
        assert faults(files.presentation, tables) == []


def test_dicom_validator_with_the_standard(files: WrittenDicom, standard: Any) -> None:
    assert faults(files.report, standard) == []
    assert faults(files.capture, standard) == []
    if files.presentation is not None:
        assert faults(files.presentation, standard) == []


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("report", ["StudyInstanceUID"]),
        ("report", ["StudyDate"]),
        ("report", ["CompletionFlag"]),
        ("report", ["ContentSequence", 0, "ValueType"]),
        (
            "report",
            ["CurrentRequestedProcedureEvidenceSequence", 0, "ReferencedSeriesSequence", 0, "SeriesInstanceUID"],
        ),
        ("capture", ["PatientID"]),
        ("capture", ["ConversionType"]),
        ("capture", ["SourceImageSequence", 0, "ReferencedSOPInstanceUID"]),
    ],
)
def test_the_validator_sees_what_is_missing(kind: str, path: list[Any], tables: Any, tmp_path: Path) -> None:
    """The check above can fail."""
    written = write_dicom(dx(), result(), INFO, tmp_path / "one")
    spoilt = dcmread(getattr(written, kind))
    place: Any = spoilt
    for step in path[:-1]:
        place = place[step] if isinstance(step, int) else place[step].value
    del place[path[-1]]
    spoilt.save_as(tmp_path / "spoilt.dcm")
    (fault,) = faults(tmp_path / "spoilt.dcm", tables)
    assert "TagMissing" in fault


@pytest.mark.parametrize(
    ("keyword", "value", "code"),
    [
        ("WindowCenter", "40", "TagUnexpected"),
        ("StudyDate", "2031-01-01", "InvalidValue"),
        ("Modality", "", "TagEmpty"),
    ],
)
def test_the_validator_sees_what_is_wrong(keyword: str, value: str, code: str, tables: Any, tmp_path: Path) -> None:
    spoilt = dcmread(write_dicom(dx(), result(), INFO, tmp_path / "one").report)
    with warnings.catch_warnings(action="ignore"):
        setattr(spoilt, keyword, value)
        spoilt.save_as(tmp_path / "spoilt.dcm")
    (fault,) = faults(tmp_path / "spoilt.dcm", tables)
    assert code in fault


def test_dciodvfy(files: WrittenDicom) -> None:
    """David Clunie's verifier, which knows modules, conditions, enumerated values and the relations of SR."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    for path in filter(None, (files.report, files.capture, files.presentation)):
        said = subprocess.run([program, path], capture_output=True, text=True, check=False, timeout=PATIENCE)
        lines = (said.stdout + said.stderr).splitlines()
        assert [line for line in lines if line.startswith(("Error", "Abort"))] == []
        unexpected = [
            line for line in lines if line.startswith("Warning") and "99CXRLENS" not in line and "DICOMDIR" not in line
        ]
        assert unexpected == []


def test_dcmtk_reads_the_report_as_a_document(files: WrittenDicom) -> None:
    program = shutil.which("dsrdump")
    if program is None:
        pytest.skip("dsrdump (dcmtk) is not installed")
    said = subprocess.run([program, files.report], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert said.returncode == 0, said.stderr
    assert said.stderr == ""
    assert "Quality Assessment" in said.stdout
