"""DICOM results beside the other results of ``cxrlens explain`` and ``cxrlens screen``."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cxrlens.dicom_out import NotReferableError, paths_of, require_highdicom, write_dicom
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.readers import Pixels
from cxrlens.inputs.readers.dicom import START, is_dicom
from cxrlens.inputs.reading import Cause, Unreadable, attempt, read_each
from cxrlens.inputs.unreadable import list_unreadable
from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.record import ScreenedImage, path_of

log = logging.getLogger(__name__)

FOLDER = "dicom"

_SHOWN = 5


@dataclass(frozen=True)
class _Task:
    """An image to write: its file, its result, where its map is."""

    source: Path
    image: ScreenedImage
    map_file: Path | None

    def __str__(self) -> str:
        return str(self.source)


@dataclass(frozen=True)
class _Outcome:
    """What came of an image that was read: results, or it is no DICOM file, or the reason why it can have none."""

    is_other: bool = False
    reason: str = ""


class DicomResults:
    """Writes the results of many images, and remembers which images have none and why.

    Args:
        out: the command's output folder; results go to its folder ``dicom``.
        info: which model gave them.
        workers: processes that write a screening's results; 0 writes in this one.

    Attributes:
        written: images whose results were written.
        others: names of images that are no DICOM files.
        refused: why a DICOM image has no result, one sentence each, by its name and the digest of its content.

    Raises:
        UsageError: when highdicom is not installed.
    """

    def __init__(self, out: Path, info: ScreeningInfo, *, workers: int = 0) -> None:
        require_highdicom()
        self.folder = out / FOLDER
        self.info = info
        self.written = 0
        self.others: set[str] = set()
        self.refused: dict[tuple[str, str], str] = {}
        self._later: set[tuple[str, str]] = set()
        self._workers = workers

    def clear(self) -> None:
        """Remove the results of an earlier run."""
        for file in [*self.folder.rglob("*.sr.dcm"), *self.folder.rglob("*.sc.dcm")]:
            file.unlink()

    def add(self, source: Path, image: ScreenedImage, place: Path, map_: Pixels | None, picture: Pixels) -> None:
        """Write ``dicom/PLACE.sr.dcm`` and ``dicom/PLACE.sc.dcm``, see `write_dicom`; or note why not."""
        stem = self.folder / place
        self._note(image, attempt(lambda _: _write(source, image, self.info, stem, map_, picture), source))

    def add_screened(self, screened: ScreenedFolder, root: Path, images: Iterable[ScreenedImage]) -> None:
        """Write what is not there yet of a screening's results, each under the digest of its image's content."""
        for again in self._later:
            del self.refused[again]
        self._later.clear()
        tasks = self._missing(screened, root, images)
        for task, outcome in read_each(_Writing(self.info, self.folder), tasks, workers=self._workers):
            self._note(task.image, outcome)

    def report(self) -> None:
        """Say what was written and what was not; the reasons are listed in ``dicom/left_out.txt``."""
        log.info(
            "images whose DICOM results were written: %d, to %s; they name the patients", self.written, self.folder
        )
        if self.others:
            log.info("images without DICOM results, because they are no DICOM files: %d", len(self.others))
        listed = list_unreadable([*self.refused.values()], self.folder, "left_out.txt")
        if self.refused:
            log.warning("DICOM images without DICOM results: %d; the reasons are in %s", len(self.refused), listed)
            for reason in [*self.refused.values()][:_SHOWN]:
                log.warning("  %s", reason)

    def _missing(self, screened: ScreenedFolder, root: Path, images: Iterable[ScreenedImage]) -> Iterator[_Task]:
        begun: set[str] = set()
        gone: dict[str, _Task] = {}
        for image in images:
            if image.status != "ok" or (image.name, image.key) in self.refused:
                continue
            if not image.origin.startswith("DICOM"):
                self.others.add(image.name)
            elif image.key not in begun and not all(path.exists() for path in paths_of(self.folder / image.key)):
                task = _Task(path_of(image.name, root), image, screened.map_file(image.key) if image.map else None)
                if task.source.exists():
                    begun.add(image.key)
                    yield task
                else:  # its content may be there under another name
                    gone.setdefault(image.key, task)
        yield from (task for key, task in gone.items() if key not in begun)

    def _note(self, image: ScreenedImage, outcome: _Outcome | Unreadable) -> None:
        if outcome.reason:
            self.refused[image.name, image.key] = outcome.reason
            if isinstance(outcome, Unreadable) and outcome.cause is not Cause.LOST:  # it lies in the file's place
                self._later.add((image.name, image.key))
        elif isinstance(outcome, _Outcome) and outcome.is_other:
            self.others.add(image.name)
        else:
            self.written += 1


@dataclass(frozen=True)
class _Writing:
    """Writes results of a screening; picklable, so that it can be sent to processes."""

    info: ScreeningInfo
    folder: Path

    def __call__(self, task: _Task) -> _Outcome:
        map_ = _stored_map(task.map_file) if task.map_file else None
        return _write(task.source, task.image, self.info, self.folder / task.image.key, map_, None)


def _write(
    source: Path, image: ScreenedImage, info: ScreeningInfo, stem: Path, map_: Pixels | None, picture: Pixels | None
) -> _Outcome:
    content = FileOrigin(source).read()
    if not is_dicom(content[:START]):
        return _Outcome(is_other=True)
    try:
        if image.key and hashlib.sha256(content).hexdigest() != image.key:
            raise NotReferableError(f"{image.name}: the file is not the one that was screened; screen it again")
        write_dicom(content, image, info, stem, map_=map_, picture=picture)
    except NotReferableError as error:
        return _Outcome(reason=str(error))
    return _Outcome()


def _stored_map(file: Path) -> Pixels:
    with Image.open(file) as image:
        return np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255)
