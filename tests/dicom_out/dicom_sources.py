"""Radiographs as DICOM data sets with an identity, and results about them, made on the fly."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from cxrlens.inspection.model_facts import ModelFacts
from cxrlens.inspection.record import ImageRecord

HEIGHT, WIDTH = 90, 60
OBJECT: Final = (slice(58, 70), slice(8, 24))
"""Rows and columns of a bright object, far from the diagonal."""

INFO: Final = ModelFacts(
    model="model.safetensors",
    model_sha256="0123456789abcdef" * 4,
    threshold=0.62,
    review_threshold=0.3,
    method="normgrad_conv1x1",
    layers="combined",
    cxrlens_version="9.8.7",
    created="2031-02-03T04:05:06+00:00",
)
IDENTITY: Final = {
    "PatientName": "Doe^Jane",
    "PatientID": "P-17",
    "IssuerOfPatientID": "Hospital",
    "PatientBirthDate": "19610412",
    "PatientSex": "F",
    "PatientAge": "069Y",
    "StudyDate": "20310101",
    "StudyTime": "121314",
    "StudyID": "S1",
    "StudyDescription": "Chest PA",
    "AccessionNumber": "A-5",
    "ReferringPhysicianName": "Roe^Richard",
    "ClinicalTrialSponsorName": "Sponsor",
    "ClinicalTrialProtocolID": "Trial",
    "ClinicalTrialProtocolName": "",
    "ClinicalTrialSiteID": "",
    "ClinicalTrialSiteName": "",
    "ClinicalTrialSubjectID": "T-9",
}
UIDS: Final = {
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1",
    "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.1.2",
    "SOPInstanceUID": "1.2.826.0.1.3680043.8.498.1.2.3",
}


def stored_values() -> npt.NDArray[np.uint16]:
    """12-bit values [HEIGHT, WIDTH], dark but for the object."""
    values = np.random.default_rng(5).integers(0, 900, (HEIGHT, WIDTH), dtype=np.uint16)
    values[OBJECT] = 4000
    return values


def dx(**elements: Any) -> Dataset:
    """A digital radiograph; None leaves an element out."""
    own = {
        "SOPClassUID": DigitalXRayImageStorageForPresentation,
        "Modality": "DX",
        "ImagerPixelSpacing": [0.15, 0.15],
        "PatientOrientation": ["L", "F"],
        "PresentationIntentType": "FOR PRESENTATION",
        "Manufacturer": "Maker",
        "BodyPartExamined": "CHEST",
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
    }
    return _image({**own, **elements})


def cr(**elements: Any) -> Dataset:
    """A computed radiograph, white is zero, with little in its header."""
    own = {"SOPClassUID": ComputedRadiographyImageStorage, "Modality": "CR", "PhotometricInterpretation": "MONOCHROME1"}
    image = _image({**own, **elements})
    image.PixelData = (4095 - stored_values()).astype("<u2").tobytes()
    return image


def file_of(source: Dataset) -> bytes:
    """The data set as a file."""
    stream = io.BytesIO()
    source.file_meta.MediaStorageSOPClassUID = source.SOPClassUID
    source.file_meta.MediaStorageSOPInstanceUID = source.get("SOPInstanceUID", "1.2")
    source.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def result(**fields: Any) -> ImageRecord:
    """What is found in the images above: a retake for the object."""
    rows, columns = OBJECT
    top, bottom, left, right = rows.start - 0.5, rows.stop - 0.5, columns.start - 0.5, columns.stop - 0.5
    own = {
        "name": "ward/image.dcm",
        "key": "ab" * 32,
        "probability": 0.93125678,
        "decision": "affected",
        "triage": "retake",
        "reason": "probability 0.93 is at or above the retake threshold 0.62",
        "height": HEIGHT,
        "width": WIDTH,
        "method": INFO.method,
        "layers": INFO.layers,
        "peak": (60, 12),
        "contours": (((left, top), (right, top), (right, bottom), (left, bottom), (left, top)),),
    }
    return ImageRecord(**{**own, **fields})


def map_of_object() -> npt.NDArray[np.float32]:
    """A map [HEIGHT / 2, WIDTH / 2] that is 1 on the object and 0 elsewhere."""
    map_ = np.zeros((HEIGHT // 2, WIDTH // 2), dtype=np.float32)
    map_[OBJECT[0].start // 2 : OBJECT[0].stop // 2, OBJECT[1].start // 2 : OBJECT[1].stop // 2] = 1
    return map_


def _image(elements: dict[str, Any]) -> Dataset:
    values = stored_values()
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    own = {
        "Rows": HEIGHT,
        "Columns": WIDTH,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
    }
    for keyword, value in {**own, **IDENTITY, **UIDS, **elements}.items():
        if value is not None:
            setattr(image, keyword, value)
    image.PixelData = values.astype("<u2").tobytes()
    return image
