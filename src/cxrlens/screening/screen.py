"""From files to results, as they come: read in processes, seen in batches, written down batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from cxrlens.files import replacing
from cxrlens.inputs.names import name_of
from cxrlens.inputs.workers import in_order
from cxrlens.inspection.inspector import Inspector, MapChoice
from cxrlens.inspection.map_png import map_png
from cxrlens.inspection.result import ImageResult
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.index import Index
from cxrlens.screening.reading import Look, Reading, Task
from cxrlens.screening.record import ScreenedImage

_WAITING = 256
"""Rows that need no network and may wait to be written together."""


class Screening:
    """Screens files into a folder, whose results it goes on with.

    What is kept in memory of each image is where its result stands in the folder.

    Args:
        folder: where results go; a torn last line has been dropped from them.
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
        folder: ScreenedFolder,
        root: Path,
        inspector: Inspector,
        *,
        maps: MapChoice,
        keep_tags: bool = False,
        batch_size: int = 8,
        workers: int = 0,
    ) -> None:
        self.folder = folder
        self.root = root
        self.inspector = inspector
        self.computed = 0
        self.appended = False
        self._maps = maps
        self._batch_size = batch_size
        self._workers = workers
        self._reading = Reading(inspector.card.preprocessing, keep_tags)
        self._index = Index(folder)
        self._unseen: dict[str, Look] = {}  # by content
        self._twins: list[tuple[str, str]] = []  # names and contents of which one is unseen
        self._rows: list[ScreenedImage] = []

    def run(self, files: Iterable[Path], done: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Screen the files; yields after each that was looked at, and once when all results are written.

        Left earlier, it loses no more than a batch, which the next run makes again.

        Args:
            done: called after each file.
        """
        for look in in_order(self._reading, self._tasks(files), workers=self._workers, lost=self._reading.lost):
            self._take(look)
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

    def _tasks(self, files: Iterable[Path]) -> Iterator[Task]:
        for path in files:
            name = name_of(path, self.root)
            last = self._index.named(name)
            yield Task(path, name, last.key if last and last.status == "ok" else "")

    def _take(self, look: Look) -> None:
        is_gone = not look.key and not os.path.exists(look.task.path)  # noqa: PTH110 (whatever looking fails with)
        if look.is_known or (look.task.key and is_gone):  # a file that has gone keeps its row
            return
        if look.grey is None:
            self._rows.append(ScreenedImage(name=look.task.name, key=look.key, status="unreadable", reason=look.reason))
        elif look.key in self._unseen:
            self._twins.append((look.task.name, look.key))
        elif known := self._index.of_content(look.key):
            self._rows.append(_renamed(known, look.task.name))
        else:
            self._unseen[look.key] = look

    def _write(self, looks: list[Look]) -> None:
        """Inspect what waits for the network, and append all results."""
        inspected = {image.key: image for image in self._inspected(looks)}
        twins = [(name, key) for name, key in self._twins if key in inspected]
        rows = [*self._rows, *inspected.values(), *(_renamed(inspected[key], name) for name, key in twins)]
        if rows:
            self._index.append(rows)
            self.folder.commit()
            self.appended = True
        self._rows.clear()
        self._twins = [twin for twin in self._twins if twin not in twins]

    def _inspected(self, looks: list[Look]) -> list[ScreenedImage]:
        if not looks:
            return []
        grey = np.stack([look.grey for look in looks if look.grey is not None])
        results = self.inspector.inspect(grey, [(look.height, look.width) for look in looks], maps=self._maps)
        self.computed += len(looks)
        return [self._record(look, result) for look, result in zip(looks, results, strict=True)]

    def _record(self, look: Look, result: ImageResult) -> ScreenedImage:
        """The record of an image, its picture and map being written."""
        files = {"picture": (self.folder.picture_file(look.key), look.preview)}
        if result.map:
            files["map"] = (self.folder.map_file(look.key), map_png(result.map.values, compress_level=1))
        for file, content in files.values():
            with replacing(file) as partial:
                partial.write_bytes(content)
        return ScreenedImage(
            name=look.task.name,
            key=look.key,
            origin=look.origin,
            tags=look.tags,
            **{name: file.relative_to(self.folder.path).as_posix() for name, (file, _) in files.items()},
            **result.fields(),
        )


def _renamed(image: ScreenedImage, name: str) -> ScreenedImage:
    return image.model_copy(update={"name": name})
