"""Tags of DICOM headers: named one by one, of the first attribute with a usable value, and never a fault."""

from __future__ import annotations

import io
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from cxrlens.errors import UsageError
from cxrlens.screening.folder import ScreeningInfo
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.tag_values import kept_tags
from cxrlens.screening.tags import FORMER, TAGS, iso_date, named_tags
from stores import INFO


def header(**elements: Any) -> bytes:
    """A DICOM file of these elements alone."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    for name, value in elements.items():
        setattr(dataset, name, value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def coded(meaning: str) -> list[Dataset]:
    code = Dataset()
    code.CodeMeaning = meaning
    return [code]


FULL = {
    "StationName": " XR\t1 ",
    "PerformedLocation": "Room 2",
    "InstitutionalDepartmentName": "Emergency",
    "AcquisitionDate": "20260228",
    "StudyDate": "20260227",
    "OperatorsName": ["DOE^JANE", "ROE^RICHARD"],
    "ViewPosition": "pa",
    "ExposureIndex": "312.50",
    "TargetExposureIndex": 250,
    "DetectorID": "D-7",
    "Manufacturer": "Maker",
    "ManufacturerModelName": "Type 3",
    "PatientID": "P1",
    "AccessionNumber": "A1",
    "StudyInstanceUID": "1.2",
    "SOPInstanceUID": "1.2.3",
}


def test_every_tag() -> None:
    assert kept_tags(header(**FULL), TAGS) == {
        "station": "XR 1",
        "room": "Room 2",
        "date": "2026-02-28",
        "operator": "DOE^JANE, ROE^RICHARD",
        "view": "PA",
        "exposure_index": "312.5",
        "target_exposure_index": "250",
        "deviation_index": "1.0",  # 10 log10(312.5 / 250) = 0.969
        "detector": "D-7",
        "manufacturer": "Maker",
        "device": "Type 3",
        "patient_id": "P1",
        "accession_number": "A1",
        "study_uid": "1.2",
        "image_uid": "1.2.3",
    }


def test_only_what_is_named() -> None:
    assert kept_tags(header(**FULL), ("station",)) == {"station": "XR 1"}
    assert kept_tags(header(**FULL), ()) == {}
    assert kept_tags(b"no DICOM", TAGS) == {}


@pytest.mark.parametrize(
    ("name", "elements", "kept"),
    [
        ("station", {"StationName": "", "PerformedStationName": "XR2"}, "XR2"),
        ("room", {"InstitutionalDepartmentName": "Emergency"}, "Emergency"),
        ("date", {"AcquisitionDate": "20261301", "ContentDate": "20260301"}, "2026-03-01"),  # no 13th month
        ("date", {"AcquisitionDateTime": "20260301235959.5+0100", "StudyDate": "20260227"}, "2026-03-01"),
        ("date", {"StudyDate": "2026.03.01"}, "2026-03-01"),
        ("date", {"StudyDate": "unknown"}, None),
        ("view", {"ViewCodeSequence": coded("postero-anterior")}, "PA"),
        ("view", {"ViewCodeSequence": coded("Antero-posterior projection")}, "AP"),
        ("view", {"ViewPosition": "AP", "ViewCodeSequence": coded("postero-anterior")}, "AP"),
        ("view", {"ViewCodeSequence": []}, None),
        ("exposure_index", {"ExposureIndex": "-1"}, None),
        ("deviation_index", {"DeviationIndex": "-2.5", "ExposureIndex": "1", "TargetExposureIndex": "1"}, "-2.5"),
        ("deviation_index", {"ExposureIndex": "100", "TargetExposureIndex": "0"}, None),
        ("deviation_index", {"ExposureIndex": "100"}, None),
        ("detector", {"PlateID": "C-1"}, "C-1"),
        ("manufacturer", {"Manufacturer": "x" * 200}, "x" * 120),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_fall_backs_and_odd_values(name: str, elements: dict[str, Any], kept: str | None) -> None:
    assert kept_tags(header(**elements), (name,)) == ({} if kept is None else {name: kept})


def test_a_damaged_element_spoils_no_other_one() -> None:
    content = header(PatientID="P1", AccessionNumber="A1", ExposureIndex="300")
    for tag, kind in ((b"\x08\x00\x50\x00SH", b"ZZ"), (b"\x08\x00\x50\x00SH", b"FL"), (b"\x18\x00\x11\x14DS", b"US")):
        odd = content.replace(tag, tag[:4] + kind)
        assert odd != content
        assert kept_tags(odd, ("patient_id", "accession_number", "exposure_index"))["patient_id"] == "P1"
    assert kept_tags(content[:-3], ("patient_id",)) in ({}, {"patient_id": "P1"})


def test_names_as_an_option_has_them() -> None:
    assert named_tags(["view , station", "projection,exposure-index,,station"]) == ("station", "view", "exposure_index")
    assert named_tags([]) == ()
    with pytest.raises(UsageError, match=r"`keep_tags` takes .*station,room,.*'--layers' is none"):
        named_tags(["--layers"])


def test_dates() -> None:
    assert iso_date("20240229") == "2024-02-29"
    assert iso_date("20230229") == iso_date("0000") == iso_date("2023-0229") == ""


def test_records_and_settings_of_earlier_versions() -> None:
    was = {"PatientID": "P", "StudyDate": "20240102", "ViewPosition": "PA", "SOPInstanceUID": "1.2"}
    image = ScreenedImage(name="a", tags=was)
    assert image.tags == {"patient_id": "P", "date": "2024-01-02", "view": "PA", "image_uid": "1.2"}
    assert ScreenedImage.model_validate_json(image.model_dump_json()) == image
    assert ScreenedImage(name="a", tags={"StudyDate": "today"}).tags == {}
    switched_on = ScreeningInfo.model_validate(INFO.model_dump() | {"keep_tags": True})
    assert switched_on.keep_tags == FORMER == named_tags(FORMER)
    assert ScreeningInfo.model_validate(INFO.model_dump() | {"keep_tags": False}).keep_tags == ()
