"""DICOM files and data sets: what is an image of a frontal view, and getting at its stored values."""

from __future__ import annotations

import copy
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers.codecs import decompressed
from cxrlens.inputs.readers.dicom_grey import grey_of_colour, grey_of_stored
from cxrlens.inputs.readers.quiet import without_warnings
from cxrlens.inputs.readers.radiograph import BRIGHT_IS_DENSE, Radiograph, check_size
from cxrlens.inputs.readers.reasons import one_line, reason_of

START = 132
"""Bytes of a file that `is_dicom` looks at."""

MAX_INFLATED = 1 << 30
"""Largest data set, in bytes, that a compressed ("deflated") file may unfold to."""

OWN_PICTURES = "cxrlens"
"""Manufacturer of the secondary captures that `cxrlens.dicom_out` writes; they are no radiographs."""

_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")  # the first element's group, in both byte orders
_UNCOMPRESSED = (  # as to its pixels
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
_NO_PICTURE = {"SEG": "a segmentation", "RTDOSE": "a dose distribution"}
_NOT_FRONTAL = {"LL", "RL", "LLO", "RLO", "LAT"}  # DICOM's left and right lateral and oblique, and a common other word
_LATERAL_CODES = {"399067008", "399173006", "399198007", "R-102CD", "R-10236", "R-10232"}  # SNOMED CT and its SRT forms


def has_preamble(start: bytes) -> bool:
    """Whether a file that begins with these `START` bytes bears DICOM's mark."""
    return start[128:132] == b"DICM"


def is_dicom(start: bytes) -> bool:
    """Whether a file that begins with these `START` bytes is DICOM, or may be DICOM without its preamble."""
    return has_preamble(start) or start[:2] in _GROUPS


def read_dicom(source: bytes | Dataset, name: str) -> Radiograph:
    """Decode an image, see `cxrlens.inputs.readers.read`.

    Raises:
        UnreadableImageError: when it is damaged, too large, compressed in a way that no installed codec knows, or no
            single frontal view.
    """
    with _reasons(name):
        dataset = _parsed(io.BytesIO(source), name) if isinstance(source, bytes) else copy.copy(source)
        height, width = _checked_size(dataset, name)
        stored = _stored(dataset, name)
        photometric = str(dataset.PhotometricInterpretation)
        if stored.ndim == 3:
            pixels, polarity = grey_of_colour(stored, dataset), BRIGHT_IS_DENSE
        else:
            pixels, polarity = grey_of_stored(stored, dataset, name), photometric
        return Radiograph(
            pixels,
            name,
            height,
            width,
            origin=f"DICOM {dataset.get('Modality') or ''}".strip(),
            bit_depth=int(dataset.BitsStored),
            polarity=polarity,
            orientation="\\".join(dataset.get("PatientOrientation") or ()) or None,
            spacing=_spacing(dataset),
        )


def dicom_size(stream: IO[bytes], name: str) -> tuple[int, int]:
    """(height, width) as `read_dicom` gives them, without reading the pixels.

    Raises:
        UnreadableImageError: as `read_dicom` does, but for damage that only decoding would show.
    """
    with _reasons(name):
        return _checked_size(_parsed(stream, name, defer_size=1 << 16), name)


@contextmanager
def _reasons(name: str) -> Iterator[None]:
    """Whatever goes wrong in the block makes the file unreadable."""
    try:
        with without_warnings():
            yield
    except UnreadableImageError:
        raise
    except Exception as error:  # pydicom names no set of errors; a damaged element raises nearly anything
        reason = reason_of(error).removeprefix("Unable to decode as exceptions were raised by all available plugins: ")
        raise UnreadableImageError(f"{name}: its pixels cannot be decoded: {reason}") from error


def _parsed(stream: IO[bytes], name: str, **options: Any) -> Dataset:
    start = stream.read(1024)
    stream.seek(0)
    if has_preamble(start) and DeflatedExplicitVRLittleEndian.encode() in start:
        _check_inflated_size(stream.read(), name)
        stream.seek(0)
    dataset: Dataset = dcmread(stream, force=True, **options)
    if not has_preamble(start) and "SOPClassUID" not in dataset:
        raise UnreadableImageError(f"{name}: the file is no image that can be read; DICOM files name their class")
    return dataset


def _check_inflated_size(content: bytes, name: str) -> None:
    """Refuse a small file that would fill the memory; the data set follows the meta group, whose length leads."""
    begin = START + 12 + int.from_bytes(content[START + 8 : START + 12], "little")
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    for at in range(begin, len(content), 1 << 20):
        part, inflated = content[at : at + (1 << 20)], 0
        while part:
            inflated += len(inflating.decompress(part, 1 << 24))
            part = inflating.unconsumed_tail
            if inflated > MAX_INFLATED:
                raise UnreadableImageError(
                    f"{name}: the file unfolds to more than {MAX_INFLATED / 1e9:.0f} GB; save it uncompressed"
                )


def _checked_size(dataset: Dataset, name: str) -> tuple[int, int]:
    """(height, width) of a data set that is an image of a frontal view."""
    kind = one_line(UID(dataset.get("SOPClassUID") or "").name)
    if "PixelData" not in dataset or dataset.get("Modality") in _NO_PICTURE:
        what = _NO_PICTURE.get(str(dataset.get("Modality")), kind)
        raise UnreadableImageError(f"{name}: this DICOM file holds no image{f' ({what})' if what else ''}")
    if dataset.get("Manufacturer") == OWN_PICTURES and dataset.get("Modality") == "OT":
        raise UnreadableImageError(f"{name}: is a picture with a map drawn on it, which cxrlens made of another image")
    count = int(dataset.get("NumberOfFrames") or 1)
    if count > 1:
        raise UnreadableImageError(f"{name}: a multi-frame DICOM file ({count} frames) is no single radiograph")
    view = _lateral_view(dataset)
    if view:
        raise UnreadableImageError(f"{name}: the view is '{one_line(view)}'; the networks know frontal views only")
    for keyword in ("Rows", "Columns", "BitsStored", "PhotometricInterpretation"):
        if dataset.get(keyword) in (None, ""):
            raise UnreadableImageError(f"{name}: the element {keyword} is missing, so its pixels cannot be decoded")
    height, width = int(dataset.Rows), int(dataset.Columns)
    check_size(height, width, name)
    return height, width


def _lateral_view(dataset: Dataset) -> str | None:
    """What the file calls its view, when it is not frontal; a decubitus is frontal, its "lateral" names the patient's
    position."""
    position = str(dataset.get("ViewPosition") or "").strip().upper()
    if position in _NOT_FRONTAL or _is_lateral(position):
        return position
    for code in dataset.get("ViewCodeSequence") or ():
        meaning = str(code.get("CodeMeaning") or "").strip()
        if code.get("CodeValue") in _LATERAL_CODES or _is_lateral(meaning.upper()):
            return meaning or str(code.CodeValue)
    return None


def _is_lateral(text: str) -> bool:
    return "LATERAL" in text and "DECUB" not in text


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    """(rows, columns) in mm: calibrated to the patient, else at the detector."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        found = dataset.get(keyword)
        if found is not None and len(found) == 2:
            rows, columns = (float(value) for value in found)
            return rows, columns
    return None


def _stored(dataset: Dataset, name: str) -> npt.NDArray[Any]:
    """The decoded values: whole numbers [rows, columns] as stored, or [rows, columns, 3] in RGB."""
    syntax = _transfer_syntax(dataset, name)
    if not dataset.PixelData:
        raise UnreadableImageError(f"{name}: its pixel data are empty")
    decoded = _uncompressed(dataset) if syntax in _UNCOMPRESSED else decompressed(dataset, syntax, name)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        decoded = apply_color_lut(decoded, dataset)[..., :3]
    return decoded


def _uncompressed(dataset: Dataset) -> npt.NDArray[Any]:
    bits, surplus = int(dataset.BitsStored), 0
    if int(dataset.get("SamplesPerPixel") or 1) == 1:
        # The values may lie in the upper bits of their words; pydicom looks for them in the lower ones.
        surplus = max(int(dataset.get("HighBit") or bits - 1) + 1 - bits, 0)
    found: npt.NDArray[Any] = pixel_array(dataset, bits_stored=bits + surplus)
    return found >> surplus if surplus else found


def _transfer_syntax(dataset: Dataset, name: str) -> UID:
    """How the pixels are encoded; without a file header, pydicom has found out from the elements themselves."""
    meta = getattr(dataset, "file_meta", None)
    if meta is None or not meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        if implicit is None or little is None:
            raise UnreadableImageError(f"{name}: the element TransferSyntaxUID is missing; set it in file_meta")
        dataset.file_meta = FileMetaDataset()
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset.file_meta.TransferSyntaxUID
