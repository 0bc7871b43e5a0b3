"""Images in an object store, or any file system of fsspec."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from cxrlens.errors import ServerLostError, UnreadableImageError, UsageError
from cxrlens.inputs.finding import is_of_storage, is_unnamed
from cxrlens.inputs.readers import IMAGE_SUFFIXES, MAX_BYTES
from cxrlens.outputs import MARK
from cxrlens.screening.remote.object_store import ObjectStore, StoreFailedError
from cxrlens.screening.remote.origin import Feed, RemoteOrigin

log = logging.getLogger(__name__)

_VERSIONS = (
    "ETag",
    "etag",
    "md5Hash",
    "content_md5",
    "crc32c",
    "generation",
    "mtime",
    "LastModified",
    "last_modified",
    "created",
)
"""What stores say of a file that changes with its content."""


@dataclass(frozen=True)
class StoredImage(RemoteOrigin):
    """An image in an object store; its name is its path there.

    Attributes:
        length: bytes of the content, as they were listed; None where it was not.
    """

    length: int | None = field(default=None, compare=False)

    def size(self) -> int:
        return self.length or 0

    def exists(self) -> bool:
        try:
            return ObjectStore(self.address).info(self.name) is not None
        except StoreFailedError:
            return False

    def read(self) -> bytes:
        try:
            content = ObjectStore(self.address).read(self.name, MAX_BYTES, size=self.length)
        except StoreFailedError as error:
            raise UnreadableImageError(f"{self}: {error.reason}") from error
        if not content:
            raise UnreadableImageError(f"{self}: the file is empty")
        return content


@dataclass(frozen=True)
class ObjectSource:
    """A folder of an object store.

    Attributes:
        address: without a slash at its end.
        left_out: an address below which nothing is screened: of the results.
        only: the name of the one image that is wanted; "" for all.
    """

    address: str
    left_out: str = ""
    only: str = ""

    @cached_property
    def _store(self) -> ObjectStore:
        return ObjectStore(self.address)

    def check(self) -> None:
        try:
            mark = self._store.read_json(MARK) or {}
            next(self._store.pages(), None)
        except StoreFailedError as error:
            raise UsageError(f"{self.address}: {error.reason}") from error
        if "screening.json" in mark.get("names", ()):
            raise UsageError(f"{self.address}: is the output of a screening; give the folder of the images")

    def feed(self) -> Feed | None:
        return None

    def origin(self, name: str) -> StoredImage:
        return StoredImage(self.address, name)

    def _image(self, name: str, found: dict[str, Any]) -> StoredImage:
        return StoredImage(self.address, name, found.get("size"), version=_version(found))

    def origins(self) -> Iterator[StoredImage]:
        try:
            if self.only:
                found = self._store.info(self.only)
                if found is not None:
                    yield self._image(self.only, found)
                return
            yield from self._found()
        except StoreFailedError as error:
            raise ServerLostError(f"{self.address}: {error.reason}") from error

    def _found(self) -> Iterator[StoredImage]:
        """The images: by their ending, or as archives name DICOM files; all others are counted."""
        others, begin = 0, len(self._store.path) + 1
        results = set[str]()  # folders and files of commands, as their marks name them
        if self.left_out.startswith(f"{self.address}/"):
            results.add(self.left_out[len(self.address) + 1 :])
        for page in self._store.pages():
            named = [(str(each["name"])[begin:], each) for each in page]
            for name, _ in named:
                folder, _, last = name.rpartition("/")
                if last == MARK:
                    names = (self._store.read_json(name) or {}).get("names", ())
                    results |= {f"{folder}/{each}".lstrip("/") for each in names}
            for name, each in named:
                if any(part in results for part in _above(name)) or _is_hidden(name):
                    continue
                if is_image_name(name):
                    yield self._image(name, each)
                else:
                    others += 1
        if others:
            log.info("%s: %d files whose names are no images' are left out", self.address, others)


def is_image_name(name: str) -> bool:
    """True of a name with an image's ending, and of those that archives give DICOM files; others are not opened."""
    path = PurePosixPath(name)
    return path.suffix.lower() in IMAGE_SUFFIXES or is_unnamed(path)


def take_objects(address: str, left_out: str) -> ObjectSource:
    """The images at an address: of a folder, or the one that it names.

    Raises:
        UsageError: when it cannot be looked at.
    """
    try:
        found = ObjectStore(address).info()
    except StoreFailedError as error:
        raise UsageError(f"{address}: {error.reason}") from error
    if found is not None and found.get("type") == "file":
        folder, _, name = address.rpartition("/")
        return ObjectSource(folder, only=name)
    return ObjectSource(address, left_out)


def _above(name: str) -> Iterator[str]:
    """A path and all folders above it."""
    while name:
        yield name
        name = name.rpartition("/")[0]


def _is_hidden(name: str) -> bool:
    *folders, last = name.split("/")
    return last.startswith(".") or any(folder.startswith(".") or is_of_storage(folder) for folder in folders)


def _version(found: dict[str, Any]) -> str:
    said = [f"{name}={found[name]}" for name in _VERSIONS if found.get(name)]
    return f"{found.get('size')} {' '.join(said)}" if said else ""
