"""Making the files of a data set: each image read whole once, and copied, resized, or left where it is."""

from __future__ import annotations

import errno
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from cxrlens.dataset.prepare.journal import Made
from cxrlens.dataset.prepare.origin import Origin, ZipMember
from cxrlens.dataset.prepare.record import Record, ending_of, without_ending
from cxrlens.errors import UnreadableImageError
from cxrlens.files import replacing
from cxrlens.inputs.annotations.masks import decode_mask
from cxrlens.inputs.geometry import Geometry
from cxrlens.inputs.readers import Pixels, decode
from cxrlens.inputs.resampling import resample
from cxrlens.inputs.workers import in_order

IMAGES, MASKS = "images", "masks"  # the folders of written files

_VERSION = 1  # raised when files come out otherwise, so that older ones are made anew
_JPEG_QUALITY = 95
_OF_THE_PLACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})


@dataclass(frozen=True)
class Form:
    """What becomes of the files.

    Attributes:
        size: images whose longer side is longer are scaled down to so many pixels; None = none is.
        copy: the others are copied as they are; else they are left where they are, but for members of archives.
    """

    size: int | None = None
    copy: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of the record of an index.

    Attributes:
        made: None when it cannot be read.
        reason: why not.
        reused: an earlier run had made it.
        fatal: why nothing can be written at all.
    """

    index: int
    made: Made | None = None
    reason: str = ""
    reused: bool = False
    fatal: str = ""


class Making:
    """Makes the files of the record of an index.

    Args:
        records: with distinct names.
        earlier: what an earlier run made of each, or None.
        out: the data set's folder.
    """

    def __init__(self, records: Sequence[Record], earlier: Sequence[Made | None], form: Form, out: Path) -> None:
        self._records = list(records)
        self._earlier = list(earlier)
        self._form = form
        self._out = out

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Outcome:
        record, earlier = self._records[index], self._earlier[index]
        if earlier is not None and all(_sha256_of(self._out / path) == sha for path, sha in earlier.files().items()):
            return Outcome(index, earlier, reused=True)
        try:
            return Outcome(index, _make(record, self._form, self._out))
        except UnreadableImageError as error:
            return Outcome(index, reason=str(error))
        except MemoryError:
            return self.lost(index, "there is not enough memory to read it")
        except OSError as error:
            reason = f"{self._out / IMAGES / record.name}: {error.strerror or error}"
            if error.errno in _OF_THE_PLACE:
                return Outcome(index, fatal=reason)
            return Outcome(index, reason=reason)

    def lost(self, index: int, reason: str) -> Outcome:
        """What stands for an image that was not read."""
        return Outcome(index, reason=f"{self._records[index].origin}: {reason}")

    def each(self, workers: int) -> Iterator[Outcome]:
        """All records in order, made by so many processes; 0 makes them in this one."""
        return in_order(self.__getitem__, range(len(self)), workers=workers, lost=self.lost)


def key(record: Record, form: Form) -> str:
    """Names the state of a record's files and what is to be made of them."""
    mask = "" if record.mask is None else record.mask.identity()
    parts = (_VERSION, record.name, record.origin.identity(), mask, form)
    return hashlib.sha256("\n".join(map(str, parts)).encode(errors="surrogateescape")).hexdigest()


def geometry_of(made: Made) -> Geometry:
    """From the source's picture to the one in the data set."""
    return Geometry.stretch(made.source_height, made.source_width, made.height, made.width)


def _make(record: Record, form: Form, out: Path) -> Made:
    content = record.origin.read()
    pixels = decode(content, str(record.origin)).pixels
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
    return Made(
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
    )


def is_written(origin: Origin, form: Form) -> bool:
    """Whether a file gets a copy in the data set."""
    return form.copy or form.size is not None or isinstance(origin, ZipMember)


def _placed(folder: str, name: str, suffix: str) -> str:
    return f"{folder}/{without_ending(name)}{suffix}"


def _is_deep(pixels: Pixels) -> bool:
    """Whether pixels hold more than 8 bits can: values beside the 256 levels."""
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
