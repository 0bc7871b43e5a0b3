"""``cxrlens screen``."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cxrlens.cli.console import finish, set_up_logging, show_json, show_lines, stderr, stoppable
from cxrlens.cli.options import (
    AssessAny,
    BatchSize,
    Database,
    Device,
    Dicom,
    Flip,
    Grid,
    Interpolation,
    Json,
    Model,
    Precision,
    PrecisionChoice,
    PublishedGrid,
    ReasonList,
    Runtime,
    Seed,
    Workers,
    named_resize,
    workers_of,
)
from cxrlens.errors import EXIT_GATE, UsageError

if TYPE_CHECKING:
    from cxrlens.screening.run import Progress as Far

_EVERY = 10.0  # seconds between lines where stderr is no terminal


class MapsChoice(StrEnum):
    flagged = "flagged"
    all = "all"
    none = "none"


class FailOnResult(StrEnum):
    retake = "retake"
    affected = "affected"
    remarked = "remarked"
    not_assessable = "not-assessable"


def command(
    sources: Annotated[
        list[str], typer.Argument(help="A folder, searched as a whole; or files; or - for paths on the standard input.")
    ],
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for results; the same command goes on with it.")],
    maps: Annotated[
        MapsChoice, typer.Option(help="Which images get a map: those suggested for a retake or review, all, or none.")
    ] = MapsChoice.flagged,
    method: Annotated[
        str | None,
        typer.Option(help="Method id of the maps; by default normgrad_conv1x1, or an ONNX model's own."),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            help="Of the maps: combined, last (costs nothing, misses objects more often), or a module name; by default "
            "combined, or an ONNX model's own."
        ),
    ] = None,
    grid: Grid = None,
    interpolation: Interpolation = None,
    published_grid: PublishedGrid = False,
    flip: Flip = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the sources until Ctrl-C.")] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two looks, and for which a new file has to stand still.")
    ] = 5.0,
    fail_on: Annotated[
        FailOnResult | None,
        typer.Option(
            help="Exit code 10 when the worklist holds such an image; remarked: its display is in doubt; "
            "not-assessable: it cannot be judged."
        ),
    ] = None,
    keep_tags: Annotated[
        bool, typer.Option("--keep-tags", help="Keep identifiers of patient and study; by default none is.")
    ] = False,
    assess_any: AssessAny = False,
    dicom: Dicom = False,
    reasons: ReasonList = None,
    database: Database = None,
    batch_size: BatchSize = 8,
    seed: Seed = 0,
    force: Annotated[bool, typer.Option("--force", help="Begin anew, whatever is in the output folder.")] = False,
    device: Device = "auto",
    precision: Precision = PrecisionChoice.f32,
    workers: Workers = None,
    runtime: Runtime = None,
    json: Json = False,
) -> None:
    """Screen a folder of radiographs: a worklist of suggested retakes, with pictures, maps and a page to look at."""
    from cxrlens.screening.run import ScreeningSettings, screen
    from cxrlens.screening.sources import take_sources

    set_up_logging()
    taken = take_sources(sources)
    if watch and taken.from_stdin:
        raise UsageError("--watch follows folders and files, not the standard input; give one of them")
    if watch and fail_on:
        raise UsageError("--fail-on asks for a screening that ends; leave it or --watch out")
    named = named_resize(grid, interpolation, published=published_grid)
    settings = ScreeningSettings(
        model=model,
        maps=maps.value,
        method=method,
        layers=layers,
        grid=named[0],
        interpolation=named[1],
        flip=flip,
        keep_tags=keep_tags,
        assess_any=assess_any,
        runtime=runtime.value if runtime else None,
        precision=precision.value,
        batch_size=batch_size,
        workers=workers_of(workers),
        device=device,
        seed=seed,
    )
    stop = threading.Event()
    goes_on = "without --force" if force else ""
    with stoppable(out, goes_on=goes_on), _stopping(stop) if watch else nullcontext(), _shown() as progress:
        result = screen(
            taken,
            out,
            settings,
            force=force,
            dicom=dicom,
            reasons=reasons,
            database=database,
            needs_triage=fail_on is FailOnResult.retake,
            watch=interval if watch else None,
            stop=stop,
            progress=progress,
        )
    files = {name: str(path) for name, path in result.files().items()}
    if json:
        show_json(
            {
                **result.counts,
                "computed": result.computed,
                "seconds": round(result.seconds, 3),
                "files": files,
            }
        )
    else:
        show_lines([_sentence(result.counts), *(f"{name}: {path}" for name, path in files.items())])
    if watch:
        return
    if fail_on and result.counts[fail_on.name]:
        raise typer.Exit(EXIT_GATE)
    finish([""] * result.counts["unreadable"])


def _sentence(counts: dict[str, int]) -> str:
    triaged = counts["retake"] + counts["review"] + counts["pass"]
    names = {"retake": "suggested retakes", "review": "to review", "pass": "pass"} if triaged else {
        "affected": "affected", "normal": "normal"
    }  # fmt: skip
    parts = [f"{counts[name]} {words}" for name, words in names.items()]
    unjudged = f", {counts['not_assessable']} not assessable" if counts["not_assessable"] else ""
    remarked = f"; {counts['remarked']} with doubtful display" if counts["remarked"] else ""
    return f"{counts['images']} images: {', '.join(parts)}{unjudged}, {counts['unreadable']} unreadable{remarked}"


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C, and a service manager's request, ask for an end; a second Ctrl-C enforces it."""

    def asked(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT])
            signal.raise_signal(number)
        stop.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is asked:
                signal.signal(number, handler)


@contextmanager
def _shown() -> Iterator[Callable[[Far], None]]:
    """A line on stderr: a bar on a terminal, else a sentence every few seconds."""
    if not stderr.is_terminal:
        yield _lines()
        return
    columns = (TextColumn("screening"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task("", total=None, pace="")
        yield lambda far: bar.update(task, completed=far.done, total=far.total, pace=_pace(far))


def _lines() -> Callable[[Far], None]:
    shown = time.monotonic()

    def show(far: Far) -> None:
        nonlocal shown
        if time.monotonic() - shown < _EVERY:
            return
        shown = time.monotonic()
        stderr.print(f"{far.done}{f' of {far.total}' if far.total else ''} files, {_pace(far)}", highlight=False)

    return show


def _pace(far: Far) -> str:
    left = far.seconds_left
    return f"{far.rate:.1f} images/s" + ("" if left is None else f", {_clock(left)} left")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
