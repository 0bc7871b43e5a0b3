"""Decoded images of a list of files at the network's input size, kept by what the files hold."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL
import pydicom
import torch
from torch import Tensor

from cxrlens.errors import UnreadableImageError, UsageError
from cxrlens.inputs.cache.sources import SourceIndex
from cxrlens.inputs.cache.store import ArrayStore
from cxrlens.inputs.origin import Origin, State
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import decode
from cxrlens.inputs.reading import Unreadable, read_each
from cxrlens.inputs.remarked import from_json, to_json

# Raise it when the same file and preprocessing give other pixels or remarks than before.
_VERSION = 5
# Room is looked for again after so many bytes, so that several writers together keep to the limit.
_ROOM_EVERY = 256_000_000
# The remarks on an image follow its pixels, filled up with blanks to so many bytes; most images have none. A file can
# have so few sizes that a cut one shows.
_NOTE_SIZES = (0, 2048, 16384)


@dataclass(frozen=True)
class CachedImages:
    """Decoded images of a list of files.

    Attributes:
        store: where they are kept.
        group: of the store: one preprocessing.
        digests: of each file's bytes; None where the file cannot be read.
        unreadable: reason by index in the list.
        remarks: by index in the list, see `Radiograph.remarks`; of images that have some.
    """

    store: ArrayStore
    group: str
    digests: tuple[str | None, ...]
    unreadable: dict[int, str]
    remarks: dict[int, tuple[str, ...]] = field(default_factory=dict)

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
    origins: Sequence[Origin],
    preprocessing: Preprocessing,
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> CachedImages:
    """Decode the files that the store does not hold yet; call it within `ArrayStore.in_use`.

    Images of up to 8 bits are kept in 8 bits, others in 16.

    Args:
        store: where decoded images are kept.
        origins: where the images come from.
        preprocessing: gives the size.
        workers: processes that decode; 0 decodes in this one.
        progress: called as progress(done, total) after each decoded image.

    Raises:
        UsageError: when the images do not fit in the store, or it cannot be written to.
    """
    index = SourceIndex(store.sources)
    states = [origin.state() for origin in origins]
    digests = [state and index.digest(origin, state) for origin, state in zip(origins, states, strict=True)]
    group, sizes = group_name(preprocessing), _file_sizes(preprocessing)
    kept = {digest: store.path(group, digest) for digest in digests if digest}
    there = store.claim(kept.values(), sizes)
    waiting = [i for i, digest in enumerate(digests) if digest is None or kept[digest] not in there]
    unreadable: dict[int, str] = {}
    remarks: dict[int, tuple[str, ...]] = {}
    store.make_room(len(waiting) * min(sizes))
    since, each = 0, min(sizes)
    results = read_each(_StoreDecoder(store, preprocessing), [origins[place] for place in waiting], workers=workers)
    try:
        for done, (place, (origin, image)) in enumerate(zip(waiting, results, strict=True), 1):
            if isinstance(image, Unreadable):
                unreadable[place] = image.reason
                digests[place] = None
            else:
                digests[place] = image.digest
                if image.remarks:
                    remarks[place] = image.remarks
                if image.state:
                    index.note(origin, image.state, image.digest)
                since, each = since + image.written, max(each, image.written)
            if since >= _ROOM_EVERY or done == len(waiting):
                since = 0
                store.make_room((len(waiting) - done) * each)
            if progress:
                progress(len(origins) - len(waiting) + done, len(origins))
    finally:
        index.save()
    plain = _file_sizes(preprocessing, notes=(0,))
    there_already = {place: kept[digest] for place, digest in enumerate(digests) if digest in kept}
    remarks |= {place: found for place, path in there_already.items() if (found := _kept_remarks(path, plain))}
    return CachedImages(store, group, tuple(digests), unreadable, dict(sorted(remarks.items())))


def group_name(preprocessing: Preprocessing) -> str:
    """Names what a file's pixels depend on beside its bytes: preprocessing, our reading and the libraries' versions."""
    versions = [_VERSION, PIL.__version__, pydicom.__version__]
    what = json.dumps([*versions, preprocessing.decoded_at_least, preprocessing.model_dump(mode="json")])
    return f"{preprocessing.width}x{preprocessing.height}-{hashlib.sha256(what.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class _StoredImage:
    """An image in the store: its content's digest, its source's state while it was read, remarks, bytes written."""

    digest: str
    state: State | None
    remarks: tuple[str, ...]
    written: int = 0


class _StoreDecoder:
    """Decodes an image into the store."""

    def __init__(self, store: ArrayStore, preprocessing: Preprocessing) -> None:
        self.store = store
        self.preprocessing = preprocessing
        self.group = group_name(preprocessing)
        self.sizes = _file_sizes(preprocessing)

    def __call__(self, origin: Origin) -> _StoredImage:
        before, content = origin.state(), origin.read()
        digest = hashlib.sha256(content).hexdigest()
        target = self.store.path(self.group, digest)
        if target.exists() and self.store.claim([target], self.sizes):
            return _StoredImage(digest, before, _kept_remarks(target, _file_sizes(self.preprocessing, notes=(0,))))
        image = decode(content, str(origin), at_least=self.preprocessing.decoded_at_least)
        if origin.state() != before:
            raise UnreadableImageError(f"{origin}: the file changed while it was read; try again when it is complete")
        grey = self.preprocessing.resized(image.pixels, (image.height, image.width))[0]
        kind = np.uint8 if image.bit_depth <= 8 else np.uint16
        levels = np.rint(grey * np.float32(np.iinfo(kind).max)).astype(kind)
        try:
            return _StoredImage(digest, before, image.remarks, self.store.write(target, levels, _note(image.remarks)))
        except OSError as error:
            raise UsageError(
                f"{self.store.folder}: decoded images cannot be kept: {error.strerror or error}"
            ) from error


def _file_sizes(preprocessing: Preprocessing, *, notes: Sequence[int] = _NOTE_SIZES) -> frozenset[int]:
    """Bytes of the files of an image in 8 and in 16 bits, with remarks that take so many bytes."""
    sizes = []
    for kind in (np.uint8, np.uint16):
        stream = io.BytesIO()
        np.save(stream, np.empty((preprocessing.height, preprocessing.width), kind))
        sizes += [stream.tell() + note for note in notes]
    return frozenset(sizes)


def _note(remarks: Sequence[str]) -> bytes:
    """The remarks as they follow the pixels in a file; the last of very many long ones are left out, which is said."""
    kept = to_json(remarks)
    while len(note := json.dumps(kept).encode() if kept else b"") > _NOTE_SIZES[-1]:
        kept[-2:] = ["There are more remarks."]
    return note.ljust(next(size for size in _NOTE_SIZES if size >= len(note)))


def _kept_remarks(path: Path, plain: frozenset[int]) -> tuple[str, ...]:
    """The remarks that follow the pixels in a file of the store; ``plain`` are the sizes of files without."""
    try:
        if path.stat().st_size in plain:
            return ()
        with path.open("rb") as stream:
            np.lib.format.read_magic(stream)
            shape, _, kind = np.lib.format.read_array_header_1_0(stream)
            stream.seek(math.prod(shape) * kind.itemsize, os.SEEK_CUR)
            note = stream.read()
    except FileNotFoundError:  # it was removed although it was in use, which `CachedImages.image` says
        return ()
    return from_json(json.loads(note)) if note else ()
