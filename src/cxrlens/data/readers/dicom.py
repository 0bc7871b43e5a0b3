"""DICOM images."""

from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from cxrlens.data.readers.quiet import without_warnings
from cxrlens.data.readers.radiograph import LUMA, Pixels, Radiograph, check_size
from cxrlens.data.readers.raster import reason_of
from cxrlens.errors import UnreadableImageError


def is_dicom(start: bytes) -> bool:
    """Whether a file that begins with these 132 bytes is DICOM."""
    return start[128:132] == b"DICM"


def read_dicom(source: bytes | Dataset, name: str) -> Radiograph:
    """Decode an image, see `cxrlens.data.readers.read`.

    Raises:
        UnreadableImageError: when it is damaged, too large, or no single frontal view.
    """
    try:
        with without_warnings():
            dataset = dcmread(io.BytesIO(source)) if isinstance(source, bytes) else source
            height, width = _checked_size(dataset, name)
            return Radiograph(
                _dicom_pixels(dataset, name),
                name,
                height,
                width,
                origin=f"DICOM {dataset.get('Modality') or ''}".strip(),
                bit_depth=int(dataset.BitsStored),
                polarity=str(dataset.PhotometricInterpretation),
            )
    except UnreadableImageError:
        raise
    except Exception as error:  # pydicom names no set of errors; a damaged element raises nearly anything
        raise UnreadableImageError(f"{name}: its pixels cannot be decoded: {reason_of(error)}") from error


def dicom_size(stream: BinaryIO, name: str) -> tuple[int, int]:
    """(height, width) as `read_dicom` gives them, without reading the pixels.

    Raises:
        UnreadableImageError: as `read_dicom` does, but for damage that only decoding would show.
    """
    try:
        with without_warnings():
            return _checked_size(dcmread(stream, defer_size=1 << 16), name)
    except UnreadableImageError:
        raise
    except Exception as error:
        raise UnreadableImageError(f"{name}: its pixels cannot be decoded: {reason_of(error)}") from error


def _checked_size(dataset: Dataset, name: str) -> tuple[int, int]:
    if "PixelData" not in dataset:
        raise UnreadableImageError(f"{name}: this DICOM file holds no image")
    if int(dataset.get("NumberOfFrames", 1) or 1) > 1:
        raise UnreadableImageError(f"{name}: a multi-frame DICOM file is no single radiograph")
    height, width = int(dataset.Rows), int(dataset.Columns)
    check_size(height, width, name)
    return height, width


def _dicom_pixels(dataset: Dataset, name: str) -> Pixels:
    """Stored values -> modality LUT -> first VOI LUT or window -> polarity, scaled to [0, 1] (DICOM PS3.3 C.11)."""
    stored = dataset.pixel_array
    values = np.asarray(apply_voi_lut(apply_modality_lut(stored, dataset), dataset, index=0), dtype=np.float64)
    if values.ndim == 3:
        values = values @ LUMA
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise UnreadableImageError(f"{name}: its rescale or window values give pixels that are not finite")
    scaled = np.zeros(values.shape) if high <= low else (values - low) / (high - low)
    inverse = str(dataset.get("PresentationLUTShape", "")) == "INVERSE"
    if inverse or dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        scaled = 1 - scaled
    return scaled.astype(np.float32)
