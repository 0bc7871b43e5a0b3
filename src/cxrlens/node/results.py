"""From a screened image to the DICOM results that are sent on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydicom import dcmread

from cxrlens.delivery.outbox import Outbox
from cxrlens.dicom_out import files_of, paths_of
from cxrlens.dicom_out.results import FOLDER
from cxrlens.inputs.reading import Unreadable, attempt
from cxrlens.inspection.model_facts import ModelFacts
from cxrlens.node.counts import Counts
from cxrlens.screening.dicom_results import DicomTask, DicomWriting
from cxrlens.screening.reading import ImageReaders
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.roots import named
from cxrlens.screening.screen import Screening

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What came of an image.

    Attributes:
        file: in the spool.
        image: its newest result; None where the run was stopped before it.
    """

    file: Path
    image: ScreenedImage | None

    @property
    def is_final(self) -> bool:
        """False where the image is to be screened once more: not yet, or its content could not be read this time."""
        return self.image is not None and bool(self.image.key)


class Results:
    """Hands the results of images to the outbox.

    Args:
        destinations: names of those that get them; without any, no DICOM results are made.
    """

    def __init__(
        self, screening: Screening, model: ModelFacts, outbox: Outbox, destinations: Sequence[str], counts: Counts
    ) -> None:
        self._screening = screening
        self._folder = screening.folder.path / FOLDER
        self._outbox = outbox
        self._destinations = destinations
        self._counts = counts
        self.writing = partial(attempt, DicomWriting(model, self._folder))
        """To be given to the processes that write them."""

    def hand_over(self, files: Sequence[Path], readers: ImageReaders) -> list[Path]:
        """Write the DICOM results of images that were screened, and have them delivered.

        Done twice, it leaves the same.

        Returns:
            The images with which nothing is left to be done.
        """
        outcomes = [Outcome(file, self._newest(file)) for file in files]
        tasks = [self._task(each.file, each.image) for each in outcomes if each.image and self._has_results(each.image)]
        if self._destinations:
            done = readers.done(self.writing, tasks)
            for task, outcome in zip(tasks, done, strict=True):
                if isinstance(outcome, Unreadable) or outcome.reason or outcome.is_other:
                    self._counts.add("left_out")
                    log.warning("no DICOM results: %s", outcome.reason or f"{task.image.name}: is no DICOM file")
                else:
                    self._put(task.image)
        for each in outcomes:
            if each.image is not None:
                self._tell(each.image)
        return [each.file for each in outcomes if each.is_final]

    def _newest(self, file: Path) -> ScreenedImage | None:
        _, name = named(file, self._screening.root)
        return next(iter(self._screening.store.results.newest(name=name)), None)

    @staticmethod
    def _has_results(image: ScreenedImage) -> bool:
        return image.status == "ok" and image.triage != "not_assessable"

    def _task(self, file: Path, image: ScreenedImage) -> DicomTask:
        map_file = self._screening.folder.map_file(image.key) if image.map else None
        return DicomTask(file, image, map_file)

    def _put(self, image: ScreenedImage) -> None:
        stem = self._folder / image.key
        report, _ = paths_of(stem)
        identity = dcmread(report, specific_tags=["SOPInstanceUID"])
        self._outbox.put(str(identity.SOPInstanceUID), files_of(stem), self._destinations)

    def _tell(self, image: ScreenedImage) -> None:
        if image.status == "ok":
            self._counts.add("screened")
            if not self._has_results(image):
                self._counts.add("left_out")
                log.info("%s: not assessable: %s", image.name, image.reason)
        else:
            self._counts.add("unreadable")
            log.warning("%s: %s", image.name, image.reason)
