"""From files to results, as they come: read in processes, seen in batches, written down batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from cxrlens.files import replacing
from cxrlens.inputs.geometry import Geometry
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.contours import half_maximum_contours
from cxrlens.inspection.reasons import reason_of
from cxrlens.inspection.runtime import Runtime, Seen
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.index import Index
from cxrlens.screening.reading import ImageToRead, ReadImage, Reading, read_images
from cxrlens.screening.record import ScreenedImage, name_of

_WAITING = 256
"""Rows that need no network and may wait to be written together."""


class Screening:
    """Screens files into a folder, whose results it goes on with.

    What is kept in memory of each image is where its result stands in the folder.

    Args:
        folder: where results go; a torn last line has been dropped from them.
        root: what names are relative to.
        runtime: sees the images.
        maps: for which images maps are made.
        method: id of the maps; likewise ``layers``.
        keep_tags: keep patient data in the records.
        batch_size: images per pass.
        workers: processes that read; 0 reads in this one.

    Attributes:
        computed: images that the network has seen.
        appended: whether there are results since this was last set to False.
    """

    def __init__(
        self,
        folder: ScreenedFolder,
        root: Path,
        runtime: Runtime,
        *,
        maps: Literal["all", "flagged", "none"],
        method: str = "",
        layers: str = "",
        keep_tags: bool = False,
        batch_size: int = 8,
        workers: int = 0,
    ) -> None:
        self.folder = folder
        self.root = root
        self.runtime = runtime
        self.computed = 0
        self.appended = False
        self._maps = maps
        self._method, self._layers = method, layers
        self._batch_size = batch_size
        self._workers = workers
        self._reading = Reading(runtime.card.preprocessing, keep_tags)
        self._index = Index(folder)
        self._unseen: dict[str, ReadImage] = {}  # by content
        self._twins: list[tuple[str, str]] = []  # names and contents of which one is unseen
        self._rows: list[ScreenedImage] = []

    def run(self, files: Iterable[Path], done: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Screen the files; yields after each that was looked at, and once when all results are written.

        Left earlier, it loses no more than a batch, which the next run makes again.

        Args:
            done: called after each file.
        """
        for look in read_images(self._reading, self._tasks(files), workers=self._workers):
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

    def _tasks(self, files: Iterable[Path]) -> Iterator[ImageToRead]:
        for path in files:
            name = name_of(path, self.root)
            last = self._index.named(name)
            yield ImageToRead(FileOrigin(path), name, last.key if last and last.status == "ok" else "")

    def _take(self, look: ReadImage) -> None:
        is_gone = not look.key and not look.task.origin.exists()
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

    def _write(self, looks: list[ReadImage]) -> None:
        """Let the network see what waits to be seen, and append all results."""
        seen = {image.key: image for image in self._seen(looks)}
        twins = [(name, key) for name, key in self._twins if key in seen]
        rows = [*self._rows, *seen.values(), *(_renamed(seen[key], name) for name, key in twins)]
        if rows:
            self._index.append(rows)
            self.folder.commit()
            self.appended = True
        self._rows.clear()
        self._twins = [twin for twin in self._twins if twin not in twins]

    def _seen(self, looks: list[ReadImage]) -> list[ScreenedImage]:
        if not looks:
            return []
        grey = np.stack([look.grey for look in looks if look.grey is not None])
        seen = self.runtime.see(grey, [(look.height, look.width) for look in looks], maps=self._maps)
        self.computed += len(looks)
        return [self._result(look, one) for look, one in zip(looks, seen, strict=True)]

    def _result(self, look: ReadImage, seen: Seen) -> ScreenedImage:
        """The record of an image, its picture and map being written."""
        card = self.runtime.card
        picture, map_ = self.folder.picture_file(look.key), self.folder.map_file(look.key)
        with replacing(picture) as partial:
            partial.write_bytes(look.preview)
        there = seen.map is not None
        contours = None
        if seen.map is not None:
            contours = half_maximum_contours(seen.map, _map_geometry(card.preprocessing, look))
            with replacing(map_) as partial:
                levels = np.rint(seen.map * np.float32(255)).astype(np.uint8)
                Image.fromarray(levels).save(partial, "PNG", compress_level=1)
        return ScreenedImage.model_validate(
            {
                "name": look.task.name,
                "key": look.key,
                "reason": reason_of(card, seen.probability),
                "probability": seen.probability,
                "decision": card.decision(seen.probability),
                "triage": card.triage(seen.probability),
                "origin": look.origin,
                "height": look.height,
                "width": look.width,
                "method": self._method if there else "",
                "layers": self._layers if there else "",
                "flat": seen.flat,
                "peak": seen.peak,
                "contours": contours or (),
                "picture": picture.relative_to(self.folder.path).as_posix(),
                "map": map_.relative_to(self.folder.path).as_posix() if there else "",
                "tags": look.tags,
            }
        )


def _map_geometry(preprocessing: Preprocessing, look: ReadImage) -> Geometry:
    return preprocessing.geometry(look.height, look.width).without_padding()


def _renamed(image: ScreenedImage, name: str) -> ScreenedImage:
    return image.model_copy(update={"name": name})
