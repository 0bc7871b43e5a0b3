"""Check of the image formats that can be read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from PIL import Image
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import AllTransferSyntaxes

from cxrlens.doctor.finding import DoctorFinding, Status
from cxrlens.doctor.packages import PACKAGE, extras, installed, requirements
from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers import read

_FORMATS: dict[str, tuple[Status, dict[str, Any]]] = {  # how bad it is without the codec; what a file is saved with
    "JPEG": ("problem", {"quality": 95}),
    "PNG": ("problem", {}),
    "TIFF": ("note", {"compression": "tiff_lzw"}),
    "BMP": ("note", {}),
    "WebP": ("note", {"lossless": True}),
}
_GREY = 128
_EXTRA = "dicom"


def formats() -> Iterator[DoctorFinding]:
    """A finding for each format: an image that Pillow writes in it is read again, or not."""
    section = "image formats"
    for name, (otherwise, options) in _FORMATS.items():
        try:
            stream = io.BytesIO()
            Image.new("L", (16, 8), _GREY).save(stream, name, **options)
            error_of_grey = float(abs(read(stream.getvalue()).pixels - _GREY / 255).max())
            fault = None if error_of_grey < 0.02 else "it comes back with other pixels"
        except (OSError, KeyError, ValueError, UnreadableImageError) as error:
            fault = str(error) or type(error).__name__
        if fault is None:
            yield DoctorFinding(section, name, "ok", "is read")
        else:
            remedy = "pip install --force-reinstall --no-cache-dir pillow, whose packages on PyPI know it"
            yield DoctorFinding(section, name, otherwise, f"cannot be read ({fault})", remedy)


def dicom() -> Iterator[DoctorFinding]:
    """For which of the ways in which DICOM stores pixels a codec is installed."""
    section = "DICOM"
    decoders = []
    for syntax in AllTransferSyntaxes:
        try:
            decoders.append((syntax.name, get_decoder(syntax)))
        except NotImplementedError:  # of videos and the like
            continue
    there = sum(decoder.is_available for _, decoder in decoders)
    yield DoctorFinding(section, "transfer syntaxes", "ok", f"{there} of {len(decoders)} can be decoded")
    all_there = _EXTRA in extras() and all(installed(package)[1] for package in requirements(_EXTRA))
    if find_spec("gdcm") is None:  # pydicom counts Pillow as well, which decodes JPEG of 8 bits alone
        remedy = f"pip install '{PACKAGE}[{_EXTRA}]', whose gdcm decodes it"
        yield DoctorFinding(section, "12-bit JPEG", "note", "no codec is installed", remedy)
    for name, decoder in decoders:
        if not decoder.is_available:
            choices = "; or ".join(decoder.missing_dependencies)
            remedy = f"one of: {choices}" if all_there else f"pip install '{PACKAGE}[{_EXTRA}]'"
            yield DoctorFinding(section, name, "note", "no codec is installed", remedy)
