"""Decoded images of a list of files at the network's input size, kept by what the files hold."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import pydicom
import torch
from torch import Tensor

from cxrlens.errors import UnreadableImageError, UsageError
from cxrlens.inputs.cache.sources import SourceIndex, State, state_of
from cxrlens.inputs.cache.store import ArrayStore
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import decode, read_content
from cxrlens.inputs.workers import in_order

# Raise it when the same file and preprocessing give other pixels than before.
_VERSION = 2
# Room is looked for again after so many bytes, so that several writers together keep to the limit.
_ROOM_EVERY = 256_000_000


@dataclass(frozen=True)
class CachedImages:
    """Decoded images of a list of files.

    Attributes:
        store: where they are kept.
        group: of the store: one preprocessing.
        digests: of each file's bytes; None where the file cannot be read.
        unreadable: reason by index in the list.
    """

    store: ArrayStore
    group: str
    digests: tuple[str | None, ...]
    unreadable: dict[int, str]

    def image(self, index: int) -> Tensor:
        """Float32 [1, h, w] in [0, 1].

        Raises:
            UsageError: when it was removed since it was decoded.
        """
        digest = self.digests[index]
        assert digest is not None, "an unreadable file has no image"
        path = self.store.path(self.group, digest)
        try:
            levels = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise UsageError(
                f"{path}: this decoded image was removed while it was in use; run the command again"
            ) from error
        return torch.from_numpy(levels.astype(np.float32))[None] / float(np.iinfo(levels.dtype).max)


def cache_images(
    store: ArrayStore,
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> CachedImages:
    """Decode the files that the store does not hold yet; call it within `ArrayStore.in_use`.

    Images of up to 8 bits are kept in 8 bits, others in 16.

    Args:
        store: where decoded images are kept.
        paths: the files.
        preprocessing: gives the size.
        workers: processes that decode; 0 decodes in this one.
        progress: called as progress(done, total) after each decoded image.

    Raises:
        UsageError: when the images do not fit in the store, or it cannot be written to.
    """
    index = SourceIndex(store.sources)
    states = [state_of(path) for path in paths]
    digests = [state and index.digest(path, state) for path, state in zip(paths, states, strict=True)]
    group, sizes = group_name(preprocessing), _file_sizes(preprocessing)
    kept = {digest: store.path(group, digest) for digest in digests if digest}
    there = store.claim(kept.values(), sizes)
    waiting = [i for i, digest in enumerate(digests) if digest is None or kept[digest] not in there]
    unreadable: dict[int, str] = {}
    store.make_room(len(waiting) * min(sizes))
    since, each = 0, min(sizes)
    decoding = _Decoding(store, paths, preprocessing)
    try:
        for done, image in enumerate(in_order(decoding, waiting, workers=workers, lost=decoding.lost), 1):
            if image.failure:
                raise UsageError(image.failure)
            digests[image.index] = image.digest
            if image.digest is None:
                unreadable[image.index] = image.reason
            elif image.state:
                index.note(paths[image.index], image.state, image.digest)
            since, each = since + image.written, max(each, image.written)
            if since >= _ROOM_EVERY or done == len(waiting):
                since = 0
                store.make_room((len(waiting) - done) * each)
            if progress:
                progress(len(paths) - len(waiting) + done, len(paths))
    finally:
        index.save()
    return CachedImages(store, group, tuple(digests), unreadable)


def group_name(preprocessing: Preprocessing) -> str:
    """Names what a file's pixels depend on beside its bytes: preprocessing, our reading and the libraries' versions."""
    versions = [_VERSION, PIL.__version__, pydicom.__version__]
    what = json.dumps([*versions, preprocessing.decoded_at_least, preprocessing.model_dump(mode="json")])
    return f"{preprocessing.width}x{preprocessing.height}-{hashlib.sha256(what.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class _Kept:
    """What came of a file: its digest, or the reason why it has none; or why nothing more can be kept."""

    index: int
    digest: str | None = None
    state: State | None = None
    written: int = 0
    reason: str = ""
    failure: str = ""


class _Decoding:
    """Decodes the file of a row into the store."""

    def __init__(self, store: ArrayStore, paths: Sequence[Path], preprocessing: Preprocessing) -> None:
        self.store = store
        self.paths = list(paths)
        self.preprocessing = preprocessing
        self.group = group_name(preprocessing)
        self.sizes = _file_sizes(preprocessing)

    def lost(self, row: int, reason: str) -> _Kept:
        """What stands for a file whose reading failed together with its process."""
        return _Kept(row, reason=f"{self.paths[row]}: {reason}")

    def __call__(self, row: int) -> _Kept:
        path = self.paths[row]
        before = state_of(path)
        try:
            content = read_content(path, str(path))
            digest = hashlib.sha256(content).hexdigest()
            target = self.store.path(self.group, digest)
            if target.exists() and self.store.claim([target], self.sizes):
                return _Kept(row, digest, before)
            image = decode(content, str(path), at_least=self.preprocessing.decoded_at_least)
        except UnreadableImageError as error:
            return _Kept(row, reason=str(error))
        except MemoryError:
            return self.lost(row, "there is not enough memory to read it")
        if state_of(path) != before:
            return _Kept(row, reason=f"{path}: the file changed while it was read; try again when it is complete")
        grey = self.preprocessing.resized(image.pixels, (image.height, image.width))[0]
        kind = np.uint8 if image.bit_depth <= 8 else np.uint16
        levels = np.rint(grey * np.float32(np.iinfo(kind).max)).astype(kind)
        try:
            return _Kept(row, digest, before, self.store.write(target, levels))
        except OSError as error:
            return _Kept(row, failure=f"{self.store.folder}: decoded images cannot be kept: {error.strerror or error}")


def _file_sizes(preprocessing: Preprocessing) -> frozenset[int]:
    """Bytes of the files of an image in 8 and in 16 bits."""
    sizes = []
    for kind in (np.uint8, np.uint16):
        stream = io.BytesIO()
        np.save(stream, np.empty((preprocessing.height, preprocessing.width), kind))
        sizes.append(stream.tell())
    return frozenset(sizes)
