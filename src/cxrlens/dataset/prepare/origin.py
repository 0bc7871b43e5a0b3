"""Where the bytes of a file lie: on the disk, or in a zip archive that is read in place."""

from __future__ import annotations

import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, TypeAlias

from cxrlens.errors import UnreadableImageError, UsageError
from cxrlens.inputs.readers import MAX_BYTES, open_regular, read_content

_ENCRYPTED = 0x1  # bit of a member's flags
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class FileOrigin:
    """A file on the disk."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def below(self, root: Path) -> str:
        """Its place from a folder on, or the whole path where it lies elsewhere."""
        return (self.path.relative_to(root) if self.path.is_relative_to(root) else self.path).as_posix()

    def identity(self) -> str:
        """Changes when the file does: place, size and time."""
        try:
            state = self.path.stat()
        except OSError:
            return f"{self.path} missing"
        return f"{self.path} {state.st_size} {state.st_mtime_ns}"

    def size(self) -> int:
        """Bytes; 0 where the file is missing."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The bytes as a stream.

        Raises:
            UnreadableImageError: as `open_regular` does.
        """
        with open_regular(self.path, str(self)) as stream:
            yield stream

    def read(self) -> bytes:
        """All bytes.

        Raises:
            UnreadableImageError: as `read_content` does.
        """
        return read_content(self.path, str(self))


@dataclass(frozen=True)
class ZipMember:
    """A member of a zip archive.

    Attributes:
        archive: the archive's file.
        index: the member's place in the archive's list; names may come twice.
        name: in the archive.
        crc, unpacked: checksum and size that the archive states.
    """

    archive: Path
    index: int
    name: str
    crc: int
    unpacked: int

    def __str__(self) -> str:
        return f"{self.archive}/{self.name}"

    def below(self, root: Path) -> str:
        """Its place from a folder on, the archive like a folder."""
        return f"{FileOrigin(self.archive).below(root)}/{self.name}"

    def identity(self) -> str:
        """Changes when the member does."""
        return f"{self} {self.crc:08x} {self.unpacked}"

    def size(self) -> int:
        """Bytes when unpacked."""
        return self.unpacked

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The unpacked bytes as a stream, never more than the archive states.

        Raises:
            UnreadableImageError: when the member is encrypted, too large, or damaged.
        """
        if self.unpacked > MAX_BYTES:
            raise UnreadableImageError(f"{self}: would unpack to more than {MAX_BYTES >> 30} GiB")
        try:
            archive = _archive(self.archive)
            info = archive.infolist()[self.index]
            if info.flag_bits & _ENCRYPTED:
                raise UnreadableImageError(f"{self}: is encrypted; unpack the archive with its password")
            with archive.open(info) as stream:
                yield stream
        except _DAMAGE as error:
            raise UnreadableImageError(f"{self}: is damaged in the archive: {error or type(error).__name__}") from error
        except OSError as error:
            raise UnreadableImageError(f"{self}: {error.strerror or error}") from error

    def read(self) -> bytes:
        """All bytes, their checksum compared.

        Raises:
            UnreadableImageError: as `open` does.
        """
        with self.open() as stream:
            return stream.read()


Origin: TypeAlias = FileOrigin | ZipMember


def list_members(archive: Path) -> list[ZipMember]:
    """The files in a zip archive, in its order.

    Raises:
        UsageError: when it is no whole archive.
    """
    try:
        infos = _archive(archive).infolist()
    except (*_DAMAGE, OSError) as error:
        raise UsageError(f"{archive}: cannot be read as a zip archive ({error}); download or copy it again") from error
    return [
        ZipMember(archive, index, info.filename, info.CRC, info.file_size)
        for index, info in enumerate(infos)
        if not info.is_dir()
    ]


def _archive(path: Path) -> zipfile.ZipFile:
    state = path.stat()
    return _opened(path, state.st_size, state.st_mtime_ns, os.getpid())


@lru_cache(maxsize=16)
def _opened(path: Path, _size: int, _time: int, _process: int) -> zipfile.ZipFile:
    """An archive in one state; a forked process must not share its handle."""
    return zipfile.ZipFile(path)
