"""The job behind ``cxrlens screen``."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Literal

from cxrlens.dicom_out import require_highdicom
from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.inputs.names import text_of
from cxrlens.inspection.inspector import Inspector
from cxrlens.inspection.model_facts import ModelFacts
from cxrlens.models.calibration import Calibration
from cxrlens.models.location import model_path
from cxrlens.models.onnx_sessions import GraphRuntime, Runtime, runtime_of
from cxrlens.outputs import check_kinds, claimed, is_screened, remove_partials
from cxrlens.screening.dicom_results import ScreenedDicomResults
from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.reasons import read_reasons
from cxrlens.screening.screen import Screening
from cxrlens.screening.sources import Sources
from cxrlens.screening.store import postgresql
from cxrlens.screening.store.postgresql import Server
from cxrlens.screening.store.store import Store
from cxrlens.screening.tags import in_words
from cxrlens.screening.watching import Watch
from cxrlens.screening.worklist import RankedWorklist, write_worklist

log = logging.getLogger(__name__)

_EVERY = 30.0
"""Least seconds between two worklists while a folder is watched."""

_CLEARED = {
    "pictures": r"[0-9a-f]{64}\.jpg",
    "maps": r"[0-9a-f]{64}\.png",
    "report_files": r"[0-9a-f]{64}\.js",
    "dicom": r"[0-9a-f]{64}\.s[rc]\.dcm|left_out\.txt",
}
"""Folders of a screened folder, and which of the files in them are its own: named by their image's content."""

_OWN_NAMES = {
    "screening.json", "calibration.json", "reasons.json", "store.sqlite", "results.jsonl", "unstored.jsonl",
    "worklist.csv", "report.html", "unreadable.txt", *_CLEARED
}  # fmt: skip

_SHARE = 20
"""A watched folder's worklist is written again after so many times as long as it took."""


@dataclass(frozen=True)
class ScreeningSettings:
    """The settings of a screening.

    Attributes:
        model: model file or run folder.
        maps: for which images maps are made.
        method: id of the maps; by default NormGrad conv1x1, or what an ONNX model gives.
        layers: of the maps; by default combined, which lie on objects far more often than those of the last layer
            (docs/results.md), or what an ONNX model gives.
        grid: of the maps' resize, see `MapResize`; by default its own, or what an ONNX model gives; likewise
            ``interpolation``.
        flip: average with the map of the mirrored image.
        keep_tags: the tags of the files' headers that the records keep, see `TAGS`.
        assess_any: judge images that surely are no frontal chest radiographs, too.
        runtime: what runs the network; by default what the model's file is for.
        precision: in which it multiplies, see `load` and `open_session`.
        batch_size: images per pass; a run that goes on with that of its beginning gives the very same digits.
        workers: processes that read, draw outlines and write pictures.
        device: see `cxrlens.devices.resolve_device`.
        seed: of methods that draw random numbers.
    """

    model: Path
    maps: Literal["all", "flagged", "none"] = "flagged"
    method: str | None = None
    layers: str | None = None
    grid: str | None = None
    interpolation: str | None = None
    flip: bool = False
    keep_tags: tuple[str, ...] = ()
    assess_any: bool = False
    runtime: Runtime | None = None
    precision: str = "f32"
    batch_size: int = 8
    workers: int = 0
    device: str = "auto"
    seed: int = 0


