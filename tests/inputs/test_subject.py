"""What a header, or a picture of no chest, says against a judgement: a refusal where it is sure, else a doubt."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.uid import (
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    NuclearMedicineImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    XRayRadiofluoroscopicImageStorage,
)

from cxrlens.inputs.readers import Refusal, doubts, read, refusals
from cxrlens.inputs.readers.display import remarks_on, remarks_on_size
from cxrlens.inputs.readers.subject import remarks_on_subject
from image_files import dicom

SHARED = Path(__file__).parents[3] / "shared" / "data"
DX = {"Modality": "DX", "SOPClassUID": DigitalXRayImageStorageForPresentation}


def verdict(**header: Any) -> str:
    """Of a header: "refused", "doubted" or "" where nothing speaks against it."""
    dataset = Dataset()
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    remarks = remarks_on_subject(dataset)
    return "refused" if refusals(remarks) else "doubted" if doubts(remarks) else ""


def region(meaning: str) -> list[Dataset]:
    code = Dataset()
    code.CodeMeaning = meaning
    return [code]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({}, ""),
        (DX, ""),
        ({"Modality": "CR "}, ""),
        ({"Modality": "OT", "SOPClassUID": SecondaryCaptureImageStorage}, ""),
        ({"Modality": "of this house"}, ""),
        ({"Modality": "CT"}, "refused"),
        ({"Modality": " us"}, "refused"),
        ({"Modality": "NM", "SOPClassUID": SecondaryCaptureImageStorage}, "refused"),
        ({"SOPClassUID": CTImageStorage}, "refused"),
        ({"Modality": "OT", "SOPClassUID": UltrasoundImageStorage}, "refused"),
        ({"SOPClassUID": NuclearMedicineImageStorage}, "refused"),
        ({"SOPClassUID": DigitalMammographyXRayImageStorageForPresentation}, "refused"),
        (DX | {"Modality": "PX"}, "refused"),
        (DX | {"Modality": "CT"}, "doubted"),
        ({"Modality": "CR", "SOPClassUID": CTImageStorage}, ""),
        ({"Modality": "RF"}, "doubted"),
        ({"SOPClassUID": XRayRadiofluoroscopicImageStorage}, "doubted"),
        (DX | {"PresentationIntentType": "FOR PROCESSING"}, "doubted"),
        ({"Modality": "DX", "SOPClassUID": DigitalXRayImageStorageForProcessing}, "doubted"),
    ],
)
def test_the_kind_of_image(header: dict[str, Any], expected: str) -> None:
    assert verdict(**header) == expected


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        *((part, "") for part in ("", "CHEST", "Thorax", "CHEST_TO_ABDOMEN", "CHESTABDOMEN", "PORT CHEST", "LUNG")),
        *((part, "") for part in ("?!", "Brustkorb", "THORAX LAT/ABDOMEN", "CHARM", "CHIPS")),
        *((part, "refused") for part in ("HIP", "hips", "L KNEE", "RT_HAND", "LOWER-EXTREMITY", "CSPINE", "c spine")),
        *((part, "refused") for part in ("ABDOMEN", "ABDOMENPELVIS", "SKULL", "Pelvis", "FOOT 2", "LSSPINE")),
        *((part, "refused") for part in ("UPPEREXTREMITY", "EXTREMITY")),
        *((part, "doubted") for part in ("SHOULDER", "RIBS", "TSPINE", "Thoracic spine", "WHOLEBODY", "NECK")),
    ],
)  # fmt: skip
def test_the_part_of_the_body(part: str, expected: str) -> None:
    assert verdict(BodyPartExamined=part) == expected
    assert verdict(AnatomicRegionSequence=region(part)) == expected


def test_what_another_element_contradicts_is_a_doubt() -> None:
    assert verdict(BodyPartExamined="HIP", SeriesDescription="chest pa") == "doubted"
    assert verdict(BodyPartExamined="HIP", ProtocolName="Thorax bed") == "doubted"
    assert verdict(BodyPartExamined="HIP", SeriesDescription="pa") == "refused"
    assert verdict(BodyPartExamined="HIP", AnatomicRegionSequence=region("Chest")) == ""


def test_the_reader_says_so_and_reads_the_picture() -> None:
    pixels = (np.indices((80, 90)).sum(0) * 20).astype(np.uint16)
    dataset = dicom(pixels, bits=12, Modality="DX", BodyPartExamined="KNEE")
    found = read(dataset)
    assert refusals(found.remarks) == ("It is of another part of the body than the chest: 'KNEE'.",)
    assert found.pixels.shape == (80, 90)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        *((64, 64, ""), (64, 128, ""), (128, 64, ""), (3000, 2500, "")),
        *((64, 129, "doubted"), (192, 64, "doubted")),
        *((63, 400, "refused"), (400, 63, "refused"), (1, 1, "refused"), (64, 193, "refused"), (200, 2000, "refused")),
    ],
)
def test_sizes(height: int, width: int, expected: str) -> None:
    remarks = remarks_on_size(height, width)
    assert len(remarks) == (expected != "")
    assert [isinstance(remark, Refusal) for remark in remarks] == [expected == "refused"] * len(remarks)


def test_a_picture_of_which_2_in_100_pixels_differ_shows_nothing() -> None:
    for differing, refused in ((100, True), (190, True), (400, False)):
        pixels = np.full((100, 100), 0.4, np.float32)
        pixels.ravel()[:differing] = 1
        assert bool(refusals(remarks_on(pixels))) == refused


def test_the_stored_size_counts_not_that_of_a_reduced_jpeg() -> None:
    stream = io.BytesIO()
    Image.fromarray((np.indices((480, 640)).sum(0) // 5).astype(np.uint8)).save(stream, "JPEG")
    reduced = read(stream.getvalue(), at_least=(40, 40))
    assert reduced.pixels.shape[0] == 60  # below the smallest size
    assert not refusals(reduced.remarks)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs real radiographs")
def test_no_real_chest_radiograph_is_refused() -> None:
    files = [*SHARED.glob("object-CXR/dev/*/*.jpg"), *SHARED.glob("real-objects/*/*.*g")]
    assert len(files) > 100
    assert not [file for file in files if refusals(read(file, at_least=(300, 300)).remarks)]
