"""The engine on this computer: processes read and draw, the network runs in the thread that asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from cxrlens.inputs.reading import Readers
from cxrlens.inspection.inspector import Inspector, MapChoice
from cxrlens.inspection.result import ImageResult
from cxrlens.screening.reading import ImageReaders, ImageToRead, ReadImage, Reading, read_images
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.recording import Recording, ResultToRecord, map_content
from cxrlens.screening.store.store import Store


class LocalEngine:
    """An `Engine` of this computer.

    Args:
        inspector: makes the results.
        maps: for which images maps are made.
        keep_tags: the tags of the files' headers that the records keep, see `TAGS`.
        assess_any: see `Inspector.inspect`.
        batch_size: images per pass.
        workers: processes that read and record; 0 does that in this one.
    """

    def __init__(
        self,
        inspector: Inspector,
        *,
        maps: MapChoice,
        keep_tags: tuple[str, ...] = (),
        assess_any: bool = False,
        batch_size: int = 8,
        workers: int = 0,
    ) -> None:
        self.model = inspector
        self.batch_size = batch_size
        self.maps = maps
        self._assess_any = assess_any
        self._workers = workers
        self._reading = Reading(inspector.card.preprocessing, keep_tags)
        if maps != "none":
            import_module("cxrlens.inspection.contours")  # takes long; processes that are forked from this one have it

    @contextmanager
    def at_work(self, store: Store, *others: Callable[[Any], Any]) -> Iterator[LocalWork]:
        """See `Engine.at_work`; the processes live as long.

        Args:
            others: what they are to do besides, see `Readers`.
        """
        recording = Recording(store.folder)
        with Readers(self._reading, recording, *others, workers=self._workers) as readers:
            yield LocalWork(self, readers, recording)

    def inspect(self, images: Sequence[ReadImage], *, maps: MapChoice | None = None) -> list[ImageResult]:
        """The results of images that were read; ``maps`` by default as for all."""
        return inspect_read(self.model, images, maps=maps or self.maps, assess_any=self._assess_any)


class LocalWork:
    """The engine at work.

    Attributes:
        readers: its processes.
    """

    def __init__(self, engine: LocalEngine, readers: ImageReaders, recording: Recording) -> None:
        self.readers = readers
        self._engine = engine
        self._recording = recording

    def read(self, tasks: Iterable[ImageToRead]) -> Iterator[ReadImage]:
        return read_images(self.readers, tasks, ahead=self._engine.batch_size)

    def inspect(self, images: Sequence[ReadImage]) -> list[ResultToRecord]:
        results = self._engine.inspect(images)
        return [ResultToRecord.of(image, result) for image, result in zip(images, results, strict=True)]

    def record(self, seen: Sequence[ResultToRecord]) -> Iterator[ScreenedImage]:
        return self.readers.done(self._recording, seen)

    def files(self, image: ReadImage, *, with_map: bool) -> tuple[bytes, bytes]:
        if not with_map:
            return image.preview, b""
        (result,) = self._engine.inspect([image], maps="all")
        return image.preview, map_content(result)


def inspect_read(
    inspector: Inspector, images: Sequence[ReadImage], *, maps: MapChoice, assess_any: bool
) -> list[ImageResult]:
    """The results of images whose grey levels are at hand; see `Inspector.inspect`."""
    grey = np.stack([image.grey for image in images if image.grey is not None])
    return inspector.inspect(
        grey,
        [(image.height, image.width) for image in images],
        maps=maps,
        remarks=[image.remarks for image in images],
        assess_any=assess_any,
    )
