"""A file's bytes, read once as a whole, from regular files only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from cxrlens.errors import UnreadableImageError, UsageError

MAX_BYTES = 1 << 30
"""Largest file that is read: a picture of `MAX_PIXELS` in 16-bit colour is smaller."""


def require_file(path: Path) -> Path:
    """The path itself when it is a regular file.

    Raises:
        UsageError: when it does not exist, or is a pipe, socket or device.
    """
    if path.is_file():
        return path
    if path.exists():
        raise UsageError(f"{path}: is no regular file; give an image file or a folder")
    raise UsageError(f"{path}: no such file or folder; check the path")


@contextmanager
def open_regular(path: Path, name: str) -> Iterator[BufferedReader]:
    """The file opened for reading; a pipe, socket or device is refused without waiting for it.

    Raises:
        UnreadableImageError: when it is no regular file, is empty or larger than `MAX_BYTES`, or fails while open.
    """
    try:
        _check_kind(path.stat(), path, name)
        with open(path, "rb", opener=_without_waiting) as stream:
            found = os.fstat(stream.fileno())
            _check_kind(found, path, name)  # the name may stand for another file by now
            if not found.st_size:
                raise UnreadableImageError(f"{name}: the file is empty")
            if found.st_size > MAX_BYTES:
                raise UnreadableImageError(
                    f"{name}: the file is {found.st_size / 1e9:.1f} GB, too large for one radiograph; save it smaller"
                )
            yield stream
    except (OSError, ValueError) as error:  # a ValueError where the name holds a zero byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise UnreadableImageError(f"{name}: {reason or error}") from error


def read_content(path: Path, name: str) -> bytes:
    """All bytes of a file as they were at one moment.

    Raises:
        UnreadableImageError: as `open_regular` does, and when the file changes while it is read.
    """
    with open_regular(path, name) as stream:
        before = os.fstat(stream.fileno())
        content = stream.read(MAX_BYTES + 1)
        after = os.fstat(stream.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(content) != before.st_size:
        raise UnreadableImageError(f"{name}: the file changed while it was read; try again when it is complete")
    return content


def _check_kind(found: os.stat_result, path: Path, name: str) -> None:
    if stat.S_ISDIR(found.st_mode):
        if not os.access(path, os.R_OK | os.X_OK):
            raise UnreadableImageError(f"{name}: the folder may not be entered")
        raise UnreadableImageError(f"{name}: this is a folder, not an image")
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableImageError(f"{name}: is no regular file (a pipe, socket or device)")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
