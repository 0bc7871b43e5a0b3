"""A radiograph in memory, and its making from an array."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cxrlens.errors import UnreadableImageError

Pixels: TypeAlias = npt.NDArray[np.float32]

MAX_PIXELS = 100_000_000
"""Largest picture that is decoded, in pixels; detectors give 4 to 20 million, and each takes 4 bytes or more here."""

BRIGHT_IS_DENSE = "bright = dense"
WHITE_IS_ZERO = "white is zero"

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in the grey of a colour picture (ITU-R BT.601)."""


class Note(str):
    """A remark that speaks against nothing: the file was taken to mean something else than it says, surely rightly.

    A remark that is neither this nor a `Refusal`, a plain ``str``, is a doubt: the picture may not be displayed as it
    was meant. So is one whose kind is not known.
    """

    __slots__ = ()


class Refusal(str):
    """A remark by which the image cannot be judged: it surely is no frontal chest radiograph, or shows nothing of one.

    What a network gives for such an image is no statement on foreign objects.
    """

    __slots__ = ()


def doubts(remarks: Iterable[str]) -> tuple[str, ...]:
    """Those of the remarks that are doubts, see `Note`."""
    return tuple(remark for remark in remarks if not isinstance(remark, (Note, Refusal)))


def as_doubts(remarks: Iterable[str]) -> tuple[str, ...]:
    """The remarks with a doubt in place of each `Refusal`, for an image that is to be judged all the same."""
    return tuple(str(remark) if isinstance(remark, Refusal) else remark for remark in remarks)


def refusals(remarks: Iterable[str]) -> tuple[str, ...]:
    """Those of the remarks by which the image cannot be judged, see `Refusal`."""
    return tuple(remark for remark in remarks if isinstance(remark, Refusal))


class OversizedImageError(UnreadableImageError):
    """The picture has more pixels than are decoded."""


@dataclass(frozen=True)
class Radiograph:
    """A radiograph in memory.

    Attributes:
        pixels: float32 [rows, columns] in [0, 1], bright = dense, upright. Of the stored size, unless it was read
            with ``at_least``.
        source: the file it came from, or what stands for it in messages.
        height: of the stored image as seen upright, in pixels; likewise ``width``.
        origin: the kind of file: "JPEG", "PNG", "DICOM DX", "array" ...
        bit_depth: bits per stored sample that carry the picture.
        polarity: what the file says of bright and dense: "MONOCHROME1" and TIFF's "white is zero" (both inverted
            here), "MONOCHROME2", or "bright = dense" where it says nothing and that is taken.
        orientation: the tag that says how the picture lies: "EXIF 6" (turned upright here), or DICOM's patient
            orientation of rows and columns ("L\\\\F", left as it is); None where there is none.
        spacing: distance of neighbouring (rows, columns) in mm, in the patient where the file is calibrated, else at
            the detector; None where unknown.
        remarks: sentences, without the name of the file, on what looks wrong in the picture and on where the file was
            taken to mean something else than it says; none for a picture in order. Each is a doubt, a `Note` or a
            `Refusal`.
    """

    pixels: Pixels
    source: str
    height: int
    width: int
    origin: str
    bit_depth: int
    polarity: str = BRIGHT_IS_DENSE
    orientation: str | None = None
    spacing: tuple[float, float] | None = None
    remarks: tuple[str, ...] = ()


def from_array(pixels: npt.ArrayLike, name: str = "array") -> Radiograph:
    """Take a grey [H, W] or colour [H, W, 3] array: any float array in [0, 1], or uint8 / uint16.

    Raises:
        UnreadableImageError: when the shape, the type or the value range is none of these.
    """
    array = np.asarray(pixels)
    if array.ndim == 3 and array.shape[2] == 3:
        array = array @ LUMA if array.dtype.kind == "f" else _luma(array)
    if array.ndim != 2 or 0 in array.shape:
        raise UnreadableImageError(f"{name}: an image has the shape [H, W] or [H, W, 3], not {list(array.shape)}")
    if array.dtype in (np.uint8, np.uint16):
        scaled = array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
    elif array.dtype.kind == "f":
        scaled = array.astype(np.float32)
        if not (np.isfinite(scaled).all() and scaled.min() >= 0 and scaled.max() <= 1):
            raise UnreadableImageError(f"{name}: values of a float image must lie in [0, 1]")
    else:
        raise UnreadableImageError(f"{name}: {array.dtype} pixels are not supported; give uint8, uint16 or float")
    height, width = scaled.shape
    return Radiograph(scaled, name, height, width, origin="array", bit_depth=8 * array.dtype.itemsize)


def check_size(height: int, width: int, name: str) -> None:
    """Refuse a picture before it is decoded.

    Raises:
        UnreadableImageError: when it has no pixel.
        OversizedImageError: when it has more than `MAX_PIXELS`.
    """
    if height < 1 or width < 1:
        raise UnreadableImageError(f"{name}: the picture is {width} x {height} pixels, so there is nothing to see")
    if height * width > MAX_PIXELS:
        raise OversizedImageError(
            f"{name}: the picture is {width} x {height} pixels, more than {MAX_PIXELS // 10**6} million; "
            "save it at a smaller size"
        )


def _luma(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    rounded: npt.NDArray[Any] = np.rint(array.astype(np.float64) @ LUMA).astype(array.dtype)
    return rounded
