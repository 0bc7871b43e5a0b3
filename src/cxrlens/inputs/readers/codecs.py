"""Decoding of compressed DICOM pixels."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers.codestream import DamagedCodestreamError, Header, check_whole, header_of
from cxrlens.inputs.readers.isolation import SAFE_FOLDER, isolated
from cxrlens.inputs.readers.jpeg import checked
from cxrlens.inputs.readers.memory import limit_memory
from cxrlens.inputs.readers.quiet import without_warnings
from cxrlens.inputs.readers.reasons import one_line

Stored = npt.NDArray[Any]

SECONDS = 120
"""How long the decoding of one file may take in a process of its own."""

_GDCM = "gdcm"
_CODESTREAMS = (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes)
_JPEG_WARNING = re.compile(rb"Corrupt JPEG data|[Pp]remature end")  # of the libjpeg in gdcm
_this_process_may_end = False


def let_codecs_end_this_process() -> None:
    """To be called in a process whose sudden end is provided for: it then needs no other one for gdcm."""
    global _this_process_may_end
    _this_process_may_end = True


def decompressed(dataset: Dataset, syntax: UID, name: str, remarks: list[str]) -> Stored:
    """The values of compressed pixel data in their words of `BitsAllocated` bits, colours as RGB.

    What the codestream says of its bits counts: BitsAllocated, BitsStored and HighBit of the data set are set to it
    where they cannot be right.

    gdcm ends the whole process on some damaged files, hence it is taken only where no other codec is installed, which
    is so for lossless JPEG and JPEG-LS, and then runs in another process.

    Args:
        remarks: is added to where the data set says other bits.

    Raises:
        UnreadableImageError: when no codec is installed for this compression, it ends or takes too long, or the pixels
            are damaged.
        Exception: whatever a codec says of damaged data.
    """
    plugins = _available(syntax, name)
    try:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        if syntax in _CODESTREAMS:
            header = _checked_header(frame, dataset, name)
            check_whole(frame)
            _adopt_bits(header, dataset, remarks)
            if header.precision > 8 and syntax == JPEGExtended12Bit:
                return _deep_jpeg(dataset, name)
            if syntax in (JPEGBaseline8Bit, JPEGExtended12Bit):
                is_grey = header.components == 1
                values = checked(frame, reduced=not is_grey)
                if is_grey:
                    return values.view(np.int8) if dataset.get("PixelRepresentation") else values
        elif syntax == RLELossless:
            _check_run_lengths(frame, dataset)
        return _by_plugins(plugins, dataset, name)
    except DamagedCodestreamError as error:
        raise UnreadableImageError(f"{name}: its pixels are damaged: {error}") from error


def can_decode(syntax: UID) -> bool:
    """True where pixels that are stored so can be decoded here: uncompressed, or a codec is installed."""
    if not syntax.is_compressed or syntax == DeflatedExplicitVRLittleEndian:
        return True
    try:
        return bool(_available(syntax, ""))
    except UnreadableImageError:
        return False


def _available(syntax: UID, name: str) -> list[str]:
    """Installed codecs in the order in which they are tried; gdcm alone or not at all."""
    kind = one_line(syntax.name)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise UnreadableImageError(
            f"{name}: its pixels are stored as {kind}, which cannot be read; export it uncompressed"
        ) from error
    plugins = list(decoder.available_plugins)
    if not plugins:
        missing = " ".join(decoder.missing_dependencies)
        package = "python-gdcm" if _GDCM in missing else "pylibjpeg pylibjpeg-openjpeg"
        raise UnreadableImageError(
            f"{name}: its pixels are compressed as {kind}, for which no codec is installed: "
            f"pip install {package} (part of cxrlens[dicom])"
        )
    return [plugin for plugin in plugins if plugin != _GDCM] or [_GDCM]


def _by_plugins(plugins: list[str], dataset: Dataset, name: str) -> Stored:
    failures: list[Exception] = []
    for plugin in plugins:
        try:
            if plugin == _GDCM:
                return _by_gdcm(dataset, name)
            return pixel_array(dataset, decoding_plugin=plugin, bits_stored=int(dataset.BitsAllocated))
        except (UnreadableImageError, DamagedCodestreamError, MemoryError):
            raise
        except Exception as error:
            failures.append(error)
    if plugins == [_GDCM]:  # whose own words are those of its Python binding
        raise UnreadableImageError(f"{name}: its pixels are damaged: gdcm cannot decode them") from failures[0]
    raise failures[0]


# -- what the codestream says -----------------------------------------------------------------------------------------


def _checked_header(frame: bytes, dataset: Dataset, name: str) -> Header:
    """Refuse a picture that says another size than its data set, before memory is taken for it."""
    header = header_of(frame)
    if header is None:
        raise UnreadableImageError(f"{name}: its pixels are damaged: they are not compressed in the way the file says")
    if (header.height, header.width) != (dataset.Rows, dataset.Columns):
        raise UnreadableImageError(
            f"{name}: its pixels are damaged: the compressed picture is {header.width} x {header.height} pixels, "
            f"the file says {dataset.Columns} x {dataset.Rows}"
        )
    if header.components != int(dataset.get("SamplesPerPixel") or 1):
        raise UnreadableImageError(
            f"{name}: its pixels are damaged: the compressed picture has {header.components} samples a pixel, "
            f"the file says {dataset.get('SamplesPerPixel')}"
        )
    if header.precision > int(dataset.BitsAllocated):
        raise UnreadableImageError(
            f"{name}: its pixels have {header.precision} bits, the file says {dataset.BitsAllocated}; export it again"
        )
    return header


def _adopt_bits(header: Header, dataset: Dataset, remarks: list[str]) -> None:
    """Set the data set's bits to those of the codestream where they cannot be right.

    Values of up to 8 bits are decoded into bytes. Those of no more bits than BitsStored cannot lie in the upper bits.
    """
    bits, stored = header.precision, int(dataset.BitsStored)
    if bits <= 8 < int(dataset.BitsAllocated):
        dataset.BitsAllocated = 8
    if bits <= 8 < stored:
        remarks.append(f"It is said to have {stored} bits, and its compressed pixels have {bits}; {bits} were taken.")
        dataset.BitsStored = bits
    if bits <= stored or int(dataset.get("HighBit") or 0) >= bits:
        dataset.HighBit = int(dataset.BitsStored) - 1


def _check_run_lengths(frame: bytes, dataset: Dataset) -> None:
    """Run lengths are at most a little longer than what they stand for, and give 64 times their own length."""
    size = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel") or 1)
    if len(frame) > 2 * size * max(1, int(dataset.BitsAllocated) // 8) + 4096:
        raise DamagedCodestreamError("they are longer than those of a picture of this size")


# -- gdcm -------------------------------------------------------------------------------------------------------------


def _deep_jpeg(dataset: Dataset, name: str) -> Stored:
    """JPEG of 12 bits, which pydicom leaves to a package under the GPL; gdcm decodes it as well."""
    try:
        return _by_gdcm(dataset, name)
    except ImportError as error:
        raise UnreadableImageError(
            f"{name}: its pixels are compressed as 12-bit JPEG, for which no codec is installed: "
            "pip install python-gdcm (part of cxrlens[dicom])"
        ) from error
    except (ValueError, AttributeError) as error:  # the words of its Python binding
        raise UnreadableImageError(f"{name}: its pixels are damaged: gdcm cannot decode them") from error


def _by_gdcm(dataset: Dataset, name: str) -> Stored:
    if _this_process_may_end:
        with _heard() as words:
            array = _gdcm_array(dataset)
        _check_words(b"".join(words))
        return array
    return _decoded_elsewhere(dataset, name)


def _gdcm_array(dataset: Dataset) -> Stored:
    bits = int(dataset.BitsAllocated)
    if dataset.file_meta.TransferSyntaxUID != JPEGExtended12Bit:
        return pixel_array(dataset, decoding_plugin=_GDCM)
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(get_frame(dataset.PixelData, 0, number_of_frames=1))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((int(dataset.Columns), int(dataset.Rows), 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, bits, 12, 11, 0))
    values = np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), f"<u{bits // 8}")
    return values.reshape(int(dataset.Rows), int(dataset.Columns))


def _check_words(words: bytes) -> None:
    """Damage of which gdcm makes a picture all the same is told on the standard error output alone."""
    if _JPEG_WARNING.search(words):
        raise DamagedCodestreamError("codes are missing, or are not those of one picture")


@contextlib.contextmanager
def _heard() -> Iterator[list[bytes]]:
    """The standard error output of libraries in the block; the list holds it afterwards."""
    words: list[bytes] = []
    with tempfile.TemporaryFile() as kept:
        before = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield words
        finally:
            os.dup2(before, 2)
            os.close(before)
            kept.seek(0)
            words.append(kept.read(1 << 16))


def _decoded_elsewhere(dataset: Dataset, name: str) -> Stored:
    part = Dataset()
    part.update(dataset.group_dataset(0x0028))
    part.add(dataset["PixelData"])
    part.file_meta = dataset.file_meta
    command = isolated(f"from {__name__} import _decode_for_parent; _decode_for_parent()")
    try:
        ended = subprocess.run(
            command, input=pickle.dumps(part), capture_output=True, timeout=SECONDS, cwd=SAFE_FOLDER, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UnreadableImageError(f"{name}: decoding its pixels took longer than {SECONDS} s") from error
    if ended.returncode:
        raise UnreadableImageError(f"{name}: its pixels are damaged: the codec ended abruptly on them")
    sign, content = ended.stdout[:1], ended.stdout[1:]
    if sign == b"?":
        raise ImportError(content.decode(errors="replace"))
    if sign == b"!":
        raise ValueError(content.decode(errors="replace"))
    _check_words(ended.stderr)
    found: Stored = np.load(io.BytesIO(content), allow_pickle=False)
    return found


def _decode_for_parent() -> None:
    """The main function of the other process: a data set on stdin, on stdout a sign and the array or the error."""
    limit_memory()
    try:
        with without_warnings():
            array = _gdcm_array(pickle.load(sys.stdin.buffer))
    except Exception as error:
        sign = b"?" if isinstance(error, ImportError) else b"!"
        sys.stdout.buffer.write(sign + str(error).encode())
        return
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    sys.stdout.buffer.write(b"=" + stream.getvalue())
