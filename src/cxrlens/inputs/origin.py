"""The origin of an image: a file, a member of a zip archive that is read in place, or bytes at hand."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePath
from typing import IO, NamedTuple, Protocol

from cxrlens.errors import UnreadableImageError, UsageError
from cxrlens.inputs.readers import MAX_BYTES, open_regular, read_content

_ENCRYPTED = 0x1  # bit of a member's flags
_SETTLED_NS = 2_000_000_000
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, RuntimeError)


class State(NamedTuple):
    """The state of a source: while it is the same, so is the content.

    Attributes:
        marks: numbers or texts of which one changes with the content.
        changed: ns since the epoch of the last change; 0 where the marks alone tell any.
    """

    marks: tuple[int | str, ...]
    changed: int

    @property
    def text(self) -> str:
        """The marks as text; "" of a state that says little: a file that is changed twice within one tick of its file
        system's clock (2 s on FAT) keeps its times.
        """
        return ",".join(map(str, self.marks)) if time.time_ns() - self.changed >= _SETTLED_NS else ""


class Origin(Protocol):
    """The origin of an image. Whatever reads images takes any object with these members.

    Its ``str`` names it in messages. It is picklable, and hashable.
    """

    @property
    def place(self) -> PurePath:
        """Its place as an absolute path, also where there is no such file."""
        ...

    def below(self, root: Path) -> str:
        """Its place from a folder on, with ``/`` between folders, or the whole place where it lies elsewhere."""
        ...

    def identity(self) -> str:
        """Names place and content: another text when one of them changes."""
        ...

    def state(self) -> State | None:
        """Its state now; None where there is nothing, or nothing tells a change, so that it is read each time."""
        ...

    def exists(self) -> bool:
        """False where there is nothing, or nothing any more."""
        ...

    def size(self) -> int:
        """Bytes of the content; 0 where it is missing."""
        ...

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """The content as a stream that can be read and wound back.

        Raises:
            UnreadableImageError: when it cannot be read, which names the origin.
        """
        ...

    def read(self) -> bytes:
        """The whole content, as it was at one moment.

        Raises:
            UnreadableImageError: when it cannot be read, which names the origin.
        """
        ...


@dataclass(frozen=True)
class FileOrigin:
    """A file on the disk."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def place(self) -> PurePath:
        return self.path.absolute()

    def below(self, root: Path) -> str:
        return (self.path.relative_to(root) if self.path.is_relative_to(root) else self.path).as_posix()

    def identity(self) -> str:
        """Path, size and time."""
        try:
            found = self.path.stat()
        except OSError:
            return f"{self.path} missing"
        return f"{self.path} {found.st_size} {found.st_mtime_ns}"

    def state(self) -> State | None:
        """Inode, size, and the times (ns) of the last change of content and of inode."""
        try:
            found = self.path.stat()
        except (OSError, ValueError):
            return None
        times = found.st_mtime_ns, found.st_ctime_ns
        return State((found.st_ino, found.st_size, *times), max(times))

    def exists(self) -> bool:
        return self.state() is not None

    def size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def open(self) -> AbstractContextManager[IO[bytes]]:
        return open_regular(self.path, str(self))

    def read(self) -> bytes:
        return read_content(self.path, str(self))


class ChangedFileError(UnreadableImageError):
    """A file has another content than the one that it is known by."""


@dataclass(frozen=True)
class KnownOrigin:
    """An origin that is known by its content.

    Attributes:
        origin: where it is.
        name: stands for it in messages.
        key: SHA-256 of the content.
    """

    origin: Origin
    name: str
    key: str

    def __str__(self) -> str:
        return self.name

    @property
    def place(self) -> PurePath:
        return self.origin.place

    def below(self, root: Path) -> str:
        return self.origin.below(root)

    def identity(self) -> str:
        return self.origin.identity()

    def state(self) -> State | None:
        return self.origin.state()

    def exists(self) -> bool:
        return self.origin.exists()

    def size(self) -> int:
        return self.origin.size()

    def open(self) -> AbstractContextManager[IO[bytes]]:
        return self.origin.open()

    def read(self) -> bytes:
        """The content, which is as it was.

        Raises:
            ChangedFileError: when it is another one.
        """
        content = self.origin.read()
        if hashlib.sha256(content).hexdigest() != self.key:
            raise ChangedFileError(f"{self}: the file has changed since it was screened; screen the folder again")
        return content


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

    @property
    def place(self) -> PurePath:
        return self.archive.absolute() / self.name

    def below(self, root: Path) -> str:
        return f"{FileOrigin(self.archive).below(root)}/{self.name}"

    def identity(self) -> str:
        return f"{self} {self.crc:08x} {self.unpacked}"

    def state(self) -> State | None:
        """That of the archive's file, and the member's place in it."""
        archive = FileOrigin(self.archive).state()
        return archive and State((*archive.marks, self.index), archive.changed)

    def exists(self) -> bool:
        return self.state() is not None

    def size(self) -> int:
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
        """All bytes, their checksum compared."""
        with self.open() as stream:
            return stream.read()


@dataclass(frozen=True)
class ContentOrigin:
    """Bytes at hand, such as an upload; ``name`` stands for them in messages."""

    name: str
    content: bytes = field(repr=False)

    def __str__(self) -> str:
        return self.name

    @property
    def place(self) -> PurePath:
        return PurePath(self.name)

    def below(self, root: Path) -> str:
        return self.name

    def identity(self) -> str:
        return f"{self.name} {hashlib.sha256(self.content).hexdigest()}"

    def state(self) -> State | None:
        return None

    def exists(self) -> bool:
        return True

    def size(self) -> int:
        return len(self.content)

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        yield io.BytesIO(self.content)

    def read(self) -> bytes:
        return self.content


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
    found = path.stat()
    return _opened(path, found.st_size, found.st_mtime_ns, os.getpid())


@lru_cache(maxsize=16)
def _opened(path: Path, _size: int, _time: int, _process: int) -> zipfile.ZipFile:
    """An archive in one state; a forked process must not share its handle."""
    return zipfile.ZipFile(path)
