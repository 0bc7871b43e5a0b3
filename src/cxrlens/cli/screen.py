"""``cxrlens screen``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cxrlens.cli.console import finish, say_line, set_up_logging, show_json, show_lines, stderr, stoppable
from cxrlens.cli.interrupts import stopping
from cxrlens.cli.options import (
    Address,
    AssessAny,
    BatchSize,
    Database,
    Device,
    Dicom,
    EngineChoice,
    EngineOption,
    Flip,
    Grid,
    Interpolation,
    Json,
    KeepTags,
    Model,
    Precision,
    PrecisionChoice,
    PublishedGrid,
    RayWorkers,
    ReasonList,
    Runtime,
    Seed,
    Workers,
    named_resize,
)
from cxrlens.cli.progress_lines import clock, progress_lines
from cxrlens.errors import EXIT_GATE, UsageError

if TYPE_CHECKING:
    from cxrlens.screening.progress import Progress as Far


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
        list[str],
        typer.Argument(
            help="A folder, searched as a whole; or files; or - for paths on the standard input; or an address: "
            "dicomweb://HOST/PATH?date=20260131, orthanc://HOST, s3://BUCKET/FOLDER and others (docs/remote.md)."
        ),
    ],
    model: Model,
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", help="Folder for results, or the address of one; the same command goes on with it."
        ),
    ],
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
    keep_tags: KeepTags = None,
    assess_any: AssessAny = False,
    dicom: Dicom = False,
    send: Annotated[
        list[str] | None,
        typer.Option(
            help="Send DICOM results there: https://HOST/PATH (STOW-RS), dicom://AETITLE@HOST:PORT, or "
            "dicoms:// with TLS; repeat it for several. Implies --dicom."
        ),
    ] = None,
    credentials: Annotated[
        Path | None,
        typer.Option(
            help="File of users and passwords of servers, in the form of netrc, readable by you alone; by default "
            "$CXRLENS_PACS_CREDENTIALS.",
        ),
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="Certificates of the authorities that are trusted (PEM), with HTTPS and TLS.")
    ] = None,
    work_folder: Annotated[
        Path | None, typer.Option(help="Where results are worked out before they are published at the --out address.")
    ] = None,
    reasons: ReasonList = None,
    database: Database = None,
    batch_size: BatchSize = 8,
    seed: Seed = 0,
    force: Annotated[bool, typer.Option("--force", help="Begin anew, whatever is in the output folder.")] = False,
    device: Device = "auto",
    precision: Precision = PrecisionChoice.f32,
    workers: Workers = None,
    runtime: Runtime = None,
    engine: EngineOption = EngineChoice.local,
    address: Address = None,
    ray_workers: RayWorkers = None,
    json: Json = False,
) -> None:
    """Screen a folder of radiographs: a worklist of suggested retakes, with pictures, maps and a page to look at."""
    from cxrlens.api.screening import screen
    from cxrlens.screening.remote.addresses import is_address, parse_address

    set_up_logging()
    if watch and fail_on:
        raise UsageError("--fail-on asks for a screening that ends; leave it or --watch out")
    named = named_resize(grid, interpolation, published=published_grid)
    stop = threading.Event()
    goes_on = "without --force" if force else ""
    with (
        stoppable(work_folder or Path(out), goes_on=goes_on),
        stopping(stop) if watch else nullcontext(),
        _shown(is_following=watch) as progress,
    ):
        result = screen(
            sources,
            model,
            out,
            maps=maps.value,
            method=method,
            layers=layers,
            grid=named[0],
            interpolation=named[1],
            flip=flip,
            watch=interval if watch else None,
            stop=stop,
            needs_triage=fail_on is FailOnResult.retake,
            keep_tags=keep_tags or (),
            assess_any=assess_any,
            dicom=dicom,
            send=send or (),
            credentials=credentials,
            ca_file=ca_file,
            work_folder=work_folder,
            reasons=reasons,
            database=database,
            batch_size=batch_size,
            seed=seed,
            force=force,
            device=device,
            precision=precision.value,
            workers=workers,
            runtime=runtime.value if runtime else None,
            engine=engine.value,
            address=address,
            ray_workers=ray_workers,
            progress=progress,
        )
    folder = result.folder.path
    where = parse_address(out).root if is_address(out) else str(folder)
    files = {name: f"{where}/{path.relative_to(folder)}" for name, path in result.files().items()}
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
def _shown(*, is_following: bool) -> Iterator[Callable[[Far], None]]:
    """A bar on a terminal, else lines; where files are waited for, only while some come."""
    if not stderr.is_terminal:
        with progress_lines("screening", say_line, idle=not is_following) as move:
            yield lambda far: move(far.done, far.total, pace=_pace(far))
        return
    columns = (TextColumn("screening"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task("", total=None, pace="")
        yield lambda far: bar.update(task, completed=far.done, total=far.total, pace=_pace(far))


def _pace(far: Far) -> str:
    left = far.seconds_left
    return f"{far.rate:.1f} images/s" + ("" if left is None else f", {clock(left)} left")
