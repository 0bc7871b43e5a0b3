"""JPEG, PNG, TIFF, BMP and WebP files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers.codestream import DamagedCodestreamError
from cxrlens.inputs.readers.display import remarks_on_picture
from cxrlens.inputs.readers.jpeg import ScanStream, check_parts, stream_of
from cxrlens.inputs.readers.quiet import without_warnings
from cxrlens.inputs.readers.radiograph import (
    BRIGHT_IS_DENSE,
    MAX_PIXELS,
    WHITE_IS_ZERO,
    Note,
    OversizedImageError,
    Pixels,
    Radiograph,
    check_size,
)
from cxrlens.inputs.readers.reasons import reason_of

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
_JPEG = b"\xff\xd8\xff"
_COMMON_BITS = (8, 12)  # of values that are stored in words of 16
_NAMES = {"MPO": "JPEG", "WEBP": "WebP"}


class UnknownFormatError(UnreadableImageError):
    """The content is none of `FORMATS`."""


def read_raster(stream: IO[bytes], name: str, at_least: tuple[int, int] | None = None) -> Radiograph:
    """Decode a picture, see `cxrlens.inputs.readers.read`.

    Raises:
        UnknownFormatError: when it is none of `FORMATS`.
        UnreadableImageError: when it is damaged, too large, or no single picture.
    """
    content = stream.read()
    remarks: list[str] = []
    with _damage(name):
        stream = stream_of(content) if content[:3] == _JPEG else io.BytesIO(content)
    with _damage(name), _opened(stream, name) as image:
        height, width = _upright_size(image)
        orientation = _orientation(image)
        kind, bits = str(image.format), _bits(image)
        white_is_zero = isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(262) == 0
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            check_parts(image, content)
        drafted = _drafted(image, at_least, turned=(height, width) != (image.height, image.width))
        ImageOps.exif_transpose(drafted, in_place=True)
        pixels, bits = _grey(drafted, kind, bits, name, remarks)
        if isinstance(stream, ScanStream):
            stream.check()
        if white_is_zero and drafted.mode not in ("1", "L"):  # pictures of up to 8 bits were inverted by Pillow
            pixels = 1 - pixels
    return Radiograph(
        pixels,
        name,
        height,
        width,
        origin=_NAMES.get(kind, kind),
        bit_depth=bits,
        polarity=WHITE_IS_ZERO if white_is_zero else BRIGHT_IS_DENSE,
        orientation=None if orientation is None else f"EXIF {orientation}",
        remarks=(*remarks, *remarks_on_picture(pixels, height, width)),
    )


def raster_size(stream: IO[bytes], name: str) -> tuple[int, int]:
    """(height, width) as `read_raster` gives them, from the header alone.

    Raises:
        UnknownFormatError: when it is none of `FORMATS`.
        UnreadableImageError: as `read_raster` does, but for damage that only decoding would show.
    """
    with _opened(stream, name) as image:
        return _upright_size(image)


@contextmanager
def _damage(name: str) -> Iterator[None]:
    """A JPEG of which a part is missing is unreadable."""
    try:
        with without_warnings():
            yield
    except UnreadableImageError:
        raise
    except DamagedCodestreamError as error:
        raise UnreadableImageError(f"{name}: its compressed data are damaged: {error}") from error
    except Exception as error:  # of Pillow, see below
        raise UnreadableImageError(f"{name}: {reason_of(error)}") from error


@contextmanager
def _opened(stream: IO[bytes], name: str) -> Iterator[Image.Image]:
    """The picture, its header read and found fit; whatever goes wrong with it in the block is unreadable."""
    try:
        with without_warnings(), Image.open(stream, formats=FORMATS) as image:
            check_size(image.height, image.width, name)
            count = getattr(image, "n_frames", 1)
            if count > 1 and image.format != "MPO":  # of several JPEGs in one file, the first is the photograph
                raise UnreadableImageError(
                    f"{name}: the file holds {count} pictures; save the radiograph as a file of its own"
                )
            yield image
    except (UnreadableImageError, DamagedCodestreamError):
        raise
    except UnidentifiedImageError as error:
        raise UnknownFormatError(
            f"{name}: the file is no image that can be read (JPEG, PNG, TIFF, BMP, WebP, DICOM)"
        ) from error
    except Image.DecompressionBombError as error:
        raise OversizedImageError(
            f"{name}: the picture has more than {MAX_PIXELS // 10**6} million pixels; save it at a smaller size"
        ) from error
    except Exception as error:  # Pillow names no set of errors; a damaged file raises nearly anything
        raise UnreadableImageError(f"{name}: {reason_of(error)}") from error


def _orientation(image: Image.Image) -> int | None:
    found = image.getexif().get(ExifTags.Base.Orientation)
    return found if isinstance(found, int) and 1 <= found <= 8 else None


def _upright_size(image: Image.Image) -> tuple[int, int]:
    turned = (_orientation(image) or 1) >= 5  # orientations 5 to 8 swap the sides
    if turned and not isinstance(image, TiffImagePlugin.TiffImageFile):  # whose size Pillow gives as seen upright
        return image.width, image.height
    return image.height, image.width


def _drafted(image: Image.Image, at_least: tuple[int, int] | None, *, turned: bool) -> Image.Image:
    """The picture; a JPEG in grey, and as small as its decoder makes it and ``at_least`` lets it be.

    Where the size is no multiple of the reduction, the last row or column is of blocks that reach beyond the picture.
    It goes where less than half of it lies within, so that what is left is at most half a reduced pixel too long or
    too short.
    """
    if image.format not in ("JPEG", "MPO"):
        return image
    size = None
    if at_least is not None:
        rows, columns = at_least[::-1] if turned else at_least
        size = columns, rows
    drafted = image.draft("L", size)
    if drafted is None or size is None:
        return image
    _, (_, _, width, height) = drafted  # of the picture itself, in reduced pixels
    kept = int(width + 0.5), int(height + 0.5)
    return image if kept == image.size else image.crop((0, 0, *kept))


def _bits(image: Image.Image) -> int:
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(image.tag_v2.get(258, (1,))[0])
    if image.mode.startswith("I"):
        return 16
    return 1 if image.mode == "1" else 8


def _grey(image: Image.Image, kind: str, bits: int, name: str, remarks: list[str]) -> tuple[Pixels, int]:
    """The picture, and how many bits its values have."""
    if image.mode.startswith("I;16") or (image.mode == "I" and kind == "PNG"):
        return _grey_of_words(np.asarray(image), bits, remarks)
    if image.mode == "I":
        raise UnreadableImageError(f"{name}: its whole numbers have a sign or 32 bits; save it with 8 or 16 bits")
    if image.mode == "F":
        values = np.array(image, dtype=np.float32)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise UnreadableImageError(f"{name}: its fractional values do not lie in [0, 1]; scale them and save again")
        return values, bits
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layered.size, (0, 0, 0, 255)), layered)
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255), bits


def _grey_of_words(values: npt.NDArray[Any], bits: int, remarks: list[str]) -> tuple[Pixels, int]:
    """Values of up to 16 bits. Those that reach at most 4,095 or 255 of 65,535 are taken for 12 or 8 bits."""
    top = int(values.max())
    used = next((fewer for fewer in _COMMON_BITS if fewer < bits == 16 and 0 < top < 2**fewer), bits)
    if used != bits:
        said = f"It is said to have {bits} bits, and its values reach {top}; the range of {used} bits was taken."
        remarks.append(Note(said))
    return np.asarray(values, dtype=np.float32) / np.float32(2**used - 1), used
