"""DICOM files and data sets: what is an image of a frontal view, and getting at its stored values."""

from __future__ import annotations

import copy
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers import elements
from cxrlens.inputs.readers.codecs import decompressed
from cxrlens.inputs.readers.dicom_grey import grey_of_colour, grey_of_palette, grey_of_stored
from cxrlens.inputs.readers.display import remarks_on_picture
from cxrlens.inputs.readers.quiet import without_warnings
from cxrlens.inputs.readers.radiograph import BRIGHT_IS_DENSE, Note, Radiograph, check_size
from cxrlens.inputs.readers.reasons import one_line, reason_of
from cxrlens.inputs.readers.subject import remarks_on_subject

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
_LONG_FORMS = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_ONE_SAMPLE = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_THREE_SAMPLES = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT")
_WHOLE_NUMBERS = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "SamplesPerPixel",
    "PixelRepresentation",
    "PlanarConfiguration",
)
_NO_PICTURE = {"SEG": "a segmentation", "RTDOSE": "a dose distribution"}
_NOT_FRONTAL = {"LL", "RL", "LLO", "RLO", "LAT"}  # DICOM's left and right lateral and oblique, and a common other word
_LATERAL_CODES = {"399067008", "399173006", "399198007", "R-102CD", "R-10236", "R-10232"}  # SNOMED CT and its SRT forms


def has_preamble(start: bytes) -> bool:
    """True where a file that begins with these `START` bytes bears DICOM's mark."""
    return start[128:132] == b"DICM"


def is_dicom(start: bytes) -> bool:
    """True where a file that begins with these `START` bytes is DICOM, or may be DICOM without its preamble."""
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
        remarks = remarks_on_subject(dataset)
        stored = _stored(dataset, name, remarks)
        spacing = spacing_of(dataset, remarks)
        photometric = str(dataset.PhotometricInterpretation)
        polarity = photometric if photometric.startswith("MONOCHROME") else BRIGHT_IS_DENSE
        if stored.ndim == 3:
            pixels = grey_of_colour(stored, dataset)
        elif photometric == "PALETTE COLOR":
            pixels = grey_of_palette(stored, dataset, name, remarks)
        else:
            pixels = grey_of_stored(stored, dataset, name, remarks)
        return Radiograph(
            pixels,
            name,
            height,
            width,
            origin=f"DICOM {elements.text(dataset, 'Modality')}".strip(),
            bit_depth=int(dataset.BitsStored),
            polarity=polarity,
            orientation="\\".join(map(str, elements.values(dataset, "PatientOrientation"))) or None,
            spacing=None if spacing is None else spacing[1],
            remarks=(*remarks, *remarks_on_picture(pixels, height, width)),
        )


def dicom_size(stream: IO[bytes], name: str) -> tuple[int, int]:
    """(height, width) as `read_dicom` gives them, without reading the pixels.

    Raises:
        UnreadableImageError: as `read_dicom` does, but for damage that only decoding would show.
    """
    with _reasons(name):
        return _checked_size(_parsed(stream, name, defer_size=1 << 16), name)


def read_stored(content: bytes, name: str) -> tuple[Dataset, npt.NDArray[Any]]:
    """The data set of a file, and the values of its pixels as `read_dicom` takes them, before they become grey.

    Whole numbers [rows, columns], or [rows, columns, 3] in RGB.

    Raises:
        UnreadableImageError: as `read_dicom` does.
    """
    with _reasons(name):
        dataset = _parsed(io.BytesIO(content), name)
        _checked_size(dataset, name)
        return dataset, _stored(dataset, name, [])


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
    start = stream.read(START)
    stream.seek(0)
    begin = _deflated_from(stream)
    if begin is not None:
        _check_inflated_size(stream, begin, name)
    stream.seek(0)
    dataset: Dataset = dcmread(stream, force=True, **options)
    if not has_preamble(start) and "SOPClassUID" not in dataset:
        raise UnreadableImageError(f"{name}: the file is no image that can be read; DICOM files name their class")
    return dataset


