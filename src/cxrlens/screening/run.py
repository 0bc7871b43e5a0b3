"""The job behind ``cxrlens screen``."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from cxrlens.dicom_out import require_highdicom
from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.inputs.origin import Origin
from cxrlens.models.location import model_path
from cxrlens.outputs import is_screened
from cxrlens.screening.beginning import opened_screening
from cxrlens.screening.dicom_results import ScreenedDicomResults
from cxrlens.screening.engines import open_engine
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.progress import Counting, Progress, Reporter
from cxrlens.screening.reasons import read_reasons
from cxrlens.screening.remote.followed import Followed
from cxrlens.screening.remote.sources import RemoteSources, RemoteWatch
from cxrlens.screening.screen import Screening
from cxrlens.screening.settings import ScreeningSettings
from cxrlens.screening.sources import Sources
from cxrlens.screening.store import postgresql
from cxrlens.screening.summary import PacedSummaries, write_summary
from cxrlens.screening.watching import Watch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScreenResult:
    """The result of a screening.

    Attributes:
        folder: where its files are.
        counts: of the whole worklist: images, pass, review, retake, affected, normal,
            not_assessable, unreadable, remarked.
        computed: images that the network has seen in this run.
        seconds: that this run took.
    """

    folder: ScreenedFolder
    counts: dict[str, int]
    computed: int
    seconds: float

    def files(self) -> dict[str, Path]:
        """The files to look at, by what they are."""
        folder = self.folder
        found = {"worklist": folder.worklist_file, "page": folder.report_file, "results": folder.results_file}
        return found | ({"unreadable": folder.path / "unreadable.txt"} if self.counts["unreadable"] else {})


def screen(
    sources: Sources | RemoteSources,
    out: Path,
    settings: ScreeningSettings,
    *,
    force: bool = False,
    needs_triage: bool = False,
    dicom: bool = False,
    reasons: Path | None = None,
    database: str | None = None,
    watch: float | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[Progress], None] | None = None,
    written: Callable[[ScreenedFolder], None] = lambda folder: None,
) -> ScreenResult:
    """Screen files into ``out``, see docs/screening.md, or go on with a screening that was stopped.

    Args:
        force: begin anew, whatever is in ``out``.
        needs_triage: refuse a model that is not calibrated.
        dicom: write DICOM results too, of an earlier run's images as well; see `ScreenedDicomResults`.
        reasons: a file of reasons for a retake, see `read_reasons`, which the folder keeps.
        database: address of the PostgreSQL database that holds results and verdicts, see `Store`.
        watch: follow the sources and look for new files every so many seconds, until ``stop`` is set.
        stop: ends the screening after the image at hand.
        written: is called whenever worklist, page and DICOM results are written.

    Raises:
        UsageError: when model, sources, database or ``out`` cannot be used, or ``out`` was begun with other settings.
        StoreError: when the store fails in the middle; the next run goes on with all that was computed.
        NothingToDoError: when there is no image, and there was none before.
        ServerLostError: when a server could not be asked for all of its images; what it told of is screened.
    """
    began = time.monotonic()
    if out.resolve() in {folder.resolve() for folder in sources.folders}:
        raise UsageError(f"{out}: is the folder of the images; give another folder for the results")
    stop = stop or threading.Event()
    chosen = None if reasons is None else read_reasons(reasons)
    server = None if database is None else postgresql.reached(database)
    file = model_path(settings.model)
    folder = ScreenedFolder(out)
    with ExitStack() as opened:
        engine = opened.enter_context(open_engine(settings, sources.folders, out))
        if dicom:
            require_highdicom()
        if needs_triage and engine.model.card.calibration is None:
            raise UsageError(
                f"{file}: is not calibrated and suggests no retakes; calibrate it with 'cxrlens calibrate', "
                "or ask for --fail-on affected"
            )
        files: Iterator[Path | Origin] = iter(sources.files() if watch is None else ())
        first = list(islice(files, 1))
        if not first and watch is None and not is_screened(out):
            _raise_if_lost(sources)
            raise _no_images(sources)
        screening = opened.enter_context(
            opened_screening(folder, sources.root, settings, engine, server=server, reasons=chosen, force=force)
        )
        facts = folder.info().model_facts()
        results = ScreenedDicomResults(out, facts, workers=settings.processes()) if dicom else None
        if watch is None:
            total = Counting(sources) if progress and isinstance(sources, Sources) and not sources.from_stdin else None
            report = Reporter(screening, progress, total)
            for _ in screening.run(chain(first, files), report):
                if stop.is_set():
                    break
        else:
            looking = opened.enter_context(_watching(sources, watch, screening))
            _follow(screening, looking, settings, stop, Reporter(screening, progress), results, written)
        worklist = write_summary(screening, settings, results, written)
        if screening.remade:
            log.info("%d previews and maps of earlier results were gone, and were made again", screening.remade)
        if results:
            results.report()
    if watch is None:
        _raise_if_lost(sources)
        if not worklist.counts.images:
            raise _no_images(sources)
    return ScreenResult(folder, worklist.counts.as_dict(), screening.computed, time.monotonic() - began)


def _raise_if_lost(sources: Sources | RemoteSources) -> None:
    if isinstance(sources, RemoteSources):
        sources.raise_if_lost()


def _no_images(sources: Sources | RemoteSources) -> NothingToDoError:
    return NothingToDoError(f"{sources.root}: no images were found; give a folder that holds some, or files")


@contextmanager
def _watching(sources: Sources | RemoteSources, interval: float, screening: Screening) -> Iterator[Watch | RemoteWatch]:
    if isinstance(sources, Sources):
        yield Watch(sources, interval)
        return

    def unread() -> Iterator[str]:
        return (image.name for image in screening.store.results.newest(status="unreadable", key=""))

    with closing(Followed(screening.folder.path)) as followed:
        yield RemoteWatch(sources.source, interval, followed, unread)


def _follow(
    screening: Screening,
    watch: Watch | RemoteWatch,
    settings: ScreeningSettings,
    stop: threading.Event,
    report: Reporter,
    results: ScreenedDicomResults | None,
    written: Callable[[ScreenedFolder], None],
) -> None:
    """Screen what comes until told to stop, and write the worklist every now and then."""
    summaries, failures = PacedSummaries(screening, settings, results, written), list[str]()
    while not stop.is_set():
        for _ in screening.run(watch.poll(), report):
            if stop.is_set():
                break
            summaries.write_when_due()
        else:
            watch.settled()
        for failure in watch.failures:
            if failure not in failures:
                log.warning("%s; it is looked for again", failure)
        failures = watch.failures
        stop.wait(watch.interval)
