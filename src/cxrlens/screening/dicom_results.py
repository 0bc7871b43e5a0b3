"""DICOM results of a screened folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cxrlens.dicom_out import paths_of
from cxrlens.dicom_out.results import DicomOutcome, DicomResults, write_outcome
from cxrlens.inputs.origin import Origin
from cxrlens.inputs.reading import read_each
from cxrlens.inspection.map_png import read_map_png
from cxrlens.inspection.model_facts import ModelFacts
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.roots import Root, origin_of


@dataclass(frozen=True)
class DicomTask:
    """An image to write: its file, its result, where its map is."""

    source: Path | Origin
    image: ScreenedImage
    map_file: Path | None

    def __str__(self) -> str:
        return str(self.source)


class ScreenedDicomResults(DicomResults):
    """Writes the DICOM results of a screened folder, whose images need not be in memory.

    Args:
        workers: processes that write; 0 writes in this one.
    """

    def __init__(self, out: Path, model: ModelFacts, *, workers: int = 0) -> None:
        super().__init__(out, model)
        self._workers = workers

    def add_screened(self, screened: ScreenedFolder, root: Root, images: Iterable[ScreenedImage]) -> None:
        """Write what is not there yet, each under the digest of its image's content."""
        for again in self.passing:
            del self.refused[again]
        self.passing.clear()
        tasks = self._missing(screened, root, images)
        for task, outcome in read_each(DicomWriting(self.model, self.folder), tasks, workers=self._workers):
            self.note(task.image, outcome)

    def _missing(self, screened: ScreenedFolder, root: Root, images: Iterable[ScreenedImage]) -> Iterator[DicomTask]:
        begun: set[str] = set()
        gone: dict[str, DicomTask] = {}
        for image in images:
            if image.status != "ok" or (image.name, image.key) in self.refused:
                continue
            if not image.origin.startswith("DICOM"):
                self.others.add(image.name)
            elif image.key not in begun and not all(path.exists() for path in paths_of(self.folder / image.key)):
                map_file = screened.map_file(image.key) if image.map else None
                task = DicomTask(origin_of(image.name, root), image, map_file)
                if task.source.exists():
                    begun.add(image.key)
                    yield task
                else:  # its content may be there under another name
                    gone.setdefault(image.key, task)
        yield from (task for key, task in gone.items() if key not in begun)


@dataclass(frozen=True)
class DicomWriting:
    """Writes results of a screening; picklable, so that it can be sent to processes."""

    model: ModelFacts
    folder: Path

    def __call__(self, task: DicomTask) -> DicomOutcome:
        map_ = read_map_png(task.map_file) if task.map_file else None
        return write_outcome(task.source, task.image, self.model, self.folder / task.image.key, map_, None)
