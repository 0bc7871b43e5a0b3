"""What remote images have in common: a name below an address, and a version that changes with the content."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Protocol

from cxrlens.inputs.origin import State


@dataclass(frozen=True)
class RemoteOrigin(ABC):
    """An `Origin` of an image on a server; it holds no password, so that it may be sent to processes anywhere.

    Attributes:
        address: of the server or folder, which records call the root.
        name: of the image below that.
        version: while it is the same, so is the content; "" where nothing tells.
    """

    address: str
    name: str
    version: str = field(default="", compare=False, kw_only=True)

    def __str__(self) -> str:
        return f"{self.address}/{self.name}"

    @property
    def place(self) -> PurePath:
        return PurePosixPath(self.name)

    def below(self, root: Path) -> str:
        return self.name

    def identity(self) -> str:
        return f"{self} {self.version}"

    def state(self) -> State | None:
        """The version that the server told, which is not asked for again."""
        return State((self.version,), 0) if self.version else None

    @abstractmethod
    def exists(self) -> bool:
        """False where there is nothing any more, or its server cannot be reached."""

    def size(self) -> int:
        return 0

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        yield io.BytesIO(self.read())

    @abstractmethod
    def read(self) -> bytes:
        """The whole content.

        Raises:
            UnreadableImageError: when it cannot be had.
        """


class Feed(Protocol):
    """What has changed at a server, numbered."""

    def last(self) -> int:
        """The number of the last change."""
        ...

    def since(self, number: int) -> Iterator[tuple[int, RemoteOrigin | None]]:
        """The changes after one: their numbers, and the image that each is about; None of one that is not wanted.

        Raises:
            ServerLostError: when the server cannot be asked.
            FeedBegunAnewError: when it knows no such number.
        """
        ...


class FeedBegunAnewError(Exception):
    """A server has forgotten what it said before: its changes must have been cleared."""


class RemoteSource(Protocol):
    """Where remote images are."""

    @property
    def address(self) -> str:
        """What records call the root."""
        ...

    def check(self) -> None:
        """Ask it something, so that what is wrong is told before any work.

        Raises:
            UsageError: when it cannot be asked.
        """
        ...

    def origins(self) -> Iterator[RemoteOrigin]:
        """Its images, asked for as they are needed.

        Raises:
            ServerLostError: when it cannot be asked any more.
        """
        ...

    def origin(self, name: str) -> RemoteOrigin:
        """The image of a name that it gave; its version is not known."""
        ...

    def feed(self) -> Feed | None:
        """Its changes; None where it tells none, and is searched anew."""
        ...
