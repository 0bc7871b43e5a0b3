"""The images that a text file lists: ``listed:///ward/today.txt``, a path a line, relative to the file's folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cxrlens.errors import UnreadableImageError, UsageError
from cxrlens.screening.remote.origin import Feed, RemoteOrigin


@dataclass(frozen=True)
class ListedImage(RemoteOrigin):
    """An image that a list names; ``name`` is its path from the list's folder on."""

    @property
    def _path(self) -> Path:
        return _list(self.address).parent / self.name

    def exists(self) -> bool:
        return self._path.is_file()

    def read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise UnreadableImageError(f"{self}: {error.strerror}") from error


@dataclass(frozen=True)
class ListSource:
    """The images of a list. The entry point is called with the address that a user gave."""

    address: str

    def check(self) -> None:
        """Tell what is wrong before any work."""
        if not _list(self.address).is_file():
            raise UsageError(f"{self.address}: there is no such list; give listed:// and the path of a text file")

    def origins(self) -> Iterator[ListedImage]:
        """The images, in the order of the list; a change of size or time is another version."""
        for line in _list(self.address).read_text(encoding="utf-8").splitlines():
            if line.strip():
                yield self.origin(line.strip())

    def origin(self, name: str) -> ListedImage:
        """The image of a name that `origins` gave."""
        try:
            found = (_list(self.address).parent / name).stat()
        except OSError:
            return ListedImage(self.address, name)
        return ListedImage(self.address, name, version=f"{found.st_size} {found.st_mtime_ns}")

    def feed(self) -> Feed | None:
        """A list tells no changes: with --watch it is read again and again."""
        return None


def _list(address: str) -> Path:
    return Path(address.partition("://")[2])
