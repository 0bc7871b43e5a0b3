"""Reading one file of a screening, in a process of its own: its content's digest, its picture, a preview."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Pixels, decode, read_content
from cxrlens.inspection.inspector import GreyBatch
from cxrlens.screening.tags import kept_tags

PREVIEW_SIDE = 1024
"""Longest side of a preview, in pixels."""

_QUALITY = 85


@dataclass(frozen=True)
class Task:
    """A file to read.

    Attributes:
        path: of the file.
        name: of its record.
        key: digest of the content that is screened under this name already; "" where there is none.
    """

    path: Path
    name: str
    key: str = ""


@dataclass(frozen=True, eq=False)
class Look:
    """What reading a file gave.

    Attributes:
        task: what was asked for.
        key: SHA-256 of its content; "" where that could not be read, or may be read another time.
        reason: why it is unreadable; "" where it is not.
        grey: float32 [1, h, w], the picture as the network sees it; None where the content is known or unreadable.
        preview: a grey JPEG of at most `PREVIEW_SIDE` pixels a side.
        height: of the stored image; likewise ``width``.
        origin: see `Radiograph.origin`.
        tags: see `kept_tags`, where they were asked for.
    """

    task: Task
    key: str = ""
    reason: str = ""
    grey: GreyBatch | None = None
    preview: bytes = b""
    height: int = 0
    width: int = 0
    origin: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        """Whether the file is as it was when it was screened."""
        return bool(self.key) and self.key == self.task.key


@dataclass(frozen=True)
class Reading:
    """Reads files for a network of some preprocessing; picklable, so that it can be sent to processes."""

    preprocessing: Preprocessing
    keep_tags: bool = False

    def __call__(self, task: Task) -> Look:
        """Read a file once; what its bytes were then is digest, picture and preview of one look."""
        key = ""
        try:
            content = read_content(task.path, str(task.path))
            key = hashlib.sha256(content).hexdigest()
            if key == task.key:
                return Look(task, key)
            image = decode(content, str(task.path), at_least=self.preprocessing.decoded_at_least)
            return Look(
                task,
                key,
                grey=self.preprocessing.resized(image.pixels, (image.height, image.width)),
                preview=preview(image.pixels),
                height=image.height,
                width=image.width,
                origin=image.origin,
                tags=kept_tags(content) if self.keep_tags else {},
            )
        except UnreadableImageError as error:
            return Look(task, key, str(error).removeprefix(f"{task.path}: "))
        except MemoryError:
            return Look(task, reason="there is not enough memory to read it")

    def lost(self, task: Task, reason: str) -> Look:
        """What stands for a file whose reading ended its process."""
        return Look(task, reason=reason)


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
