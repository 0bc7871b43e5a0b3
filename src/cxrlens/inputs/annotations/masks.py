"""Mask images as annotations: what is not black is an object."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.annotations.shapes import BoolMask, Shape

_LOSSY_LEVEL = 127  # JPEG puts faint values around everything


@dataclass(frozen=True, eq=False)
class MaskPart:
    """A connected part of a mask, as one object of its image.

    Attributes:
        pixels: bool [h, w], the part in its bounding box.
        left, top: the image's column and row of the box's first pixel.
    """

    pixels: BoolMask
    left: int
    top: int

    def contains(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> BoolMask:
        """True where a point (x, y) of the image lies in a pixel of the part; x and y broadcast."""
        columns, rows = _pixel(x) - self.left, _pixel(y) - self.top
        height, width = self.pixels.shape
        within = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        inside: BoolMask = within & self.pixels[rows.clip(0, height - 1), columns.clip(0, width - 1)]
        return inside


AnnotatedObject: TypeAlias = Shape | MaskPart


def read_mask(path: Path, *, height: int, width: int) -> BoolMask:
    """A mask file, see `decode_mask`.

    Raises:
        UnreadableImageError: as `decode_mask` does, or when the file is missing.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"{path}: the mask cannot be read: {error.strerror or error}") from error
    return decode_mask(content, str(path), height=height, width=width)


def decode_mask(content: bytes, name: str, *, height: int, width: int) -> BoolMask:
    """The mask of an image of height x width pixels: True where a colour is not 0 and the pixel is not transparent.

    In a JPEG, which changes values near edges, a colour counts from 128 on.

    Args:
        content: a file as Pillow reads it.
        name: of the file, in messages.

    Raises:
        UnreadableImageError: when it is no image file, is damaged, or has another size than the image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as opened:
                level = _LOSSY_LEVEL if opened.format in ("JPEG", "MPO") else 0
                mask = _marked(ImageOps.exif_transpose(opened), level)
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"{name}: the mask is no image that can be read") from error
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise UnreadableImageError(f"{name}: the mask cannot be read: {error or type(error).__name__}") from error
    if mask.shape != (height, width):
        raise UnreadableImageError(
            f"{name}: the mask has {mask.shape[1]} x {mask.shape[0]} pixels, its image {width} x {height}"
        )
    return mask


def mask_parts(mask: BoolMask) -> tuple[MaskPart, ...]:
    """The connected parts of a mask [H, W]; pixels that touch at a corner belong together."""
    parts, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    boxes: Iterable[tuple[slice, slice]] = ndimage.find_objects(parts)
    return tuple(
        MaskPart(parts[rows, columns] == number, columns.start, rows.start)
        for number, (rows, columns) in enumerate(boxes, 1)
    )


def _marked(image: Image.Image, level: int) -> BoolMask:
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    elif image.mode in ("CMYK", "YCbCr", "HSV", "LAB"):
        image = image.convert("RGB")
    values = np.asarray(image)
    marked: BoolMask = values > level if level else values != 0
    if marked.ndim == 2:
        return marked
    if image.mode in ("LA", "RGBA", "La", "RGBa"):
        marked = marked[..., :-1] & marked[..., -1:]
    united: BoolMask = np.logical_or.reduce(marked, axis=2)
    return united


def _pixel(coordinate: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """The index of the pixel in which a coordinate lies."""
    return np.floor(np.asarray(coordinate) + 0.5).astype(np.intp)
