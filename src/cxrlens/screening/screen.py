"""From files to results, as they come: read in processes, seen in batches, written down batch by batch.

The thread that feeds the network does nothing else that takes time: outlines and files of a batch are made by the
engine's processes, and it is put into the store by a thread, while the next one is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from cxrlens.inputs.origin import Origin
from cxrlens.screening.engine import Engine, EngineAtWork
from cxrlens.screening.reading import ImageToRead, ReadImage
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.recording import Recording
from cxrlens.screening.roots import Root, named
from cxrlens.screening.store.store import Store

_WAITING = 256
"""Rows that need no network and may wait to be written together."""


class Screening:
    """Screens files into a folder, whose results it goes on with.

    Args:
        store: where results go.
        root: what names are relative to.
        engine: reads the files, and makes the results.

    Attributes:
        computed: images that the network has seen.
        remade: previews and maps of earlier results that were gone and were made again.
        appended: True from the first result on after it was last set to False.
    """

    def __init__(self, store: Store, root: Root, engine: Engine) -> None:
        self.store = store
        self.folder = store.folder
        self.root = root
        self.engine = engine
        self.computed = 0
        self.remade = 0
        self.appended = False
        self._recording = Recording(self.folder)
        self._unseen: dict[str, ReadImage] = {}  # by content
        self._duplicates: list[tuple[str, str]] = []  # names and contents of which one is unseen
        self._rows: list[ScreenedImage] = []
        self._states: dict[str, str] = {}  # of files whose results wait, or are unseen, by name
        self._noted: dict[str, str] = {}  # of files whose results are in the store
        self._under_way: set[str] = set()  # contents whose results are being written
        self._writing: Future[None] | None = None
        self._work: EngineAtWork[Any] | None = None

    def run(
        self,
        files: Iterable[Path | Origin],
        done: Callable[[], None] = lambda: None,
        *,
        work: EngineAtWork[Any] | None = None,
    ) -> Iterator[None]:
        """Screen the files; yields after each that was looked at, and once when all results are written.

        Left earlier, it loses no more than the batch that is not full, which the next run makes again.

        Args:
            done: called after each file.
            work: the engine at work on this store, for several runs; by default at work for this one.
        """
        at_work = self.engine.at_work(self.store) if work is None else nullcontext(work)
        with at_work as self._work, ThreadPoolExecutor(1) as thread:
            try:
                for image in self._work.read(self._tasks(files, done)):
                    self._take(image)
                    if len(self._unseen) == self.engine.batch_size:
                        self._write(self._taken(), thread)
                    elif len(self._rows) + len(self._noted) >= _WAITING:
                        self._write([], thread)
                    done()
                    yield
                self._write(self._taken(), thread)
            finally:
                self._settle()
        yield

    def _tasks(self, files: Iterable[Path | Origin], done: Callable[[], None]) -> Iterator[ImageToRead]:
        """What is to be read: images that are as they were when their results were made are done."""
        for file in files:
            origin, name = named(file, self.root)
            known = self.store.results.known(name)
            if known is None:
                yield ImageToRead(origin, name)
                continue
            image, state = known
            gone = bool(self._gone(image))
            if state and not gone and (now := origin.state()) is not None and now.text == state:
                done()
            else:
                yield ImageToRead(origin, name, image.key, gone, state)

    def _gone(self, image: ScreenedImage) -> list[str]:
        """What of the preview and the map of a result has been deleted since."""
        files = {"picture": image.picture, "map": image.map}
        return [name for name, file in files.items() if file and not (self.folder.path / file).is_file()]

    def _remake(self, known: ScreenedImage, image: ReadImage) -> None:
        """Make the preview and the map of a result again where they are gone; the result stays."""
        gone = self._gone(known)
        if not gone:
            return
        assert self._work is not None
        picture, map_ = self._work.files(image, with_map="map" in gone)
        if "picture" in gone and picture:
            self._recording.write_picture(known.key, picture)
        if "map" in gone:
            self.computed += 1
            if map_:
                self._recording.write_map(known.key, map_)
        self.remade += len(gone)

    def _take(self, image: ReadImage) -> None:
        is_gone = not image.key and not image.task.origin.exists()
        if image.is_known and image.state not in ("", image.task.state):
            self._noted[image.task.name] = image.state
        if image.is_known or (image.task.key and is_gone):  # a file that has gone keeps its row
            return
        if not image.is_read and image.key and image.key == image.task.key:  # read for its preview alone, in vain
            return
        self._states[image.task.name] = image.state
        if not image.is_read:
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

    def _write(self, images: list[ReadImage], thread: ThreadPoolExecutor) -> None:
        """Inspect images, and have all results written; that is done beside what comes next, a batch at a time."""
        seen = self._inspected(images)
        try:
            self._settle()
        finally:  # what was computed is handed over, also where the store has failed
            self._under_way = {image.key for image in images}
            duplicates = [(name, key) for name, key in self._duplicates if key in self._under_way]
            self._writing = thread.submit(self._append, self._rows, seen, duplicates, self._noted)
            self._rows, self._noted = [], {}
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
        self, rows: list[ScreenedImage], seen: list[Any], duplicates: list[tuple[str, str]], noted: dict[str, str]
    ) -> None:
        """Have the records of results made, and append all rows."""
        assert self._work is not None
        inspected = {image.key: image for image in self._work.record(seen)}
        rows = [*rows, *inspected.values(), *(_renamed(inspected[key], name) for name, key in duplicates)]
        states = {row.name: self._states.pop(row.name, "") for row in rows}
        if rows:
            self.store.add(rows, states)
            self.appended = True
        self.store.results.note(noted)

    def _inspected(self, images: list[ReadImage]) -> list[Any]:
        """What the engine gives for images that were read."""
        if not images:
            return []
        assert self._work is not None
        seen = self._work.inspect(images)
        self.computed += len(images)
        return seen


def _renamed(image: ScreenedImage, name: str) -> ScreenedImage:
    return image.model_copy(update={"name": name})