@dataclass(frozen=True)
class Progress:
    """The progress of a screening.

    Attributes:
        done: files that were looked at, those of an earlier run among them.
        total: files there are; None while that is not known.
        rate: images a second that the network has seen so far.
        seconds_left: None while that is not known.
    """

    done: int
    total: int | None
    rate: float
    seconds_left: float | None


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
    sources: Sources,
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

    Raises:
        UsageError: when model, sources, database or ``out`` cannot be used, or ``out`` was begun with other settings.
        StoreError: when the store fails in the middle; the next run goes on with all that was computed.
        NothingToDoError: when there is no image, and there was none before.
    """
    began = time.monotonic()
    if out.resolve() in {folder.resolve() for folder in sources.folders}:
        raise UsageError(f"{out}: is the folder of the images; give another folder for the results")
    stop = stop or threading.Event()
    chosen = None if reasons is None else read_reasons(reasons)
    server = None if database is None else postgresql.reached(database)
    file = model_path(settings.model)
    inspector = open_inspector(settings)
    if dicom:
        require_highdicom()
    if needs_triage and inspector.card.calibration is None:
        raise UsageError(
            f"{file}: is not calibrated and suggests no retakes; calibrate it with 'cxrlens calibrate', "
            "or ask for --fail-on affected"
        )
    folder = ScreenedFolder(out)
    files = sources.files() if watch is None else iter(())
    first = list(islice(files, 1))
    if not first and watch is None and not is_screened(out):
        raise _no_images(sources)
    with (
        claimed(out, "screening", "an --out"),
        _begin(folder, _info(inspector, sources, settings), inspector.card.calibration, server, force=force) as store,
    ):
        if chosen is not None:
            folder.keep_reasons(chosen)
        folder.reasons()
        results = ScreenedDicomResults(out, folder.info().model_facts(), workers=settings.workers) if dicom else None
        screening = Screening(
            store,
            sources.root,
            inspector,
            maps=settings.maps,
            keep_tags=settings.keep_tags,
            assess_any=settings.assess_any,
            batch_size=settings.batch_size,
            workers=settings.workers,
        )
        if watch is None:
            total = None if sources.from_stdin or not progress else _Count(sources)
            report = _Reporter(screening, progress, total)
            for _ in screening.run(chain(first, files), report):
                if stop.is_set():
                    break
        else:
            _follow(screening, Watch(sources, watch), settings, stop, _Reporter(screening, progress), results)
        worklist = _write_summary(screening, settings, results)
        if screening.remade:
            log.info("%d previews and maps of earlier results were gone, and were made again", screening.remade)
        if results:
            results.report()
    if not worklist.counts.images and watch is None:
        raise _no_images(sources)
    return ScreenResult(folder, worklist.counts.as_dict(), screening.computed, time.monotonic() - began)


def _no_images(sources: Sources) -> NothingToDoError:
    return NothingToDoError(f"{sources.root}: no images were found; give a folder that holds some, or files")


def open_inspector(settings: ScreeningSettings) -> Inspector:
    """The model, ready to inspect images.

    Raises:
        UsageError: when the model cannot be used, or the method or layers are unknown.
    """
    runtime = runtime_of(settings.model, settings.runtime)
    if runtime != "torch":
        return _onnx_inspector(settings, runtime)
    from cxrlens.inspection.quality_model import DEFAULT_LAYERS, DEFAULT_METHOD, load
    from cxrlens.inspection.torch_inspector import TorchInspector
    from cxrlens.saliency.explain import make_row
    from cxrlens.saliency.fusion import Fusion
    from cxrlens.saliency.resizing import DEFAULT_RESIZE, MapResize

    model = load(settings.model, device=settings.device, precision=settings.precision)
    row = None
    if settings.maps != "none":
        row = make_row(settings.method or DEFAULT_METHOD, settings.layers or DEFAULT_LAYERS)
    resize = MapResize(settings.grid or DEFAULT_RESIZE.grid, settings.interpolation or DEFAULT_RESIZE.interpolation)
    fusion = Fusion(resize=resize, flip=settings.flip)
    model.check_rows([row] if row else [], fusion)
    return TorchInspector(model, row, fusion, seed=settings.seed)


def _onnx_inspector(settings: ScreeningSettings, runtime: GraphRuntime) -> Inspector:
    from cxrlens.inspection.onnx_inspector import load_onnx

    inspector = load_onnx(
        model_path(settings.model),
        method=settings.method,
        with_maps=settings.maps != "none",
        runtime=runtime,
        precision=settings.precision,
        device=settings.device,
    )
    info = inspector.model.info
    if settings.layers not in (None, info.layers):
        raise UsageError(
            f"{settings.model}: gives maps at the layers '{info.layers}' alone; leave --layers out, or export the "
            f"model with --layers {settings.layers}"
        )
    if settings.grid not in (None, info.grid) or settings.interpolation not in (None, info.interpolation):
        raise UsageError(
            f"{settings.model}: gives maps resized by {info.grid} {info.interpolation} alone; leave --grid, "
            "--interpolation and --published-grid out, or export the model with them"
        )
    if settings.flip:
        raise UsageError(
            f"{settings.model}: gives no maps of mirrored images; leave --flip out, or give the model file for torch"
        )
    return inspector


def _info(inspector: Inspector, sources: Sources, settings: ScreeningSettings) -> ScreeningInfo:
    return ScreeningInfo.of(
        ModelFacts.now(
            inspector.identity,
            inspector.card,
            method=inspector.method,
            layers=inspector.layers,
            precision=inspector.precision,
        ),
        root=text_of(sources.root),
        maps=settings.maps,
        **asdict(inspector.resize),
        runtime=inspector.name,
        seed=settings.seed,
        keep_tags=settings.keep_tags,
        assess_any=settings.assess_any,
    )


def _begin(
    folder: ScreenedFolder,
    info: ScreeningInfo,
    calibration: Calibration | None,
    server: Server | None,
    *,
    force: bool,
) -> Store:
    """Make the folder ready to be gone on with, and open its store."""
    check_kinds(folder.path, _OWN_NAMES)
    was_screened = is_screened(folder.path)
    if was_screened and not force:
        _check_same(folder, info)
        store = Store(folder, server, keep_connections=True)
        _remove_partials(folder)
    elif was_screened:
        store = _begin_anew(folder, server)
        folder.write_info(info.model_copy(update={"database": folder.database()}))
    else:
        _refuse_foreign(folder, force=force)
        folder.write_info(info)
        store = Store(folder, server, keep_connections=True)
    folder.write_calibration(calibration)
    store.go_on()
    return store


def _refuse_foreign(folder: ScreenedFolder, *, force: bool) -> None:
    """A folder that holds something is taken where that was asked for, and no file in it would be replaced."""
    there = {entry.name for entry in folder.path.iterdir()}
    if foreign := sorted(there & _OWN_NAMES):
        raise UsageError(
            f"{folder.path / foreign[0]}: is there already, and not of a screening; move it away, or give another --out"
        )
    if not force and any(not name.startswith(".") for name in there):
        raise UsageError(f"{folder.path}: already exists and is not empty; give another name or --force")


def _begin_anew(folder: ScreenedFolder, server: Server | None) -> Store:
    """Open a screened folder's store without results; verdicts stay."""
    store = None
    if folder.database() or (folder.store_file.exists() and not folder.is_of_earlier_version()):
        store = Store(folder, server, keep_connections=True)  # refused, where it must be, before anything is deleted
    for file in (
        folder.committed_file,
        folder.results_file,
        folder.unstored_file,
        folder.worklist_file,
        folder.report_file,
    ):
        file.unlink(missing_ok=True)
    store = store or Store(folder, server, keep_connections=True)
    store.results.clear()
    _remove_partials(folder)
    for name, pattern in _CLEARED.items():  # the results have gone: a kill from here on leaves none without its picture
        place = folder.path / name
        for file in place.iterdir() if place.is_dir() and not place.is_symlink() else ():
            if re.fullmatch(pattern, file.name) and file.is_file():
                file.unlink()
    return store


