"""A folder of arrays that runs and processes share: bounded, safe against kills, the least recently used goes first."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from cxrlens.errors import UsageError
from cxrlens.files import is_partial, replacing, write_text
from cxrlens.inputs.cache.location import default_folder, default_limit, format_size
from cxrlens.outputs import make_private, starts_with

# Backup programs leave a folder with this file out (https://bford.info/cachedir/).
_TAG = """\
Signature: 8a477f597d28d172789f06886806bc55
# Decoded images of cxrlens; `cxrlens data cache --clear` removes them.
"""
_TAG_HEAD = _TAG.partition(";")[0]
_ARRAY = re.compile(r"images/[A-Za-z0-9-]+/[0-9a-f]{2}/[0-9a-f]{62}\.npy")
_PLACE = re.compile(r"images/[A-Za-z0-9-]+/[0-9a-f]{2}")
_SOURCE = re.compile(r"[0-9a-f]{20}\.json")
_LEASE = re.compile(r"[0-9a-f]{32}\.lock")
_is_array = starts_with(b"\x93NUMPY")


class Entry(NamedTuple):
    """A file of the store: its place, bytes, and when it was last used (ns, the file system's clock)."""

    path: Path
    size: int
    used: int

    @property
    def is_partial(self) -> bool:
        """True for a file that a killed writer left, unless that is still at work."""
        return is_partial(self.path.name)


@dataclass(frozen=True)
class StoreSize:
    """Size of a store: number of arrays and bytes, by group; the number of arrays in use by running processes."""

    groups: dict[str, tuple[int, int]]
    in_use: int

    @property
    def entries(self) -> int:
        return sum(entries for entries, _ in self.groups.values())

    @property
    def size(self) -> int:
        return sum(size for _, size in self.groups.values())


@dataclass(frozen=True)
class ArrayStore:
    """Arrays in ``folder/images/GROUP/KK/KEY.npy``, written whole under a temporary name and then renamed.

    A process that reads from the store does so within `in_use`. Everything used since the oldest of these contexts
    that is still open began stays; the rest may go. When an array was last used is its file's time of modification,
    and a context is a lock file, which the system unlocks when its process is killed.

    The folder is the store's own: a new or an empty one, in which a tag is put first. Nothing is kept in any other, and
    no file is removed but what has the name of an array in its place and begins as one.

    Attributes:
        folder: made when it is first written to, readable by this user alone.
        limit: bytes that all arrays together may take.
    """

    folder: Path
    limit: int

    @classmethod
    def default(cls) -> ArrayStore:
        """The store of this user, as the environment names it.

        Raises:
            UsageError: when the environment names no size.
        """
        return cls(default_folder(), default_limit())

    def path(self, group: str, key: str) -> Path:
        """Path of the array of a key."""
        return self.folder / "images" / group / key[:2] / f"{key[2:]}.npy"

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Nothing that is claimed or written within goes before this ends.

        Raises:
            UsageError: when the folder cannot be written to.
        """
        lease = FileLock(self._leases / f"{uuid.uuid4().hex}.lock")
        with self._locked():
            self._leases.mkdir(exist_ok=True)
            lease.acquire()
        try:
            yield
        finally:
            lease.release()
            Path(lease.lock_file).unlink(missing_ok=True)

    def claim(self, paths: Iterable[Path], sizes: frozenset[int]) -> set[Path]:
        """Those of the files that are there with one of these sizes in bytes; they count as used now.

        Raises:
            UsageError: when the folder cannot be written to.
        """
        there = set()
        with self._locked():
            for path in paths:
                with suppress(FileNotFoundError):
                    if path.stat().st_size in sizes:
                        os.utime(path)
                        there.add(path)
        return there

    def write(self, path: Path, array: npt.NDArray[Any], note: bytes = b"") -> int:
        """Store an array; gives the bytes of its file. Of two writers the last wins, and readers see either whole.

        Args:
            note: follows the array in its file, where those who load the array do not look.

        Raises:
            UsageError: when the folder is not the store's own, or cannot be written to.
        """
        if not self._is_tagged():
            with self._locked():
                pass
        with replacing(path, private=True) as partial:
            with partial.open("wb") as stream:
                np.save(stream, array, allow_pickle=False)
                stream.write(note)
            return partial.stat().st_size

    def make_room(self, needed: int = 0) -> None:
        """Remove the least recently used arrays until so many more bytes fit.

        Raises:
            UsageError: when they do not fit, in the limit or on the disk, without arrays that are in use.
        """
        with self._locked():
            since = self._in_use_since()
            entries = sorted(self._entries(), key=lambda entry: entry.used)
            total = sum(entry.size for entry in entries)
            for entry in entries:
                too_much = total + needed > self.limit
                if entry.used < since and (too_much or entry.is_partial):
                    total -= self._remove(entry)
        if total + needed > self.limit:
            raise UsageError(
                f"{self.folder}: the decoded images of this run and of others that are running take "
                f"{format_size(total + needed)}, and the cache may hold {format_size(self.limit)}; "
                "give a larger `cache_size` or CXRLENS_CACHE_SIZE, or smaller images"
            )
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise UsageError(
                f"{self.folder}: the decoded images need {format_size(needed)} more and {format_size(free)} are free; "
                "make room, name a folder on another disk with `cache_dir`, or train with smaller images"
            )

    def contents(self) -> StoreSize:
        """The size of the store now.

        Raises:
            UsageError: when the folder is not the store's own.
        """
        self._require_own()
        groups: dict[str, tuple[int, int]] = {}
        since = self._in_use_since()
        in_use = 0
        for path, size, used in self._entries():
            entries, total = groups.get(path.parts[-3], (0, 0))
            groups[path.parts[-3]] = entries + 1, total + size
            in_use += used >= since
        return StoreSize(dict(sorted(groups.items())), in_use)

    def clear(self) -> StoreSize:
        """Remove every array that no running process uses, and what was noted of source files; gives what was there.

        Raises:
            UsageError: when the folder cannot be written to.
        """
        before = self.contents()
        if self.folder.is_dir():
            with self._locked():
                since = self._in_use_since()
                for entry in self._entries():
                    if entry.used < since:
                        self._remove(entry)
                self._forget_sources(is_used=since < float("inf"))
        return before

    def _forget_sources(self, *, is_used: bool) -> None:
        if self.sources.is_dir() and not self.sources.is_symlink():
            for file in self.sources.iterdir():
                if _SOURCE.fullmatch(file.name) or (is_partial(file.name) and not is_used):
                    file.unlink(missing_ok=True)
            with suppress(OSError):  # something else is in it
                self.sources.rmdir()

    @property
    def sources(self) -> Path:
        """The folder of what is known of source files."""
        return self.folder / "sources"

    @property
    def _leases(self) -> Path:
        return self.folder / "in-use"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """While one process looks for what to remove, no other takes what is there into use."""
        try:
            make_private(self.folder)
            self._require_own()
            if not self._is_tagged():
                write_text(self._tag, _TAG)
            lock = FileLock(self.folder / "lock")
            lock.acquire()
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(
                f"{self.folder}: decoded images cannot be kept here ({reason}); "
                "name another folder with `cache_dir` or the environment variable CXRLENS_CACHE"
            ) from error
        try:
            yield
        finally:
            lock.release()

    @property
    def _tag(self) -> Path:
        return self.folder / "CACHEDIR.TAG"

    def _is_tagged(self) -> bool:
        try:
            return self._tag.read_text(encoding="utf-8").startswith(_TAG_HEAD)
        except (OSError, ValueError):
            return False

    def _require_own(self) -> None:
        """Keep out of a folder that holds something and was not made for this.

        Raises:
            UsageError: when it is such a folder.
        """
        if not self.folder.is_dir() or self._is_tagged():
            return
        others = sorted(path.name for path in self.folder.iterdir() if not is_partial(path.name))
        if others and not self._is_tagged():  # another process may have begun it meanwhile
            raise UsageError(
                f"{self.folder}: holds {others[0]} and is no folder of decoded images, which are removed when room is "
                "needed; name a new or an empty folder with `cache_dir` or the environment variable CXRLENS_CACHE"
            )

    def _entries(self) -> Iterator[Entry]:
        """The files that have the name of an array, or of an unfinished one, in their place."""
        for parent, _, names in os.walk(self.folder / "images"):
            place = Path(parent).relative_to(self.folder).as_posix()
            for name in names:
                if _ARRAY.fullmatch(f"{place}/{name}") or (_PLACE.fullmatch(place) and is_partial(name)):
                    path = Path(parent, name)
                    with suppress(FileNotFoundError):
                        state = path.lstat()
                        yield Entry(path, state.st_size, state.st_mtime_ns)

    def _in_use_since(self) -> float:
        """When the oldest process that is using the store began (ns); infinite when there is none."""
        since = float("inf")
        for path in self._leases.glob("*.lock"):
            if not _LEASE.fullmatch(path.name):
                continue
            lease = FileLock(path)
            try:
                lease.acquire(timeout=0)
            except Timeout:
                with suppress(FileNotFoundError):
                    since = min(since, path.stat().st_mtime_ns)
            else:  # its process was killed
                path.unlink(missing_ok=True)
                lease.release()
        return since

    @staticmethod
    def _remove(entry: Entry) -> int:
        """Bytes that were freed: none where the system keeps a file that someone reads (Windows), or of no array."""
        try:
            if not entry.is_partial and not _is_array(entry.path):
                return 0
            entry.path.unlink(missing_ok=True)
        except PermissionError:
            return 0
        return entry.size
