"""From files to results, as they come: read in processes, seen in batches, written down batch by batch.

The thread that feeds the network does nothing else that takes time: outlines and files of a batch are made in the
processes, and it is put into the store by a thread, while the next one is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import numpy as np

from cxrlens.inputs.names import name_of
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.reading import Readers
from cxrlens.inspection.inspector import Inspector, MapChoice
from cxrlens.screening.reading import ImageReaders, ImageToRead, ReadImage, Reading, read_images
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.recording import Recording, ResultToRecord
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
        keep_tags: the tags of the files' headers that the records keep, see `TAGS`.
        assess_any: see `Inspector.inspect`.
        batch_size: images per pass.
        workers: processes that read and record; 0 does that in this one.

    Attributes:
        computed: images that the network has seen.
        remade: previews and maps of earlier results that were gone and were made again.
        appended: True from the first result on after it was last set to False.
    """

    def __init__(
        self,
        store: Store,
        root: Path,
        inspector: Inspector,
        *,
        maps: MapChoice,
        keep_tags: tuple[str, ...] = (),
        assess_any: bool = False,
        batch_size: int = 8,
        workers: int = 0,
    ) -> None:
        self.store = store
        self.folder = store.folder
        self.root = root
        self.inspector = inspector
        self.computed = 0
        self.remade = 0
        self.appended = False
        self._maps = maps
        self._assess_any = assess_any
        self._batch_size = batch_size
        self._workers = workers
        self._reading = Reading(inspector.card.preprocessing, keep_tags)
        self._recording = Recording(self.folder)
        if maps != "none":
            import_module("cxrlens.inspection.contours")  # takes long; processes that are forked from this one have it
        self._unseen: dict[str, ReadImage] = {}  # by content
        self._duplicates: list[tuple[str, str]] = []  # names and contents of which one is unseen
        self._rows: list[ScreenedImage] = []
        self._under_way: set[str] = set()  # contents whose results are being written
        self._writing: Future[None] | None = None

    def run(self, files: Iterable[Path], done: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Screen the files; yields after each that was looked at, and once when all results are written.

        Left earlier, it loses no more than the batch that is not full, which the next run makes again.

        Args:
            done: called after each file.
        """
        with Readers(self._reading, self._recording, workers=self._workers) as readers, ThreadPoolExecutor(1) as thread:
            try:
                for image in read_images(readers, self._tasks(files), ahead=self._batch_size):
                    self._take(image)
                    if len(self._unseen) == self._batch_size:
                        self._write(self._taken(), readers, thread)
                    elif len(self._rows) >= _WAITING:
                        self._write([], readers, thread)
                    done()
                    yield
                self._write(self._taken(), readers, thread)
            finally:
                self._settle()
        yield

    def _tasks(self, files: Iterable[Path]) -> Iterator[ImageToRead]:
        for path in files:
            name = name_of(path, self.root)
            known = self.store.results.of_name(name)
            if known is None:
                yield ImageToRead(FileOrigin(path), name)
            else:
                yield ImageToRead(FileOrigin(path), name, known.key, again=bool(self._gone(known)))

    def _gone(self, image: ScreenedImage) -> list[str]:
        """What of the preview and the map of a result has been deleted since."""
        files = {"picture": image.picture, "map": image.map}
        return [name for name, file in files.items() if file and not (self.folder.path / file).is_file()]

    def _remake(self, known: ScreenedImage, image: ReadImage) -> None:
        """Make the preview and the map of a result again where they are gone; the result stays."""
        gone = self._gone(known)
        if "picture" in gone:
            self._recording.write_picture(image)
        if "map" in gone and image.grey is not None:
            sizes = [(image.height, image.width)]
            (result,) = self.inspector.inspect(
                image.grey[None], sizes, maps="all", remarks=[image.remarks], assess_any=self._assess_any
            )
            self.computed += 1
            if result.map:
                self._recording.write_map(known.key, result.map)
        self.remade += len(gone)

    def _take(self, image: ReadImage) -> None:
        is_gone = not image.key and not image.task.origin.exists()
        if image.is_known or (image.task.key and is_gone):  # a file that has gone keeps its row
            return
        if image.grey is None and image.key and image.key == image.task.key:  # read for its preview alone, in vain
            return
        if image.grey is None:
            self._rows.append(
                ScreenedImage(name=image.task.name, key=image.key, status="unreadable", reason=image.reason)
            )
        elif image.key in self._unseen:
            self._duplicates.append((image.task.name, image.key))
        elif known := self._result_of(image.key):
            self._remake(known, image)
            self._rows.append(_renamed(known, image.task.name))
        else:
            self._unseen[image.key] = image

    def _result_of(self, key: str) -> ScreenedImage | None:
        """The result of a content, also of one that is about to be written."""
        if key in self._under_way:
            self._settle()
        return self.store.results.of_content(key)

    def _taken(self) -> list[ReadImage]:
        """The images that wait for the network, which wait no more."""
        taken, self._unseen = list(self._unseen.values()), {}
        return taken

    def _write(self, images: list[ReadImage], readers: ImageReaders, thread: ThreadPoolExecutor) -> None:
        """Inspect images, and have all results written; that is done beside what comes next, a batch at a time."""
        results = self._inspected(images)
        try:
            self._settle()
        finally:  # what was computed is handed over, also where the store has failed
            self._under_way = {image.key for image in images}
            duplicates = [(name, key) for name, key in self._duplicates if key in self._under_way]
            self._writing = thread.submit(self._append, readers, self._rows, results, duplicates)
            self._rows = []
            self._duplicates = [duplicate for duplicate in self._duplicates if duplicate not in duplicates]

    def _settle(self) -> None:
        """Wait until all that was handed over is in the store.

        Raises:
            Exception: whatever writing raised.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
        self._under_way = set()

    def _append(
        self,
        readers: ImageReaders,
        rows: list[ScreenedImage],
        results: list[ResultToRecord],
        duplicates: list[tuple[str, str]],
    ) -> None:
        """Make the records of results, and append all rows."""
        inspected = {image.key: image for image in readers.done(self._recording, results)}
        rows = [*rows, *inspected.values(), *(_renamed(inspected[key], name) for name, key in duplicates)]
        if rows:
            self.store.add(rows)
            self.appended = True

    def _inspected(self, images: list[ReadImage]) -> list[ResultToRecord]:
        if not images:
            return []
        grey = np.stack([image.grey for image in images if image.grey is not None])
        results = self.inspector.inspect(
            grey,
            [(image.height, image.width) for image in images],
            maps=self._maps,
            remarks=[image.remarks for image in images],
            assess_any=self._assess_any,
        )
        self.computed += len(images)
        return [ResultToRecord.of(image, result) for image, result in zip(images, results, strict=True)]


def _renamed(image: ScreenedImage, name: str) -> ScreenedImage:
    return image.model_copy(update={"name": name})