def _remove_partials(folder: ScreenedFolder) -> None:
    remove_partials(folder.path, _CLEARED)


def _check_same(folder: ScreenedFolder, info: ScreeningInfo) -> None:
    before = folder.info()
    differs = []
    if before.model_sha256 != info.model_sha256:
        same_name = before.model == info.model
        differs.append("content of the model file" if same_name else f"model ({before.model}, not {info.model})")
    for name, what in (("root", "folder"), ("maps", "--maps"), ("method", "--method"), ("layers", "--layers"),
                       ("grid", "--grid"), ("interpolation", "--interpolation"), ("flip", "--flip"),
                       ("runtime", "--runtime"), ("precision", "--precision"),
                       ("seed", "--seed"), ("keep_tags", "--keep-tags"), ("assess_any", "--assess-any")):  # fmt: skip
        old, new = getattr(before, name), getattr(info, name)
        if name == "keep_tags":
            old, new = in_words(old), in_words(new)
        if old != new:
            differs.append(f"{what} ({old or 'none'}, not {new or 'none'})")
    if differs:
        raise UsageError(
            f"{folder.path}: was screened with another {', '.join(differs)}; "
            "give what it began with or another --out, or begin anew with --force"
        )


def _follow(
    screening: Screening,
    watch: Watch,
    settings: ScreeningSettings,
    stop: threading.Event,
    report: _Reporter,
    results: ScreenedDicomResults | None,
) -> None:
    """Screen what comes until told to stop, and write the worklist every now and then."""
    next_summary, failures = 0.0, list[str]()
    while not stop.is_set():
        for _ in screening.run(watch.poll(), report):
            if stop.is_set():
                break
            if screening.appended and time.monotonic() >= next_summary:
                began = time.monotonic()
                _write_summary(screening, settings, results)
                now = time.monotonic()
                next_summary = now + max(_EVERY, _SHARE * (now - began))
        for failure in watch.failures:
            if failure not in failures:
                log.warning("%s; it is looked for again", failure)
        failures = watch.failures
        stop.wait(watch.interval)


def _write_summary(
    screening: Screening, settings: ScreeningSettings, results: ScreenedDicomResults | None
) -> RankedWorklist:
    screening.appended = False  # what comes meanwhile counts
    worklist = write_worklist(screening.store, screening.root, keep_tags=settings.keep_tags)
    _write_page(screening, worklist)
    if results:
        results.add_screened(screening.folder, screening.root, worklist.images())
    return worklist


def _write_page(screening: Screening, worklist: RankedWorklist) -> None:
    from cxrlens.screening.page import PAGE_PICTURES, page_title, write_worklist_page

    images = [
        image if place < PAGE_PICTURES else image.model_copy(update={"contours": ()})
        for place, image in enumerate(worklist.images())
    ]
    write_worklist_page(screening.folder, images, title=page_title(screening.root))


class _Count:
    """The number of files, counted beside the work."""

    def __init__(self, sources: Sources) -> None:
        self.total: int | None = None
        self._sources = sources
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        try:
            self.total = sum(1 for _ in self._sources.files())
        except UsageError:  # the screening itself tells
            self.total = None


class _Reporter:
    def __init__(
        self, screening: Screening, progress: Callable[[Progress], None] | None, count: _Count | None = None
    ) -> None:
        self._screening = screening
        self._progress = progress
        self._count = count
        self._done = 0
        self._began = time.monotonic()

    def __call__(self) -> None:
        self._done += 1
        if not self._progress:
            return
        seconds = max(time.monotonic() - self._began, 1e-9)
        total = self._count.total if self._count else None
        left = None if total is None else max(total - self._done, 0) * seconds / self._done
        self._progress(Progress(self._done, total, self._screening.computed / seconds, left))
