"""Images decoded once at the network's input size, in a memory-mapped file that processes share."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cxrlens.data.decoding import DecodedImages
from cxrlens.data.preprocessing import Preprocessing
from cxrlens.errors import UsageError
from cxrlens.files import replacing, write_json

_LEVELS = 65535


@dataclass(frozen=True)
class PixelCache:
    """Decoded images of a list of files.

    Attributes:
        pixels: uint16 [n, h, w], memory-mapped, read-only; 65535 is 1.0. Rows of unreadable files are zero.
        unreadable: reason by index in the list.
    """

    pixels: np.memmap[tuple[int, ...], np.dtype[np.uint16]]
    unreadable: dict[int, str]

    def image(self, index: int) -> Tensor:
        """Float32 [1, h, w] in [0, 1]."""
        return torch.from_numpy(self.pixels[index].astype(np.float32))[None] / _LEVELS

    @classmethod
    def open(cls, folder: Path, paths: Sequence[Path], preprocessing: Preprocessing) -> PixelCache | None:
        """The finished cache of exactly these files in this state, or None."""
        stem = folder / _key(paths, preprocessing)
        if not stem.with_suffix(".json").is_file():
            return None
        shape = (len(paths), preprocessing.height, preprocessing.width)
        pixels = np.memmap(stem.with_suffix(".uint16"), dtype=np.uint16, mode="r", shape=shape)
        unreadable = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        return cls(pixels, {int(index): reason for index, reason in unreadable.items()})

    @classmethod
    def build(
        cls,
        folder: Path,
        paths: Sequence[Path],
        preprocessing: Preprocessing,
        *,
        workers: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> PixelCache:
        """Decode the files, or reuse what is there. The index file is written last, so a killed build is no cache."""
        done = cls.open(folder, paths, preprocessing)
        if done is not None:
            return done
        folder.mkdir(parents=True, exist_ok=True)
        needed, free = 2 * len(paths) * preprocessing.height * preprocessing.width, shutil.disk_usage(folder).free
        if needed > free:
            raise UsageError(
                f"{folder}: the decoded images need {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
                "make room, or train elsewhere or with smaller images"
            )
        stem = folder / _key(paths, preprocessing)
        shape = (len(paths), preprocessing.height, preprocessing.width)
        unreadable: dict[int, str] = {}
        with replacing(stem.with_suffix(".uint16")) as partial:
            pixels = np.memmap(partial, dtype=np.uint16, mode="w+", shape=shape)
            for count, image in enumerate(DecodedImages(paths, preprocessing).each(workers), 1):
                if image.grey is None:
                    unreadable[image.index] = image.reason or ""
                else:
                    pixels[image.index] = (image.grey[0] * _LEVELS).round().numpy().astype(np.uint16)
                if progress:
                    progress(count, len(paths))
            pixels.flush()
        write_json(stem.with_suffix(".json"), unreadable)
        opened = cls.open(folder, paths, preprocessing)
        assert opened is not None
        return opened


def _key(paths: Sequence[Path], preprocessing: Preprocessing) -> str:
    digest = hashlib.sha256(preprocessing.model_dump_json().encode())
    for path in paths:
        try:
            stat = path.stat()
            state = f"{stat.st_size} {stat.st_mtime_ns}"
        except OSError:
            state = "missing"
        digest.update(f"{path.absolute()} {state}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:20]
