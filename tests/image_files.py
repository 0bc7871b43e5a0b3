"""Image files made on the fly, for the tests of the reader."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The picture as a file of some kind."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def dicom(stored: npt.NDArray[Any], *, photometric: str = "MONOCHROME2", bits: int = 12, **elements: object) -> Dataset:
    """A secondary capture of whole numbers [rows, columns] or [rows, columns, 3], with further elements."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns = stored.shape[:2]
    dataset.SamplesPerPixel = 1 if stored.ndim == 2 else 3
    dataset.PhotometricInterpretation = photometric
    if stored.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * stored.dtype.itemsize, bits, bits - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    for name, value in elements.items():
        setattr(dataset, name, value)
    content = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = content + bytes(len(content) % 2)
    return dataset


def dicom_bytes(dataset: Dataset, syntax: UID | None = None) -> bytes:
    """The data set as a file."""
    if syntax is not None:
        dataset.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def levels(shape: tuple[int, int] = (11, 7), top: int = 4095, seed: int = 2) -> npt.NDArray[np.uint16]:
    """Random values that reach 0 and ``top``."""
    found = np.random.default_rng(seed).integers(0, top + 1, shape, dtype=np.uint16)
    found[0, :2] = 0, top
    return found
