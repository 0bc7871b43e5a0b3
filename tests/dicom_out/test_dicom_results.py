"""What report and capture hold, read back by other code than wrote it."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_sources import HEIGHT, IDENTITY, INFO, OBJECT, UIDS, WIDTH, cr, dx, file_of, map_of_object, result
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage, SecondaryCaptureImageStorage

from cxrlens.dicom_out import NotReferableError, WrittenDicom, require_highdicom, write_dicom
from cxrlens.errors import UnreadableImageError, UsageError
from cxrlens.inputs.readers import read

highdicom = pytest.importorskip("highdicom")
sr = pytest.importorskip("highdicom.sr")

FINDING = {"decision": "affected", "triage": "retake"}


def written(folder: Path, source: Any = None, **fields: Any) -> WrittenDicom:
    return write_dicom(source or dx(), result(**fields), INFO, folder / "one", map_=map_of_object())


def both(files: WrittenDicom) -> list[Dataset]:
    return [dcmread(files.report), dcmread(files.capture)]


def texts(dataset: Dataset) -> str:
    """All texts of a report."""
    return "\n".join(
        str(element.value) for element in dataset.iterall() if element.keyword in ("TextValue", "CodeMeaning")
    )


# -- identity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [dx, cr])
def test_both_are_of_the_sources_patient_and_study_in_series_of_their_own(make: Any, tmp_path: Path) -> None:
    files = written(tmp_path, make())
    document, picture = both(files)
    for dataset in (document, picture):
        for keyword, value in IDENTITY.items():
            assert dataset[keyword].value == value, keyword
        assert dataset.StudyInstanceUID == UIDS["StudyInstanceUID"]
        assert dataset.SoftwareVersions == "9.8.7"
        assert dataset.DeviceSerialNumber == INFO.model_sha256
        assert "not a medical device" in dataset.SeriesDescription
        assert "suggested retake" in dataset.SeriesDescription
        assert len(dataset.SeriesDescription) <= 64  # of a DICOM long string
    assert (document.SOPClassUID, document.Modality) == (ComprehensiveSRStorage, "SR")
    assert (picture.SOPClassUID, picture.Modality) == (SecondaryCaptureImageStorage, "OT")
    series = {document.SeriesInstanceUID, picture.SeriesInstanceUID, UIDS["SeriesInstanceUID"]}
    assert len(series) == 3


def test_both_refer_to_the_source(tmp_path: Path) -> None:
    source = dx()
    files = written(tmp_path, source)
    document = sr.srread(files.report)
    wanted = (UIDS["StudyInstanceUID"], UIDS["SeriesInstanceUID"], UIDS["SOPInstanceUID"], source.SOPClassUID)
    assert document.get_evidence() == [wanted]
    assert "PertinentOtherEvidenceSequence" not in document
    picture = dcmread(files.capture)
    (origin,) = picture.SourceImageSequence
    assert (origin.ReferencedSOPClassUID, origin.ReferencedSOPInstanceUID) == (wanted[3], wanted[2])
    assert origin.SpatialLocationsPreserved == "YES"
    (series,) = picture.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == wanted[1]
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == wanted[2]
    assert "not a medical device" in picture.DerivationDescription


def test_again_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a"), written(tmp_path / "b")
    assert first.report.read_bytes() == second.report.read_bytes()
    assert first.capture.read_bytes() == second.capture.read_bytes()


@pytest.mark.parametrize(
    ("source", "info", "fields"),
    [
        ({"SOPInstanceUID": "1.2.3.4"}, {}, {}),
        ({}, {"model_sha256": "f" * 64}, {}),
        ({}, {"threshold": 0.7}, {}),
        ({}, {}, {"probability": 0.94}),
        ({}, {}, {"contours": ()}),
        ({}, {}, {"grid": "centres", "interpolation": "bicubic"}),
        ({}, {}, {"grid": "areas", "interpolation": "bilinear", "flip": True}),
    ],
    ids=[
        "another image",
        "another model",
        "another threshold",
        "another probability",
        "other contours",
        "another resize",
        "with the mirrored image",
    ],
)
def test_whatever_changes_the_content_changes_the_uids(
    source: dict[str, Any], info: dict[str, Any], fields: dict[str, Any], tmp_path: Path
) -> None:
    first = both(written(tmp_path / "a"))
    second = both(write_dicom(dx(**source), result(**fields), dataclasses.replace(INFO, **info), tmp_path / "b"))
    for one, other in zip(first, second, strict=True):
        assert one.SOPInstanceUID != other.SOPInstanceUID
        assert one.SeriesInstanceUID != other.SeriesInstanceUID


def test_a_later_run_has_the_same_uids(tmp_path: Path) -> None:
    later = dataclasses.replace(INFO, created="2032-01-01T00:00:00+00:00")
    first = both(written(tmp_path / "a"))
    second = both(write_dicom(dx(), result(), later, tmp_path / "b"))
    for one, other in zip(first, second, strict=True):
        assert one.SOPInstanceUID == other.SOPInstanceUID
        assert one.ContentDate != other.ContentDate


def test_both_say_how_the_map_was_resized(tmp_path: Path) -> None:
    document, picture = both(written(tmp_path, grid="centres", interpolation="bicubic", flip=True))
    assert "map resize: centres bicubic, mirrored" in texts(document).splitlines()
    assert "saliency map (resize: centres bicubic, mirrored), contours" in picture.DerivationDescription
    document, picture = both(written(tmp_path, layers="input"))
    assert "map resize" not in texts(document)
    assert "saliency map, contours" in picture.DerivationDescription


def test_a_lower_precision_is_a_parameter_of_the_model(tmp_path: Path) -> None:
    in_bf16 = dataclasses.replace(INFO, precision="bf16")
    document, _ = both(write_dicom(dx(), result(), in_bf16, tmp_path / "a"))
    assert "precision: bf16" in texts(document).splitlines()
    document, _ = both(write_dicom(dx(), result(), INFO, tmp_path / "b"))
    assert "precision" not in texts(document)


# -- the report -------------------------------------------------------------------------------------------------------


def test_the_report_says_what_was_found_where(tmp_path: Path) -> None:
    document = sr.srread(written(tmp_path).report)
    assert (document.CompletionFlag, document.VerificationFlag, document.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    report = document.content
    (region,) = report.get_planar_roi_measurement_groups()
    (whole,) = report.get_image_measurement_groups()
    for group in (region, whole):
        (measured,) = group.get_measurements()
        assert measured.value == pytest.approx(0.931257, abs=1e-9)
        assert (measured.unit.value, measured.unit.scheme_designator) == ("1", "UCUM")
        (evaluation,) = group.get_qualitative_evaluations()
        assert (evaluation.value.value, evaluation.value.scheme_designator) == ("RETAKE", "99CXRLENS")
        assert evaluation.value.meaning == "Suggested retake"
    assert region.finding_type.value == "19227008"
    rows, columns = OBJECT
    corners = [
        (columns.start, rows.start),
        (columns.stop, rows.start),
        (columns.stop, rows.stop),
        (columns.start, rows.stop),
        (columns.start, rows.start),
    ]
    assert region.roi.graphic_type == sr.GraphicTypeValues.POLYLINE
    np.testing.assert_array_equal(region.roi.value, corners)
    (pointed,) = region.roi.ContentSequence
    assert pointed.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == UIDS["SOPInstanceUID"]
    said = texts(document)
    assert "Suggested retake: probability 0.93 is at or above the retake threshold 0.62." in said
    assert "For research; not a medical device." in said
    assert f"model SHA-256: {INFO.model_sha256}" in said


def test_every_contour_is_a_region_with_an_identifier_of_its_own(tmp_path: Path) -> None:
    first = result().contours[0]
    second = tuple((x + 30.0, y - 40.0) for x, y in first)
    groups = sr.srread(written(tmp_path, contours=(first, second)).report).content.get_planar_roi_measurement_groups()
    assert len(groups) == 2
    np.testing.assert_allclose(groups[1].roi.value - groups[0].roi.value, [[30, -40]] * 5)
    assert len({group.tracking_uid for group in groups}) == 2
    assert [group.tracking_identifier for group in groups] == ["Region 1", "Region 2"]


@pytest.mark.parametrize(
    ("fields", "code", "words", "regions", "place"),
    [
        (FINDING, "RETAKE", "suggested retake", 1, "no outlines of objects"),
        (
            {"decision": "normal", "triage": "review", "probability": 0.4},
            "REVIEW",
            "suggested review",
            1,
            "no outlines of objects",
        ),
        (
            {"decision": "normal", "triage": "pass", "probability": 0.1},
            "PASS",
            "no retake suggested",
            0,
            "No finding, hence no region.",
        ),
        ({"decision": "affected", "triage": None}, "RETAKE", "suggested retake", 1, "no outlines of objects"),
        ({"decision": "normal", "triage": None}, "PASS", "no retake suggested", 0, "No finding, hence no region."),
        (
            {**FINDING, "contours": (), "flat": True, "peak": None},
            "RETAKE",
            "suggested retake",
            0,
            "No region is given",
        ),
    ],
    ids=["retake", "review", "pass", "uncalibrated affected", "uncalibrated normal", "flat"],
)
def test_regions_are_given_where_something_is_suggested(
    fields: dict[str, Any], code: str, words: str, regions: int, place: str, tmp_path: Path
) -> None:
    files = written(tmp_path, **fields)
    document = sr.srread(files.report)
    assert len(document.content.get_planar_roi_measurement_groups()) == regions
    (whole,) = document.content.get_image_measurement_groups()
    assert whole.get_qualitative_evaluations()[0].value.value == code
    assert place in texts(document)
    for dataset in both(files):
        assert words in dataset.SeriesDescription
    coloured = dcmread(files.capture).pixel_array[:HEIGHT].astype(int)
    is_grey = bool((np.ptp(coloured, axis=2) == 0).all())
    assert is_grey == (code == "PASS")


def test_the_private_codes_are_declared(tmp_path: Path) -> None:
    document = dcmread(written(tmp_path).report)
    declared = {item.CodingSchemeDesignator for item in document.CodingSchemeIdentificationSequence}
    assert "99CXRLENS" in declared


# -- the capture ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [dx, cr])
def test_the_capture_is_the_picture_with_colour_at_the_object(make: Any, tmp_path: Path) -> None:
    source = make()
    picture = dcmread(written(tmp_path, source).capture)
    assert (picture.PhotometricInterpretation, picture.SamplesPerPixel, picture.BitsStored) == ("RGB", 3, 8)
    pixels = picture.pixel_array
    assert pixels.shape[1] == WIDTH
    assert pixels.shape[0] > HEIGHT
    rows, columns = OBJECT
    middle = pixels[rows, columns][4:-4, 4:-4].astype(int)  # inside the contour, on the peak
    assert (np.ptp(middle, axis=2) > 60).all()
    away = np.ones((HEIGHT, WIDTH), dtype=bool)
    away[rows.start - 4 : rows.stop + 4, columns.start - 4 : columns.stop + 4] = False
    grey = np.rint(read(source).pixels * 255)
    for channel in range(3):
        np.testing.assert_allclose(pixels[:HEIGHT][..., channel][away], grey[away], atol=1)
    caption = pixels[HEIGHT:]
    assert caption.max() == 255  # letters
    assert np.median(caption) == 0


def test_a_large_picture_is_reduced_at_its_own_aspect(tmp_path: Path) -> None:
    height, width = 2400, 1000
    source = dx(Rows=height, Columns=width, PixelSpacing=[0.1, 0.2])
    values = np.zeros((height, width), dtype="<u2")
    values[1800:1860, 100:160] = 4095
    source.PixelData = values.tobytes()
    square = ((100.0, 1800.0), (160.0, 1800.0), (160.0, 1860.0), (100.0, 1860.0))
    map_ = np.zeros((48, 20), dtype=np.float32)
    image = result(height=height, width=width, contours=(square,))
    files = write_dicom(source, image, INFO, tmp_path / "large", map_=map_)
    picture = dcmread(files.capture)
    shown = 1600, 667
    assert picture.Columns == shown[1]
    bright = np.argwhere(picture.pixel_array[: shown[0], :, 0] > 200)
    expected = np.array([[1800, 100], [1860, 160]]) * np.array(shown) / (height, width)
    np.testing.assert_allclose([bright.min(0), bright.max(0)], expected, atol=5)
    np.testing.assert_allclose(picture.PixelSpacing, [0.1 * height / shown[0], 0.2 * width / shown[1]], rtol=1e-6)
    assert picture.SourceImageSequence[0].SpatialLocationsPreserved == "NO"
    (region,) = sr.srread(files.report).content.get_planar_roi_measurement_groups()
    np.testing.assert_allclose(region.roi.value[0], (100.5, 1800.5))  # of the stored image, whatever the capture's size


@pytest.mark.parametrize(
    ("elements", "spacing", "aspect"),
    [
        ({"PixelSpacing": [0.2, 0.25], "PixelSpacingCalibrationType": "FIDUCIAL"}, [0.2, 0.25], None),
        ({"ImagerPixelSpacing": [0.15, 0.15]}, None, None),
        ({"ImagerPixelSpacing": [0.3, 0.2]}, None, [3, 2]),
        ({"ImagerPixelSpacing": None, "PixelAspectRatio": [4, 3]}, None, [4, 3]),
        ({"ImagerPixelSpacing": [0, 0]}, None, None),
    ],
)
def test_spacing_in_the_patient_is_carried_that_at_the_detector_is_not(
    elements: dict[str, Any], spacing: list[float] | None, aspect: list[int] | None, tmp_path: Path
) -> None:
    picture = dcmread(written(tmp_path, dx(**elements)).capture)
    assert (list(picture.PixelSpacing) if "PixelSpacing" in picture else None) == spacing
    assert (list(picture.PixelAspectRatio) if "PixelAspectRatio" in picture else None) == aspect
    assert picture.get("PixelSpacingCalibrationType") == elements.get("PixelSpacingCalibrationType")
    assert "ImagerPixelSpacing" not in picture


@pytest.mark.parametrize("annotation", ["YES", "NO", None])
def test_what_is_burned_into_the_source_is_burned_into_the_capture(annotation: str | None, tmp_path: Path) -> None:
    picture = dcmread(written(tmp_path, dx(BurnedInAnnotation=annotation)).capture)
    assert picture.get("BurnedInAnnotation") == annotation


def test_once_lossy_always_lossy(tmp_path: Path) -> None:
    lossy = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "7", "LossyImageCompressionMethod": "ISO_1"}
    picture = dcmread(written(tmp_path, dx(**lossy)).capture)
    for keyword, value in lossy.items():
        assert str(picture[keyword].value) == value
    assert dcmread(written(tmp_path, dx()).capture).LossyImageCompression == "00"


def test_captures_and_reports_are_not_read_as_radiographs(tmp_path: Path) -> None:
    files = written(tmp_path)
    with pytest.raises(UnreadableImageError, match="made of another image"):
        read(files.capture)
    with pytest.raises(UnreadableImageError, match="no image"):
        read(files.report)


# -- the call ---------------------------------------------------------------------------------------------------------


def test_files_bytes_and_data_sets_give_the_same(tmp_path: Path) -> None:
    file = tmp_path / "image.dcm"
    file.write_bytes(file_of(dx()))
    first = written(tmp_path / "a", dx()).report.read_bytes()
    assert written(tmp_path / "b", file).report.read_bytes() == first
    assert written(tmp_path / "c", file.read_bytes()).report.read_bytes() == first


def test_the_data_set_is_left_as_it_was(tmp_path: Path) -> None:
    source = dx()
    before = file_of(source)
    written(tmp_path, source)
    assert file_of(source) == before


def test_the_names_of_the_files(tmp_path: Path) -> None:
    files = write_dicom(dx(), result(), INFO, tmp_path / "deep" / "a.b.dcm")
    assert dataclasses.astuple(files) == (
        tmp_path / "deep" / "a.b.dcm.sr.dcm",
        tmp_path / "deep" / "a.b.dcm.sc.dcm",
        None,
    )
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["a.b.dcm.sc.dcm", "a.b.dcm.sr.dcm"]
    windowed = write_dicom(dx(WindowCenter=600, WindowWidth=900), result(), INFO, tmp_path / "deep" / "a.b.dcm")
    assert windowed.presentation == tmp_path / "deep" / "a.b.dcm.pr.dcm"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(UsageError, match=r"pip install 'cxrlens\[dicom\]'"):
        require_highdicom()


def test_only_results_of_the_very_picture_are_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no result"):
        write_dicom(dx(), result(probability=None, decision=None, status="unreadable"), INFO, tmp_path / "a")
    with pytest.raises(NotReferableError, match="60 x 90 pixels"):
        write_dicom(dx(), result(height=WIDTH, width=HEIGHT), INFO, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
