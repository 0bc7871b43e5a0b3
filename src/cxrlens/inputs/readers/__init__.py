"""One reader for the images of hospitals and archives: any file, bytes or DICOM data set becomes a `Radiograph`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

from pydicom import Dataset

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers.content import MAX_BYTES, open_regular, read_content, require_file
from cxrlens.inputs.readers.dicom import START, dicom_size, has_preamble, is_dicom, read_dicom
from cxrlens.inputs.readers.radiograph import (
    MAX_PIXELS,
    Note,
    OversizedImageError,
    Pixels,
    Radiograph,
    Refusal,
    as_doubts,
    doubts,
    from_array,
    refusals,
)
from cxrlens.inputs.readers.raster import UnknownFormatError, raster_size, read_raster

__all__ = [
    "DICOM_SUFFIXES",
    "IMAGE_SUFFIXES",
    "MAX_BYTES",
    "MAX_PIXELS",
    "RASTER_SUFFIXES",
    "Note",
    "OversizedImageError",
    "Pixels",
    "Radiograph",
    "Refusal",
    "UnknownFormatError",
    "as_doubts",
    "decode",
    "doubts",
    "from_array",
    "has_dicom_mark",
    "image_size",
    "open_regular",
    "read",
    "read_content",
    "refusals",
    "require_file",
    "starts_as_dicom",
    "stream_size",
]

RASTER_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
IMAGE_SUFFIXES = RASTER_SUFFIXES | DICOM_SUFFIXES


def read(source: str | Path | bytes | Dataset, *, at_least: tuple[int, int] | None = None) -> Radiograph:
    """Read a JPEG, PNG, TIFF, BMP, WebP or DICOM image; the content says which, not the ending of the name.

    Args:
        source: a path, the bytes of a file, or a DICOM data set.
        at_least: (rows, columns). A JPEG may then be decoded at 1/2, 1/4 or 1/8 of its size, as long as it keeps so
            many rows and columns (as seen upright); its averaging differs a little from that of a later resize. All
            else in the record stays the same, its height and width too.

    Raises:
        UnreadableImageError: when the file is missing, empty, damaged, too large, no image, or no single frontal view.
    """
    if isinstance(source, Dataset):
        return read_dicom(source, str(source.get("SOPInstanceUID", "DICOM dataset")))
    if isinstance(source, bytes):
        return decode(source, f"{len(source)} bytes", at_least=at_least)
    return decode(read_content(Path(source), str(source)), str(source), at_least=at_least)


def decode(content: bytes, name: str, *, at_least: tuple[int, int] | None = None) -> Radiograph:
    """The image that a file's content holds, as `read` gives it; ``name`` stands for it in messages."""
    if not content:
        raise UnreadableImageError(f"{name}: the file is empty")
    if is_dicom(content[:START]):
        return read_dicom(content, name)
    return read_raster(io.BytesIO(content), name, at_least)


def stream_size(stream: IO[bytes], name: str) -> tuple[int, int]:
    """(height, width) of what `decode` gives of a stream's content, without decoding its pixels.

    Raises:
        UnreadableImageError: as `decode` does, but for damage that only decoding would show.
    """
    start = stream.read(START)
    if not start:
        raise UnreadableImageError(f"{name}: the file is empty")
    stream.seek(0)
    return dicom_size(stream, name) if is_dicom(start) else raster_size(stream, name)


def has_dicom_mark(path: Path) -> bool:
    """True where a regular file begins as DICOM files do, with a preamble; False also for what cannot be opened."""
    try:
        with open_regular(path, str(path)) as stream:
            return starts_as_dicom(stream)
    except UnreadableImageError:
        return False


def starts_as_dicom(stream: IO[bytes]) -> bool:
    """True where a stream begins as DICOM files do, with a preamble."""
    return has_preamble(stream.read(START))


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of the image as `read` gives it, without decoding its pixels.

    Raises:
        UnreadableImageError: as `read` does, but for damage that only decoding would show.
    """
    with open_regular(path, str(path)) as stream:
        return stream_size(stream, str(path))
