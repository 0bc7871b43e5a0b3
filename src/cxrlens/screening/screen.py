"""From files to results, as they come: read in processes, seen in batches, written down batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from cxrlens.files import replacing
from cxrlens.inputs.names import name_of
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inspection.inspector import Inspector, MapChoice
from cxrlens.inspection.map_png import map_png
from cxrlens.inspection.result import ImageResult
from cxrlens.screening.reading import ImageToRead, ReadImage, Reading, read_images
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.store import Store

_WAITING = 256
"""Rows that need no network and may wait to be written together."""


class Screening:
    """Screens files into a folder, whose results it goes on with.

    Args:
        store: where results go.
        root: the folder that names are relative to.
        inspector: makes the results.
        maps: for which images maps are made.
        keep_tags: keep patient data in the records.
        batch_size: images per pass.
        workers: processes that read; 0 reads in this one.

    Attributes:
        computed: images that the network has seen.
        appended: True from the first result on after it was last set to False.
    """

    def __init__(
        self,
        store: Store,
        root: Path,
        inspector: Inspector,
        *,
        maps: MapChoice,
        keep_tags: bool = False,
        batch_size: int = 8,
        workers: int = 0,
    ) -> None:
        self.store = store
        self.folder = store.folder
        self.root = root
        self.inspector = inspector
        self.computed = 0
        self.appended = False
        self._maps = maps
        self._batch_size = batch_size
        self._workers = workers
        self._reading = Reading(inspector.card.preprocessing, keep_tags)
        self._unseen: dict[str, ReadImage] = {}  # by content
        self._duplicates: list[tuple[str, str]] = []  # names and contents of which one is unseen
        self._rows: list[ScreenedImage] = []

    def run(self, files: Iterable[Path], done: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Screen the files; yields after each that was looked at, and once when all results are written.

        Left earlier, it loses no more than a batch, which the next run makes again.

        Args:
            done: called after each file.
        """
        for image in read_images(self._reading, self._tasks(files), workers=self._workers):
            self._take(image)
            if len(self._unseen) == self._batch_size:
                self._write(list(self._unseen.values()))
                self._unseen.clear()
            elif len(self._rows) >= _WAITING:
                self._write([])
            done()
            yield
        self._write(list(self._unseen.values()))
        self._unseen.clear()
        yield

    def _tasks(self, files: Iterable[Path]) -> Iterator[ImageToRead]:
        for path in files:
            name = name_of(path, self.root)
            yield ImageToRead(FileOrigin(path), name, self.store.results.known_key(name))

    def _take(self, image: ReadImage) -> None:
        is_gone = not image.key and not image.task.origin.exists()
        if image.is_known or (image.task.key and is_gone):  # a file that has gone keeps its row
            return
        if image.grey is None:
            self._rows.append(
                ScreenedImage(name=image.task.name, key=image.key, status="unreadable", reason=image.reason)
            )
        elif image.key in self._unseen:
            self._duplicates.append((image.task.name, image.key))
        elif known := self.store.results.of_content(image.key):
            self._rows.append(_renamed(known, image.task.name))
        else:
            self._unseen[image.key] = image

    def _write(self, images: list[ReadImage]) -> None:
        """Inspect what waits for the network, and append all results."""
        inspected = {image.key: image for image in self._inspected(images)}
        duplicates = [(name, key) for name, key in self._duplicates if key in inspected]
        rows = [*self._rows, *inspected.values(), *(_renamed(inspected[key], name) for name, key in duplicates)]
        if rows:
            self.store.add(rows)
            self.appended = True
        self._rows.clear()
        self._duplicates = [duplicate for duplicate in self._duplicates if duplicate not in duplicates]

    def _inspected(self, images: list[ReadImage]) -> list[ScreenedImage]:
        if not images:
            return []
        grey = np.stack([image.grey for image in images if image.grey is not None])
        results = self.inspector.inspect(
            grey,
            [(image.height, image.width) for image in images],
            maps=self._maps,
            remarks=[image.remarks for image in images],
        )
        self.computed += len(images)
        return [self._record(image, result) for image, result in zip(images, results, strict=True)]

    def _record(self, image: ReadImage, result: ImageResult) -> ScreenedImage:
        """The record of an image, its picture and map being written; one that is not assessed has neither."""
        if result.not_assessed:
            return ScreenedImage(name=image.task.name, key=image.key, status="unreadable", reason=result.not_assessed)
        files = {"picture": (self.folder.picture_file(image.key), image.preview)}
        if result.map:
            files["map"] = (self.folder.map_file(image.key), map_png(result.map.values, compress_level=1))
        for file, content in files.values():
            with replacing(file, private=True) as partial:
                partial.write_bytes(content)
        return ScreenedImage(
            name=image.task.name,
            key=image.key,
            origin=image.origin,
            tags=image.tags,
            **{name: file.relative_to(self.folder.path).as_posix() for name, (file, _) in files.items()},
            **result.fields(),
        )


def _renamed(image: ScreenedImage, name: str) -> ScreenedImage:
    return image.model_copy(update={"name": name})
