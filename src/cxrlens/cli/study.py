"""``cxrlens study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrlens.cli.console import finish, progress_bar, set_up_logging, show_json, show_lines, stoppable
from cxrlens.cli.options import (
    Address,
    Device,
    EngineChoice,
    EngineOption,
    Flip,
    Grid,
    Interpolation,
    Json,
    PrecisionChoice,
    PublishedGrid,
    RayWorkers,
    Split,
    Workers,
    all_named,
    named_resize,
)


def command(
    data: Annotated[Path, typer.Argument(help="Data set folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the study; a study that is there goes on.")],
    plan: Annotated[str, typer.Option(help="quick, paper, or a study.yaml (docs/study.md).")] = "quick",
    model: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            "-m",
            help="A trained model or the name of one (repeat it), in place of the plan's trainings.",
            callback=all_named,
        ),
    ] = None,
    row: Annotated[
        list[str] | None, typer.Option("--row", help="Add a row, such as 'xgrad_cam combined'; repeat it.")
    ] = None,
    grid: Grid = None,
    interpolation: Interpolation = None,
    published_grid: PublishedGrid = False,
    flip: Flip = False,
    split: Split = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random; by default the plan's.")] = None,
    device: Device = "auto",
    precision: Annotated[
        PrecisionChoice | None, typer.Option(help="In which the networks multiply; by default the plan's, f32.")
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Devices, or processes on a CPU, that share the images.")] = 1,
    workers: Workers = None,
    engine: EngineOption = EngineChoice.local,
    address: Address = None,
    ray_workers: RayWorkers = None,
    json: Json = False,
) -> None:
    """Run the paper's experiments and the checks that they lack; goes on where it was stopped."""
    from cxrlens.api.studying import study
    from cxrlens.cli.training_progress import EpochLines, Steps

    set_up_logging()
    named = named_resize(grid, interpolation, published=published_grid)
    with (
        stoppable(out, goes_on=""),
        progress_bar("study") as progress,
        progress_bar("training") as training,
        progress_bar("decoding images") as decoding,
    ):
        result = study(
            data,
            out,
            plan=plan,
            models=model or [],
            rows=row or [],
            grid=named[0],
            interpolation=named[1],
            flip=flip,
            split=split,
            seed=seed,
            device=device,
            precision=precision and precision.value,
            devices=devices,
            workers=workers,
            engine=engine.value,
            address=address,
            ray_workers=ray_workers,
            progress=progress,
            training_progress=lambda _split, done, total: decoding(done, total),
            callbacks=[EpochLines(), Steps(training)],
        )
    if json:
        show_json({"report": result.page, "findings": result.findings, "tables": result.tables,
                   "unreadable": result.unreadable, "maps": result.maps})  # fmt: skip
    else:
        show_lines([*result.findings, "", f"report: {result.page}", f"tables: {out / 'tables'}"])
    finish(result.unreadable)
