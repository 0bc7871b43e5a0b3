"""The engine of a screening: where images are read, seen and drawn; results come back to the one that writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from cxrlens.inspection.inspector import RecordedModel
from cxrlens.screening.reading import ImageToRead, ReadImage
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.store import Store

Seen = TypeVar("Seen")


class EngineAtWork(Protocol[Seen]):
    """An engine while it goes through files; one thread calls it, but for `record`."""

    def read(self, tasks: Iterable[ImageToRead]) -> Iterator[ReadImage]:
        """The images in order, or why they cannot be read; tasks are taken as they are needed."""
        ...

    def inspect(self, images: Sequence[ReadImage]) -> list[Seen]:
        """What the network gives for images that `read` gave, in the engine's own form."""
        ...

    def record(self, seen: Sequence[Seen]) -> Iterator[ScreenedImage]:
        """Their records, the files that belong to them being written; another thread calls it."""
        ...

    def files(self, image: ReadImage, *, with_map: bool) -> tuple[bytes, bytes]:
        """The content of the preview of an image that `read` gave, and of its map where that is wanted and made."""
        ...


class Engine(Protocol):
    """Where images are read, seen and drawn.

    Attributes:
        model: that sees them.
        batch_size: images that are handed over together.
    """

    @property
    def model(self) -> RecordedModel: ...

    @property
    def batch_size(self) -> int: ...

    def at_work(self, store: Store) -> AbstractContextManager[EngineAtWork[Any]]:
        """The engine at work on files whose results go into this store."""
        ...
