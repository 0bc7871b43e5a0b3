"""Making the files of a data set: each image read whole once, and copied, resized, or left where it is."""

from __future__ import annotations

import errno
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from cxrlens.dataset.prepare.journal import PreparedImage
from cxrlens.dataset.prepare.record import Record
from cxrlens.errors import UnreadableImageError, UsageError
from cxrlens.files import replacing
from cxrlens.inputs.annotations.masks import decode_mask
from cxrlens.inputs.geometry import Geometry
from cxrlens.inputs.matching import ending_of, without_ending
from cxrlens.inputs.origin import Origin, ZipMember
from cxrlens.inputs.readers import Pixels, decode
from cxrlens.inputs.resampling import resample

IMAGES, MASKS = "images", "masks"  # the folders of written files

_VERSION = 2  # raised when files come out otherwise or other things are noted of them: older ones are made anew
_JPEG_QUALITY = 95
_OF_THE_PLACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})


@dataclass(frozen=True)
class Form:
    """The form in which files are written.

    Attributes:
        size: images whose longer side is longer are scaled down to so many pixels; None = none is.
        copy: the others are copied as they are; else they are left where they are, but for members of archives.
    """

    size: int | None = None
    copy: bool = False


@dataclass(frozen=True)
class ImageToPrepare:
    """A record, and what an earlier run made of it."""

    record: Record
    earlier: PreparedImage | None = None

    def __str__(self) -> str:
        return str(self.record.origin)


@dataclass(frozen=True)
class PreparedOutcome:
    """An image of the data set, and whether an earlier run had made it."""

    image: PreparedImage
    reused: bool = False


@dataclass(frozen=True)
class ImagePreparer:
    """Makes the files of records with distinct names; picklable.

    Attributes:
        form: what becomes of the files.
        out: the data set's folder.
    """

    form: Form
    out: Path

    def __call__(self, task: ImageToPrepare) -> PreparedOutcome:
        """The image's files, made or found.

        Raises:
            UnreadableImageError: when the image or its mask cannot be read, or its file cannot be written.
            UsageError: when nothing can be written at all.
        """
        earlier = task.earlier
        if earlier is not None and all(_sha256_of(self.out / path) == sha for path, sha in earlier.files().items()):
            return PreparedOutcome(earlier, reused=True)
        try:
            return PreparedOutcome(_make(task.record, self.form, self.out))
        except OSError as error:
            reason = f"{self.out / IMAGES / task.record.name}: {error.strerror or error}"
            if error.errno in _OF_THE_PLACE:
                raise UsageError(
                    f"{reason}; make room or choose another place, then the same command goes on"
                ) from error
            raise UnreadableImageError(reason) from error
        except UsageError as error:  # a folder lies where a file should: a matter of this row
            raise UnreadableImageError(str(error)) from error


def key(record: Record, form: Form) -> str:
    """Names the state of a record's files and what is to be made of them."""
    mask = "" if record.mask is None else record.mask.identity()
    parts = (_VERSION, record.name, record.origin.identity(), mask, form)
    return hashlib.sha256("\n".join(map(str, parts)).encode(errors="surrogateescape")).hexdigest()


def geometry_of(made: PreparedImage) -> Geometry:
    """From the source's image to the one in the data set."""
    return Geometry.stretch(made.source_height, made.source_width, made.height, made.width)


def _make(record: Record, form: Form, out: Path) -> PreparedImage:
    content = record.origin.read()
    image = decode(content, str(record.origin))
    pixels = image.pixels
    height, width = pixels.shape
    scale = 1.0 if form.size is None else min(1.0, form.size / max(height, width))
    geometry = Geometry.stretch(height, width, max(1, round(height * scale)), max(1, round(width * scale)))
    mask_path, mask_content, has_mask = "", b"", None
    if record.mask is not None:
        mask_content = record.mask.read()
        mask = decode_mask(mask_content, str(record.mask), height=height, width=width)
        has_mask = bool(mask.any())
        if has_mask and scale < 1:
            mask_content = _png(Image.fromarray(geometry.forward_mask(mask)))
            mask_path = _placed(MASKS, record.name, ".png")
        elif has_mask and is_written(record.mask, form):
            mask_path = _placed(MASKS, record.name, PurePosixPath(str(record.mask)).suffix)
    path, written = "", content
    if scale < 1:
        smaller = resample(pixels, geometry.out_height, geometry.out_width).clip(0, 1)
        written, suffix = _encoded(smaller, deep=_is_deep(pixels))
        path = _placed(IMAGES, record.name, suffix)
    elif is_written(record.origin, form):
        path = _placed(IMAGES, record.name, ending_of(record.name))
    for target, data in ((path, written), (mask_path, mask_content)):
        if target:
            with replacing(out / target) as partial:
                partial.write_bytes(data)
    return PreparedImage(
        path=path,
        sha256=_sha256(written),
        height=geometry.out_height,
        width=geometry.out_width,
        source_sha256=_sha256(content),
        source_height=height,
        source_width=width,
        has_mask=has_mask,
        mask_path=mask_path,
        mask_sha256=_sha256(mask_content) if mask_path else "",
        remarks=image.remarks,
    )


def is_written(origin: Origin, form: Form) -> bool:
    """True where a file gets a copy in the data set."""
    return form.copy or form.size is not None or isinstance(origin, ZipMember)


def _placed(folder: str, name: str, suffix: str) -> str:
    return f"{folder}/{without_ending(name)}{suffix}"


def _is_deep(pixels: Pixels) -> bool:
    """True where pixels hold more than 8 bits can: values beside the 256 levels."""
    levels = pixels * np.float32(255)
    return bool(np.abs(levels - np.rint(levels)).max() > 1e-3)


def _encoded(pixels: Pixels, *, deep: bool) -> tuple[bytes, str]:
    """The bytes of an image file, and its ending."""
    if deep:
        return _png(Image.fromarray(np.rint(pixels * 65535).astype(np.uint16))), ".png"
    stream = io.BytesIO()
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(stream, "JPEG", quality=_JPEG_QUALITY)
    return stream.getvalue(), ".jpg"


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sha256_of(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
