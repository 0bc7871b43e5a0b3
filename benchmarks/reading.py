"""Processor time of reading an image, with its checks, against decoding its pixels alone."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    generate_uid,
)

from benchmarks.timing import medians
from benchmarks.training_input import HEIGHT, WIDTH, noisy_picture
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Pixels, read
from cxrlens.inputs.readers.display import remarks_on
from cxrlens.training.recipe import PRESETS

AT_LEAST = Preprocessing(height=PRESETS["paper"].image_size, width=PRESETS["paper"].image_size).decoded_at_least
Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TimedKind:
    """Seconds of processor time for one image of a kind of file.

    Attributes:
        size: of the file in bytes.
        decoded: its pixels decoded by Pillow or pydicom, and no more.
        read: by cxrlens, with all checks and remarks.
        display: the part of it that looks at what is displayed.
        reduced: read for a network, at a part of the size where the kind can be decoded so.
    """

    size: int
    decoded: float
    read: float
    display: float
    reduced: float


def time_reading(*, quick: bool, repeats: int, progress: Callable[[str], None]) -> dict[str, TimedKind]:
    """By kind of file; what is compared takes turns."""
    height, width = (HEIGHT // 8, WIDTH // 8) if quick else (HEIGHT, WIDTH)
    picture = noisy_picture(0)[:height, :width]
    found = {}
    for kind, content in _files(picture).items():
        pixels = read(content).pixels
        seconds = medians(_contenders(kind, content, pixels), repeats, clock=time.process_time)
        found[kind] = TimedKind(len(content), **seconds)
        progress(f"reading, {kind}: {found[kind]}")
    return found


def _contenders(kind: str, content: bytes, pixels: Pixels) -> dict[str, Callable[[], object]]:
    decoded = _by_pydicom if kind.startswith("DICOM") else _by_pillow
    return {
        "decoded": lambda: decoded(content),
        "read": lambda: read(content),
        "display": lambda: remarks_on(pixels),
        "reduced": lambda: read(content, at_least=AT_LEAST),
    }


def _by_pillow(content: bytes) -> npt.NDArray[Any]:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def _by_pydicom(content: bytes) -> npt.NDArray[Any]:
    return dcmread(io.BytesIO(content)).pixel_array


def _files(picture: Grey) -> dict[str, bytes]:
    deep = picture.astype(np.uint16) * 16
    jpeg = _encoded(picture, "JPEG")
    return {
        "JPEG": jpeg,
        "JPEG, progressive": _encoded(picture, "JPEG", progressive=True),
        "PNG, 8 bits": _encoded(picture, "PNG"),
        "PNG, 16 bits": _encoded(deep * 16, "PNG"),
        "TIFF, JPEG": _encoded(picture, "TIFF", compression="jpeg"),
        "DICOM, 12 bits": _dicom(deep.shape, 12, deep.tobytes(), ExplicitVRLittleEndian),
        "DICOM, JPEG": _dicom(picture.shape, 8, encapsulate([jpeg]), JPEGBaseline8Bit),
    }


def _encoded(pixels: npt.NDArray[Any], kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def _dicom(shape: tuple[int, ...], bits: int, content: bytes, syntax: UID) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "DX", "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = shape
    dataset.BitsAllocated = 8 if bits <= 8 else 16
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, 0
    dataset.WindowCenter, dataset.WindowWidth = 2 ** (bits - 1), 2**bits
    dataset.PixelData = content
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