def _deflated_from(stream: IO[bytes]) -> int | None:
    """Offset of the deflated data set behind the group of file meta elements, however long that says to be; None where
    it is not deflated."""
    at = START if has_preamble(stream.read(START)) else 0
    syntax = b""
    while True:
        stream.seek(at)
        head = stream.read(12)
        if len(head) < 8 or head[:2] != b"\x02\x00":
            break
        long = head[4:6] in _LONG_FORMS
        length = struct.unpack_from("<I" if long and len(head) == 12 else "<H", head, 8 if long else 6)[0]
        at += (12 if long else 8) + length
        if head[2:4] == b"\x10\x00":
            stream.seek(at - length)
            syntax = stream.read(min(length, 64))
    return at if syntax.strip(b" \0") == DeflatedExplicitVRLittleEndian.encode() else None


def _check_inflated_size(stream: IO[bytes], begin: int, name: str) -> None:
    """Refuse a small file that would fill the memory."""
    stream.seek(begin)
    inflating, inflated = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while part := stream.read(1 << 20):
        while part and not inflating.eof:
            inflated += len(inflating.decompress(part, 1 << 24))
            part = inflating.unconsumed_tail
            if inflated > MAX_INFLATED:
                raise UnreadableImageError(
                    f"{name}: the file unfolds to more than {MAX_INFLATED / 1e9:.0f} GB; save it uncompressed"
                )


def _checked_size(dataset: Dataset, name: str) -> tuple[int, int]:
    """(height, width) of a data set that is an image of a frontal view; its elements on that are made single values."""
    kind = one_line(UID(elements.text(dataset, "SOPClassUID")).name)
    modality = elements.text(dataset, "Modality")
    if "PixelData" not in dataset or modality in _NO_PICTURE:
        what = _NO_PICTURE.get(modality, kind)
        raise UnreadableImageError(f"{name}: this DICOM file holds no image{f' ({what})' if what else ''}")
    if elements.text(dataset, "Manufacturer") == OWN_PICTURES and modality == "OT":
        raise UnreadableImageError(f"{name}: is a picture with a map drawn on it, which cxrlens made of another image")
    count = elements.whole_number(dataset, "NumberOfFrames", name) or 1
    if count > 1:
        raise UnreadableImageError(f"{name}: a multi-frame DICOM file ({count} frames) is no single radiograph")
    view = _lateral_view(dataset)
    if view:
        raise UnreadableImageError(f"{name}: the view is '{one_line(view)}'; the networks know frontal views only")
    for keyword in ("Rows", "Columns", "BitsStored", "PhotometricInterpretation"):
        if not elements.shown(dataset, keyword):
            raise UnreadableImageError(f"{name}: the element {keyword} is missing, so its pixels cannot be decoded")
    for keyword in _WHOLE_NUMBERS:
        value = elements.whole_number(dataset, keyword, name)
        if value is not None:
            setattr(dataset, keyword, value)
    _check_photometric(dataset, name)
    height, width = int(dataset.Rows), int(dataset.Columns)
    check_size(height, width, name)
    return height, width


def _check_photometric(dataset: Dataset, name: str) -> None:
    """Refuse what is neither grey nor colours of a known kind, or has another number of samples a pixel."""
    found = {str(value).strip().upper() for value in elements.values(dataset, "PhotometricInterpretation")}
    photometric, samples = found.pop(), dataset.get("SamplesPerPixel") or 1
    if found or photometric not in (*_ONE_SAMPLE, *_THREE_SAMPLES):
        raise UnreadableImageError(
            f"{name}: its PhotometricInterpretation is '{elements.shown(dataset, 'PhotometricInterpretation')}', which "
            "is unknown; correct the file"
        )
    if samples != (1 if photometric in _ONE_SAMPLE else 3):
        raise UnreadableImageError(
            f"{name}: it is said to be {photometric} and to have {samples} samples a pixel; correct the file"
        )
    dataset.PhotometricInterpretation = photometric


