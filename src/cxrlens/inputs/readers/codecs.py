"""Decoding of compressed DICOM pixels."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGExtended12Bit

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers.quiet import without_warnings
from cxrlens.inputs.readers.reasons import one_line

Stored = npt.NDArray[Any]

SECONDS = 120
"""How long the decoding of one file may take in a process of its own."""

_GDCM = "gdcm"
_SIZ = struct.Struct(">HHHHIIII")  # a JPEG 2000 picture's first markers, to the place of its corners (T.800, A.5.1)
_this_process_may_end = False


def let_codecs_end_this_process() -> None:
    """To be called in a process whose sudden end is provided for: it then needs no other one for gdcm."""
    global _this_process_may_end
    _this_process_may_end = True


def decompressed(dataset: Dataset, syntax: UID, name: str) -> Stored:
    """The values of compressed pixel data, colours as RGB.

    gdcm ends the whole process on some damaged files, hence it is taken only where no other codec is installed, which
    is so for lossless JPEG and JPEG-LS, and then runs in another process.

    Raises:
        UnreadableImageError: when no codec is installed for this compression, or it ends or takes too long.
        Exception: whatever a codec says of damaged data.
    """
    plugins = _available(syntax, name)
    _check_codestream(dataset, syntax, name)
    failures: list[Exception] = []
    for plugin in plugins:
        try:
            if plugin == _GDCM and not _this_process_may_end:
                return _decoded_elsewhere(dataset, name)
            return pixel_array(dataset, decoding_plugin=plugin)
        except UnreadableImageError:
            raise
        except Exception as error:
            failures.append(error)
    if syntax == JPEGExtended12Bit and "12-bit" in str(failures[0]):
        raise UnreadableImageError(
            f"{name}: its pixels are compressed as 12-bit JPEG, which only a package under the GPL can decode; "
            "if its terms suit you: pip install pylibjpeg pylibjpeg-libjpeg"
        ) from failures[0]
    if plugins == [_GDCM]:  # whose own words are those of its Python binding
        raise UnreadableImageError(f"{name}: its pixels are damaged: gdcm cannot decode them") from failures[0]
    raise failures[0]


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


def _check_codestream(dataset: Dataset, syntax: UID, name: str) -> None:
    """Refuse a JPEG 2000 picture that says another size than its data set, before memory is taken for it."""
    if syntax not in JPEG2000TransferSyntaxes:
        return
    start = get_frame(dataset.PixelData, 0, number_of_frames=1)[: _SIZ.size]
    if len(start) < _SIZ.size or start[:4] != b"\xff\x4f\xff\x51":
        return
    *_, right, bottom, left, top = _SIZ.unpack(start)
    if (bottom - top, right - left) != (dataset.Rows, dataset.Columns):
        raise UnreadableImageError(
            f"{name}: its pixels are damaged: the compressed picture is {right - left} x {bottom - top} pixels, "
            f"the file says {dataset.Columns} x {dataset.Rows}"
        )


def _decoded_elsewhere(dataset: Dataset, name: str) -> Stored:
    part = Dataset()
    part.update(dataset.group_dataset(0x0028))
    part.add(dataset["PixelData"])
    part.file_meta = dataset.file_meta
    command = [sys.executable, "-c", f"from {__name__} import _decode_for_parent; _decode_for_parent()"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        ended = subprocess.run(
            command, input=pickle.dumps(part), capture_output=True, timeout=SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UnreadableImageError(f"{name}: decoding its pixels took longer than {SECONDS} s") from error
    if ended.returncode:
        raise UnreadableImageError(f"{name}: its pixels are damaged: the codec ended abruptly on them")
    failed, content = ended.stdout[:1] == b"!", ended.stdout[1:]
    if failed:
        raise ValueError(content.decode(errors="replace"))
    found: Stored = np.load(io.BytesIO(content), allow_pickle=False)
    return found


def _decode_for_parent() -> None:
    """What the other process does: a data set on stdin, on stdout a sign and the array or the error."""
    try:
        with without_warnings():
            array = pixel_array(pickle.load(sys.stdin.buffer), decoding_plugin=_GDCM)
    except Exception as error:
        sys.stdout.buffer.write(b"!" + str(error).encode())
        return
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    sys.stdout.buffer.write(b"=" + stream.getvalue())
