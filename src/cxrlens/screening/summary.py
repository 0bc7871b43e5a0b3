"""Worklist, page and DICOM results of all that a screening has seen so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice

from cxrlens.screening.dicom_results import ScreenedDicomResults
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.screen import Screening
from cxrlens.screening.settings import ScreeningSettings
from cxrlens.screening.worklist import RankedWorklist, write_worklist

_EVERY = 30.0
"""Least seconds between two worklists while a folder is watched."""

_SHARE = 20
"""A watched folder's worklist is written again after so many times as long as it took."""


def write_summary(
    screening: Screening,
    settings: ScreeningSettings,
    results: ScreenedDicomResults | None = None,
    written: Callable[[ScreenedFolder], None] = lambda folder: None,
) -> RankedWorklist:
    """Write the worklist and the page of all results so far, and the DICOM results that are missing.

    Args:
        written: is called then.
    """
    screening.appended = False  # what comes meanwhile counts
    worklist = write_worklist(screening.store, screening.root, keep_tags=settings.keep_tags)
    _write_page(screening, worklist)
    if results:
        results.add_screened(screening.folder, screening.root, worklist.images())
    written(screening.folder)
    return worklist


class PacedSummaries:
    """The summaries of a screening that goes on: written every now and then, and less often when they are large."""

    def __init__(
        self,
        screening: Screening,
        settings: ScreeningSettings,
        results: ScreenedDicomResults | None = None,
        written: Callable[[ScreenedFolder], None] = lambda folder: None,
    ) -> None:
        self._screening = screening
        self._settings = settings
        self._results = results
        self._written = written
        self._next = 0.0

    def write_when_due(self) -> None:
        """Write them where there is something new, and the last ones are old enough."""
        if not self._screening.appended or time.monotonic() < self._next:
            return
        began = time.monotonic()
        write_summary(self._screening, self._settings, self._results, self._written)
        now = time.monotonic()
        self._next = now + max(_EVERY, _SHARE * (now - began))


def _write_page(screening: Screening, worklist: RankedWorklist) -> None:
    from cxrlens.screening.page import PAGE_IMAGES, PAGE_PICTURES, page_title, write_worklist_page

    images = [
        image if place < PAGE_PICTURES else image.model_copy(update={"contours": ()})
        for place, image in enumerate(islice(worklist.images(), PAGE_IMAGES))
    ]
    title = page_title(screening.root)
    write_worklist_page(screening.folder, images, title=title, total=worklist.counts.images)