def _lateral_view(dataset: Dataset) -> str | None:
    """The view that the file names, when it is not frontal; a decubitus is frontal, its "lateral" names the patient's
    position."""
    position = elements.text(dataset, "ViewPosition").upper()
    if position in _NOT_FRONTAL or _is_lateral(position):
        return position
    for code in elements.values(dataset, "ViewCodeSequence"):
        meaning = elements.text(code, "CodeMeaning")
        if elements.text(code, "CodeValue") in _LATERAL_CODES or _is_lateral(meaning.upper()):
            return meaning or str(code.CodeValue)
    return None


def _is_lateral(text: str) -> bool:
    return "LATERAL" in text and "DECUB" not in text


def spacing_of(dataset: Dataset, remarks: list[str]) -> tuple[str, tuple[float, float]] | None:
    """The element's keyword, and (rows, columns) in mm: calibrated to the patient, else at the detector."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        found = [
            value for value in elements.numbers(dataset, keyword) if value is not None and 0 < value < float("inf")
        ]
        if len(found) == len(elements.values(dataset, keyword)) == 2:
            return keyword, (found[0], found[1])
        if said := elements.shown(dataset, keyword):
            remarks.append(Note(f"Its {keyword} is '{said}', not two lengths; it was left out."))
    return None


def _stored(dataset: Dataset, name: str, remarks: list[str]) -> npt.NDArray[Any]:
    """The decoded values: whole numbers [rows, columns] as stored, or [rows, columns, 3] in RGB."""
    syntax = _transfer_syntax(dataset, name)
    if not dataset.PixelData:
        raise UnreadableImageError(f"{name}: its pixel data are empty")
    if syntax in _UNCOMPRESSED:
        words = pixel_array(dataset, bits_stored=int(dataset.BitsAllocated))
    else:
        words = decompressed(dataset, syntax, name, remarks)
    return words if words.ndim == 3 else _values(words, dataset, name, remarks)


def _values(words: npt.NDArray[Any], dataset: Dataset, name: str, remarks: list[str]) -> npt.NDArray[Any]:
    """The values that lie in words, up to HighBit and BitsStored bits of them, with their sign (PS3.5, 8.1.1)."""
    size, bits = 8 * words.dtype.itemsize, int(dataset.BitsStored)
    high = int(dataset.get("HighBit") or bits - 1)
    if bits >= size or int(dataset.BitsAllocated) < 8:
        return words
    if not bits - 1 <= high < size:
        raise UnreadableImageError(
            f"{name}: its {bits} bits are said to end at bit {high} of {size} (HighBit); correct the file"
        )
    surplus = high + 1 - bits
    if surplus and not (words >> bits).any() and (words & (2**surplus - 1)).any():
        said = f"Its values are said to lie in the upper bits, up to bit {high}; they lie in the lower ones."
        remarks.append(Note(said))
        high, surplus = bits - 1, 0
    values = (words << (size - 1 - high)) >> (size - bits)
    if not surplus:
        _remark_dropped_bits(words, values, dataset, remarks)
    return values


def _remark_dropped_bits(
    words: npt.NDArray[Any], values: npt.NDArray[Any], dataset: Dataset, remarks: list[str]
) -> None:
    """Bits beyond BitsStored that differ between pixels and are no sign and no overlay may be a part of the values."""
    bits = int(dataset.BitsStored)
    if np.array_equal(words, values):
        return
    beyond = (words != values) & (words != (values & (2**bits - 1)))
    if beyond.any() and np.ptp(words >> bits) and not _has_overlay(dataset):
        remarks.append(
            f"It is said to have {bits} bits, and {100 * beyond.mean():.0f} % of its pixels use more; "
            "the others were left out."
        )


def _has_overlay(dataset: Dataset) -> bool:
    return any(0x6000 <= tag.group <= 0x60FF for tag in list(dataset.keys()))


def _transfer_syntax(dataset: Dataset, name: str) -> UID:
    """The encoding of the pixels; without a file header, pydicom has found out from the elements themselves."""
    meta = getattr(dataset, "file_meta", None)
    if meta is None or not meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        if implicit is None or little is None:
            raise UnreadableImageError(f"{name}: the element TransferSyntaxUID is missing; set it in file_meta")
        dataset.file_meta = FileMetaDataset()
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset.file_meta.TransferSyntaxUID
