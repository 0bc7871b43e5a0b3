"""``cxrlens study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cxrlens.cli.console import finish, progress_bar, set_up_logging, show_json, show_lines, stoppable
from cxrlens.cli.options import (
    Device,
    Flip,
    Grid,
    Interpolation,
    Json,
    PrecisionChoice,
    PublishedGrid,
    Split,
    Workers,
    resize_of,
    workers_of,
)


def command(
    data: Annotated[Path, typer.Argument(help="Data set folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the study; a study that is there goes on.")],
    plan: Annotated[str, typer.Option(help="quick, paper, or a study.yaml (docs/study.md).")] = "quick",
    model: Annotated[
        list[Path] | None,
        typer.Option("--model", "-m", help="A trained model (repeat it), in place of the plan's trainings."),
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
    json: Json = False,
) -> None:
    """Run the paper's experiments and the checks that they lack; goes on where it was stopped."""
    from cxrlens.devices import device_names, resolve_device
    from cxrlens.inputs.dataset.dataset import Dataset
    from cxrlens.models.precision import resolve_precision
    from cxrlens.study.plan import load_plan, map_settings
    from cxrlens.study.run import run

    set_up_logging()
    changes: dict[str, Any] = {key: value for key, value in (("split", split), ("seed", seed)) if value is not None}
    resize = resize_of(grid, interpolation, published=published_grid)
    if grid is not None or published_grid:
        changes["grid"] = resize.grid
    if interpolation is not None or published_grid:
        changes["interpolation"] = resize.interpolation
    if flip:
        changes["flip"] = True
    if precision is not None:
        changes["precision"] = resolve_precision(precision.value, resolve_device(device))
    chosen = load_plan(plan, changes)
    if row:
        chosen = load_plan(plan, {**changes, "rows": [*chosen.rows, *row]})
    with (
        stoppable(out, goes_on=""),
        progress_bar("study") as progress,
        progress_bar("decoding images") as decoding,
    ):
        result = run(
            Dataset(data),
            out,
            chosen,
            models=model or [],
            devices=device_names(device, devices),
            workers=workers_of(workers),
            progress=progress,
            training_progress=lambda _split, done, total: decoding(done, total),
        )
    if json:
        show_json({"report": result.page, "findings": result.findings, "tables": result.tables,
                   "unreadable": result.unreadable, "maps": map_settings(chosen)})  # fmt: skip
    else:
        show_lines([*result.findings, "", f"report: {result.page}", f"tables: {out / 'tables'}"])
    finish(result.unreadable)
