"""One file read once: digest, picture, preview, and what a DICOM file says of the patient only when asked for."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import read
from cxrlens.inputs.reading import Readers
from cxrlens.screening.reading import PREVIEW_SIDE, ImageToRead, Reading, preview, read_images

PREPROCESSING = Preprocessing(height=40, width=30)


def test_a_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    grey = np.random.default_rng(0).integers(0, 256, (300, 200), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x010E] = "DOE^JANE"  # the description
    Image.fromarray(grey).save(path, quality=95, exif=exif)
    look = pickle.loads(pickle.dumps(Reading(PREPROCESSING)))(ImageToRead(FileOrigin(path), "a.jpg"))
    assert look.key == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (look.height, look.width, look.origin, look.reason, look.tags) == (300, 200, "JPEG", "", {})
    image = read(path, at_least=PREPROCESSING.decoded_at_least)
    np.testing.assert_array_equal(look.grey, PREPROCESSING.resized(image.pixels, (300, 200)))
    assert b"DOE" not in look.preview
    with Image.open(io.BytesIO(look.preview)) as shown:
        assert (shown.mode, shown.height, shown.width) == ("L", *image.pixels.shape)
        assert not shown.getexif()
    known = Reading(PREPROCESSING)(ImageToRead(FileOrigin(path), "a.jpg", look.key))
    assert known.is_known
    assert known.grey is None
    assert not look.is_known


def test_the_preview_keeps_the_aspect_and_the_levels() -> None:
    pixels = np.tile(np.linspace(0, 1, 3000, dtype=np.float32), (1500, 1))
    with Image.open(io.BytesIO(preview(pixels))) as shown:
        assert shown.size == (PREVIEW_SIDE, PREVIEW_SIDE // 2)
        row = np.asarray(shown)[100].astype(float)
    np.testing.assert_allclose(row, np.linspace(0, 255, PREVIEW_SIDE), atol=4)
    with Image.open(io.BytesIO(preview(np.zeros((5000, 1), np.float32)))) as shown:
        assert shown.size == (1, PREVIEW_SIDE)


@pytest.mark.parametrize("content", [b"", b"no picture", bytes(128) + b"DICM"])
def test_a_bad_file_has_a_reason_without_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with Readers(Reading(PREPROCESSING), workers=0) as readers:
        (look,) = read_images(readers, [ImageToRead(FileOrigin(path), "a.jpg")])
    assert look.reason
    assert str(tmp_path) not in look.reason
    assert look.grey is None
    assert look.key == (hashlib.sha256(content).hexdigest() if content else "")


def test_patient_data_are_read_only_when_asked_for(tmp_path: Path) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.PatientName, dataset.PatientID, dataset.StudyDate, dataset.AccessionNumber = "A^B", "P1", "20240102", ""
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 20, 30, 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = bytes(range(200)) * 3
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    task = ImageToRead(FileOrigin(tmp_path / "a.dcm"), "a.dcm")
    assert Reading(PREPROCESSING)(task).tags == {}
    kept = Reading(PREPROCESSING, keep_tags=("date", "accession_number", "image_uid"))(task).tags
    assert kept == {"date": "2024-01-02", "image_uid": "1.2.3"}
