"""The images of a screening as they are read: digest of the content, grey levels for the network, a preview."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

import numpy as np
from PIL import Image

from cxrlens.inputs.origin import Origin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Pixels, decode
from cxrlens.inputs.reading import Cause, Readers, Unreadable, attempt
from cxrlens.inspection.inspector import GreyBatch
from cxrlens.screening.tag_values import kept_tags

ImageReaders: TypeAlias = "Readers[ImageToRead, ReadImage]"

PREVIEW_SIDE = 1024
"""Longest side of a preview, in pixels."""

_QUALITY = 85


@dataclass(frozen=True)
class ImageToRead:
    """An image that is to be read for a screening.

    Attributes:
        origin: where it comes from.
        name: of its record.
        key: digest of the content that is screened under this name already; "" where there is none.
        again: read it also where that is its content, as the preview or the map of the result is gone.
        state: of the origin when it had that content, see `State.text`; "" where that is not known.
    """

    origin: Origin
    name: str
    key: str = ""
    again: bool = False
    state: str = ""

    def __str__(self) -> str:
        return str(self.origin)


@dataclass(frozen=True, eq=False)
class ReadImage:
    """An image that was read, or the reason why it cannot be.

    Attributes:
        task: the image that was to be read.
        key: SHA-256 of its content; "" where that could not be read, or may be read another time.
        reason: why it is unreadable; "" where it is not.
        grey: float32 [1, h, w], the picture as the network sees it; None where the content is known or unreadable.
        preview: a grey JPEG of at most `PREVIEW_SIDE` pixels a side.
        height: of the stored image; likewise ``width``.
        origin: see `Radiograph.origin`.
        tags: see `kept_tags`, where they were asked for.
        remarks: see `Radiograph.remarks`.
        state: of the origin, where it has this content as long as it is in it, see `State.text`.
    """

    task: ImageToRead
    key: str = ""
    reason: str = ""
    grey: GreyBatch | None = None
    preview: bytes = b""
    height: int = 0
    width: int = 0
    origin: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    state: str = ""

    @property
    def is_read(self) -> bool:
        """True where there is a picture that the network can see, or that it has seen."""
        return self.grey is not None

    @property
    def is_known(self) -> bool:
        """True where the content is as it was when it was screened, and nothing of its result is gone."""
        return bool(self.key) and self.key == self.task.key and not self.task.again


@dataclass(frozen=True)
class Reading:
    """Reads images for a network of some preprocessing; picklable."""

    preprocessing: Preprocessing
    keep_tags: tuple[str, ...] = ()

    def __call__(self, task: ImageToRead) -> ReadImage:
        """Read an image once: digest, grey levels and preview are those of the same bytes.

        Raises:
            UnreadableImageError: when its content cannot be read; one that cannot be decoded has its digest.
        """
        before = task.origin.state()
        content = task.origin.read()
        state = before.text if before is not None and before == task.origin.state() else ""
        key = hashlib.sha256(content).hexdigest()
        if key == task.key and not task.again:
            return ReadImage(task, key, state=state)
        found = attempt(partial(self._decoded, content, key), task)
        if not isinstance(found, Unreadable):
            return replace(found, state=state)
        if found.cause is Cause.NO_MEMORY:  # it may be read another time
            key = ""
        return ReadImage(task, key, _short_reason(task, found))

    def _decoded(self, content: bytes, key: str, task: ImageToRead) -> ReadImage:
        image = decode(content, str(task), at_least=self.preprocessing.decoded_at_least)
        return ReadImage(
            task,
            key,
            grey=self.preprocessing.resized(image.pixels, (image.height, image.width)),
            preview=preview(image.pixels),
            height=image.height,
            width=image.width,
            origin=image.origin,
            tags=kept_tags(content, self.keep_tags),
            remarks=image.remarks,
        )


def read_images(readers: ImageReaders, tasks: Iterable[ImageToRead], *, ahead: int = 0) -> Iterator[ReadImage]:
    """All images in order; ``ahead`` as in `cxrlens.inputs.processes.Pool.in_order`."""
    for task, found in readers.each(tasks, ahead=ahead):
        yield ReadImage(task, reason=_short_reason(task, found)) if isinstance(found, Unreadable) else found


def _short_reason(task: ImageToRead, unreadable: Unreadable) -> str:
    """The reason without the name of the source, for the record that has it."""
    return unreadable.reason.removeprefix(f"{task}: ")


def preview(pixels: Pixels) -> bytes:
    """A picture [H, W] in [0, 1] as a grey JPEG of the same aspect, at most `PREVIEW_SIDE` pixels a side."""
    grey = Image.fromarray((pixels * np.float32(255) + np.float32(0.5)).astype(np.uint8))
    scale = PREVIEW_SIDE / max(grey.size)
    if scale < 1:
        width, height = (max(round(side * scale), 1) for side in grey.size)
        grey = grey.resize((width, height), Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    grey.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
