"""Sources that lack something or break DICOM's rules: results are written, or the reason is one sentence."""

from __future__ import annotations

import dataclasses
import io
import random
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicom_sources import HEIGHT, IDENTITY, INFO, UIDS, WIDTH, cr, dx, file_of, result, stored_values
from PIL import Image
from pydicom import dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation, ExplicitVRBigEndian, ImplicitVRLittleEndian

from cxrlens.dicom_out import NotReferableError, write_dicom
from cxrlens.dicom_out.source import open_source
from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers import read

pytest.importorskip("highdicom")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, about the values that are wrong on purpose


def both(source: Any, folder: Path) -> list[Dataset]:
    files = write_dicom(source, result(), INFO, folder / "one")
    return [dcmread(files.report), dcmread(files.capture)]


def tag_of(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return Tag(tag)


# -- what has to be there, but may be empty ---------------------------------------------------------------------------

REQUIRED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)


@pytest.mark.parametrize("empty", ["absent", "empty"])
def test_without_any_identity_but_uids(empty: str, tmp_path: Path) -> None:
    for dataset in both(dx(**dict.fromkeys(IDENTITY, None if empty == "absent" else "")), tmp_path):
        for keyword in REQUIRED:
            assert dataset[keyword].is_empty, keyword
        assert "PatientAge" not in dataset or dataset["PatientAge"].is_empty
        assert dataset.StudyInstanceUID == UIDS["StudyInstanceUID"]


def test_without_what_the_image_library_describes(tmp_path: Path) -> None:
    for dataset in both(cr(Modality=None), tmp_path):
        assert dataset.StudyInstanceUID == UIDS["StudyInstanceUID"]
    picture = both(cr(), tmp_path)[1]
    assert picture["PatientOrientation"].is_empty


@pytest.mark.parametrize("orientation", [["A", "F"], ["LF", "FR"], ["L"], "", ["X", "Y"]])
def test_any_orientation_is_carried(orientation: Any, tmp_path: Path) -> None:
    picture = both(dx(PatientOrientation=orientation), tmp_path)[1]
    found = picture.PatientOrientation
    assert (list(found) if not isinstance(found, str | None) else [found] if found else []) == list(orientation)


# -- names and characters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Zoë"),
        ("ISO_IR 192", "王^小东"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
def test_names_in_any_script(character_set: Any, name: str, tmp_path: Path) -> None:
    source = dcmread(io.BytesIO(file_of(dx(SpecificCharacterSet=character_set, PatientName=name))))
    for dataset in both(source, tmp_path):
        assert dataset.SpecificCharacterSet == source.SpecificCharacterSet
        assert dataset.PatientName == source.PatientName
        assert str(dataset.PatientName) == name


def test_names_without_a_character_set_keep_their_bytes(tmp_path: Path) -> None:
    content = file_of(dx(PatientName="Mxller")).replace(b"Mxller", b"M\xfcller")
    for path in ("a", "b"):
        files = write_dicom(content, result(), INFO, tmp_path / path)
        assert b"M\xfcller" in files.report.read_bytes()
        assert b"M\xfcller" in files.capture.read_bytes()


def test_a_model_of_any_name(tmp_path: Path) -> None:
    info = dataclasses.replace(INFO, model="模型 \u00fc.safetensors")
    files = write_dicom(dx(), result(), info, tmp_path / "one")
    assert b"model: ?? ?.safetensors" in files.report.read_bytes()


# -- values that break the rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "stored"),
    [
        ("PatientSex", b"female"),
        ("PatientBirthDate", b"unknown "),
        ("PatientBirthDate", b"1961.04.12"),
        ("StudyDate", b"20311345"),
        ("StudyTime", b"25:61 "),
        ("PatientAge", b"69"),
        ("PatientName", b"A^B^C^D^E^F^G "),
        ("AccessionNumber", b"much longer than sixteen signs"),
        ("PatientID", b"a\\b "),
    ],
)
def test_identity_is_carried_as_it_is(keyword: str, stored: bytes, tmp_path: Path) -> None:
    """The archive knows the patient by these values, right or wrong."""
    source = dx(**{keyword: None})
    tag = tag_of(keyword)
    source[tag] = RawDataElement(tag, dictionary_VR(tag), len(stored), stored, 0, False, True)
    for folder, given in (("a", file_of(source)), ("b", source)):
        files = write_dicom(given, result(), INFO, tmp_path / folder)
        assert stored in files.report.read_bytes()
        assert stored in files.capture.read_bytes()


@pytest.mark.parametrize("uid", ["1.2.03.4", "1.2." + "9" * 60])
def test_uids_that_archives_let_pass(uid: str, tmp_path: Path) -> None:
    for dataset in both(file_of(dx(StudyInstanceUID=uid)), tmp_path):
        assert dataset.StudyInstanceUID == uid


