"""The Presentation State: its outlines are the report's regions, and the radiograph looks as it does without it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from dicom_sources import INFO, UIDS, cr, dx, file_of, map_of_object, result
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from cxrlens.dicom_out import WrittenDicom, files_of, write_dicom
from waiting import PATIENCE

pytest.importorskip("highdicom")
sr = pytest.importorskip("highdicom.sr")

WINDOW: dict[str, Any] = {"WindowCenter": 600, "WindowWidth": 900}
SOURCES: dict[str, Callable[[], Dataset]] = {
    "white is high": lambda: dx(**WINDOW),
    "white is low": lambda: cr(**{**WINDOW, "WindowCenter": 3400}),
    "rescaled": lambda: dx(
        RescaleSlope=2, RescaleIntercept=-100, RescaleType="US", WindowCenter=1000, WindowWidth=1500
    ),
    "inverted at the end": lambda: dx(**WINDOW, PresentationLUTShape="INVERSE"),
}


def written(folder: Path, source: Dataset, **fields: Any) -> WrittenDicom:
    return write_dicom(source, result(**fields), INFO, folder / "one", map_=map_of_object())


@pytest.fixture(params=list(SOURCES))
def source(request: pytest.FixtureRequest) -> Dataset:
    return SOURCES[request.param]()


def test_its_outlines_are_the_reports_regions(source: Dataset, tmp_path: Path) -> None:
    files = written(tmp_path, source)
    assert files.presentation is not None
    state = dcmread(files.presentation)
    (annotation,) = state.GraphicAnnotationSequence
    (reference,) = annotation.ReferencedImageSequence
    assert reference.ReferencedSOPInstanceUID == UIDS["SOPInstanceUID"]
    regions = [group.roi.value for group in sr.srread(files.report).content.get_planar_roi_measurement_groups()]
    outlines = [np.reshape(each.GraphicData, (-1, 2)) for each in annotation.GraphicObjectSequence]
    assert len(outlines) == len(regions) == 1
    np.testing.assert_allclose(outlines[0], regions[0], atol=1e-4)
    assert {each.GraphicAnnotationUnits for each in annotation.GraphicObjectSequence} == {"PIXEL"}
    (words,) = annotation.TextObjectSequence
    assert "suggested retake" in words.UnformattedTextValue
    assert "not a medical device" in words.UnformattedTextValue


def test_it_is_of_the_sources_patient_and_study_and_the_same_again(tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        files = written(tmp_path / name, dx(**WINDOW))
        assert files.presentation is not None
        contents.append(files.presentation.read_bytes())
        state = dcmread(files.presentation)
    assert contents[0] == contents[1]
    assert state.SOPClassUID == GrayscaleSoftcopyPresentationStateStorage
    assert (state.PatientName, state.PatientID, state.AccessionNumber) == ("Doe^Jane", "P-17", "A-5")
    assert state.StudyInstanceUID == UIDS["StudyInstanceUID"]
    assert state.SeriesInstanceUID not in (UIDS["SeriesInstanceUID"], dcmread(files.report).SeriesInstanceUID)
    assert files_of(tmp_path / "second" / "one") == [files.report, files.capture, files.presentation]


@pytest.mark.parametrize(
    ("make", "fields"),
    [
        (lambda: dx(**WINDOW), {"decision": "normal", "triage": "pass", "probability": 0.1}),
        (lambda: dx(**WINDOW), {"contours": (), "flat": True, "peak": None}),
        (dx, {}),  # 12 bits without a window: the detector's whole range would be dark
    ],
    ids=["pass", "flat", "no window"],
)
def test_there_is_none_without_regions_or_where_it_would_change_the_picture(
    make: Callable[[], Dataset], fields: dict[str, Any], tmp_path: Path
) -> None:
    assert written(tmp_path, dx(**WINDOW)).presentation is not None  # of an earlier result: it goes
    files = written(tmp_path, make(), **fields)
    assert files.presentation is None
    assert files_of(tmp_path / "one") == [files.report, files.capture]


def rendered(image: Path, state: Path | None, folder: Path) -> npt.NDArray[np.uint8]:
    """The picture that DCMTK shows of a radiograph with a presentation state."""
    program = shutil.which("dcmp2pgm")
    if program is None:
        pytest.skip("dcmp2pgm (dcmtk) is not installed")
    out = folder / "shown.pgm"
    options = [] if state is None else ["-p", str(state)]
    done = subprocess.run(
        [program, *options, str(image), str(out)], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return np.asarray(Image.open(out))


def test_the_radiograph_looks_as_it_does_without_it(source: Dataset, tmp_path: Path) -> None:
    files = written(tmp_path, source)
    image = tmp_path / "image.dcm"
    image.write_bytes(file_of(source))
    plain, presented = (rendered(image, state, tmp_path) for state in (None, files.presentation))
    assert np.ptp(plain) > 100
    np.testing.assert_array_equal(presented, plain)
