"""One reader for the images of hospitals and archives: any file, bytes or DICOM data set becomes a `Radiograph`."""

from __future__ import annotations

import io
from pathlib import Path

from pydicom import Dataset

from cxrlens.data.readers.content import MAX_BYTES, open_regular, read_content, require_file
from cxrlens.data.readers.dicom import dicom_size, is_dicom, read_dicom
from cxrlens.data.readers.radiograph import MAX_PIXELS, Pixels, Radiograph, from_array
from cxrlens.data.readers.raster import raster_size, read_raster
from cxrlens.errors import UnreadableImageError

__all__ = [
    "DICOM_SUFFIXES",
    "IMAGE_SUFFIXES",
    "MAX_BYTES",
    "MAX_PIXELS",
    "RASTER_SUFFIXES",
    "Pixels",
    "Radiograph",
    "from_array",
    "image_size",
    "read",
    "require_file",
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
        name, content = f"{len(source)} bytes", source
        if not content:
            raise UnreadableImageError(f"{name}: the file is empty")
    else:
        name = str(source)
        content = read_content(Path(source), name)
    if is_dicom(content[:132]):
        return read_dicom(content, name)
    return read_raster(io.BytesIO(content), name, at_least)


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of the image as `read` gives it, without decoding its pixels.

    Raises:
        UnreadableImageError: as `read` does, but for damage that only decoding would show.
    """
    name = str(path)
    with open_regular(path, name) as stream:
        start = stream.read(132)
        stream.seek(0)
        return dicom_size(stream, name) if is_dicom(start) else raster_size(stream, name)