def test_any_junk_in_a_header_gives_results_or_a_reason(tmp_path: Path) -> None:
    """Elements that results look at, with values, and kinds of values, that do not belong there."""
    keywords = [*IDENTITY, "SpecificCharacterSet", "Modality", "PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"]
    keywords += ["PatientOrientation", "BurnedInAnnotation", "LossyImageCompression", "OtherPatientIDsSequence", "Rows"]
    junk = [b"", b"\\", b"a\\b\\c", b"\xff\xfe\x00\x80", b"-1", b"nan", b"0\\0", b"9" * 70, b"\x1b$B\x1b", b"\x00\x00"]
    draw = random.Random(4)
    picture, content = read(dx()).pixels, file_of(dx())
    outcomes = set()
    for _ in range(25):
        source = dcmread(io.BytesIO(content))
        tag = tag_of(draw.choice(keywords))
        kind = draw.choice([dictionary_VR(tag), dictionary_VR(tag), "LO", "US", "PN"])
        value = draw.choice(junk)
        source[tag] = RawDataElement(tag, kind, len(value), value, 0, False, True)
        try:
            files = write_dicom(source, result(), INFO, tmp_path / "one", picture=picture)
            assert dcmread(files.report).StudyInstanceUID == UIDS["StudyInstanceUID"]
            outcomes.add("results")
        except NotReferableError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert "Traceback" not in str(error)  # noqa: PT017
            outcomes.add("reason")
    assert outcomes == {"results", "reason"}


# -- what cannot be referred to ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("keyword", [*UIDS, "SOPClassUID"])
@pytest.mark.parametrize("value", [None, "", "none", "1.2.x", "1." + "2" * 64])
def test_without_uids_there_is_a_reason(keyword: str, value: str | None, tmp_path: Path) -> None:
    source = dx()
    source[keyword].value = value or ""
    if value is None:
        del source[keyword]
    with pytest.raises(NotReferableError, match=keyword) as raised:
        write_dicom(source, result(), INFO, tmp_path / "one")
    assert str(raised.value).startswith("ward/image.dcm: ")
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "uid", [DigitalMammographyXRayImageStorageForPresentation, "1.2.840.10008.5.1.4.1.1.88.33", "1.2.3.4.5"]
)
def test_other_kinds_of_images_are_refused(uid: str, tmp_path: Path) -> None:
    with pytest.raises(NotReferableError, match="radiographs"):
        write_dicom(dx(SOPClassUID=uid), result(), INFO, tmp_path / "one")


def test_pictures_of_other_files_have_no_identity(tmp_path: Path) -> None:
    picture = tmp_path / "picture.jpg"
    Image.new("L", (WIDTH, HEIGHT)).save(picture)
    with pytest.raises(NotReferableError, match="no DICOM file"):
        write_dicom(picture, result(), INFO, tmp_path / "out" / "one")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UnreadableImageError):
        open_source(tmp_path / "none")


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings(syntax: Any, tmp_path: Path) -> None:
    source = dx()
    source.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        source.PixelData = stored_values().astype(">u2").tobytes()
    for dataset in both(file_of(source), tmp_path):
        for keyword, value in IDENTITY.items():
            assert dataset[keyword].value == value


def test_a_file_without_a_preamble(tmp_path: Path) -> None:
    source = dx()
    del source.file_meta
    bare = tmp_path / "bare"
    source.save_as(bare, implicit_vr=True, little_endian=True)
    assert bare.read_bytes()[128:132] != b"DICM"
    assert open_source(bare).header.StudyInstanceUID == UIDS["StudyInstanceUID"]


@pytest.mark.parametrize(
    ("name", "lossy"), [("SC_rgb_small_odd.dcm", "00"), ("SC_rgb_jpeg_dcmtk.dcm", "01"), ("SC_rgb_rle.dcm", "00")]
)
def test_files_that_come_with_pydicom(name: str, lossy: str, tmp_path: Path) -> None:
    path = Path(pydicom.__file__).with_name("data") / "test_files" / name
    source, image = dcmread(path), read(path)
    found = result(height=image.height, width=image.width, contours=(((0.0, 0.0), (2.0, 0.0), (1.0, 2.0)),))
    files = write_dicom(path, found, INFO, tmp_path / "one")
    for dataset in (dcmread(files.report), dcmread(files.capture)):
        assert dataset.StudyInstanceUID == source.StudyInstanceUID
        assert dataset.PatientID == source.get("PatientID", "")
        assert str(dataset.PatientName) == str(source.get("PatientName", ""))
    assert dcmread(files.capture).LossyImageCompression == lossy
