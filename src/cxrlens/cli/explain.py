"""``cxrlens explain``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cxrlens.cli.console import finish, progress_bar, set_up_logging, show_json, show_lines, stoppable
from cxrlens.cli.options import (
    AssessAny,
    BatchSize,
    Combination,
    CombinationChoice,
    Device,
    Dicom,
    Flip,
    Force,
    Grid,
    Interpolation,
    Json,
    Layers,
    LayerWeights,
    Methods,
    Model,
    Precision,
    PrecisionChoice,
    PublishedGrid,
    Seed,
    Smooth,
    Split,
    TargetChoice,
    Workers,
    named_methods,
    named_resize,
    numbers_of,
)
from cxrlens.wording import counted


def _list_methods(asked: bool) -> None:
    if not asked:
        return
    from cxrlens.saliency.catalogue import plugged_methods, rows

    for row in rows():
        show_lines(_in_lines(*row))
    show_lines(["captum:NAME (any attribution class of captum)"])
    for plugged in plugged_methods():
        told = [f"{plugged.row[0]} (not usable)", f"    {plugged.fault}"] if plugged.fault else _in_lines(*plugged.row)
        show_lines([*told, f"    of the package {plugged.package}"])
    raise typer.Exit


def _in_lines(id_: str, title: str, formula: str, cost: str, source: str) -> list[str]:
    return [f"{id_} ({title})", f"    {formula}", f"    {cost}", f"    {source}"]


def command(
    sources: Annotated[list[Path], typer.Argument(help="Images, folders of images, and data set folders.")],
    model: Model,
    method: Methods = None,
    layers: Layers = "both",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for overlays, maps and the table.")] = Path(
        "explained"
    ),
    annotations: Annotated[Path | None, typer.Option(help="CSV whose objects are drawn on the overlays.")] = None,
    split: Split = None,
    dicom: Dicom = False,
    target: Annotated[TargetChoice, typer.Option(help="The class to explain.")] = TargetChoice.affected,
    combination: Combination = CombinationChoice.product,
    layer_weights: LayerWeights = None,
    smooth: Smooth = None,
    grid: Grid = None,
    interpolation: Interpolation = None,
    published_grid: PublishedGrid = False,
    flip: Flip = False,
    assess_any: AssessAny = False,
    batch_size: BatchSize = 8,
    seed: Seed = 0,
    force: Force = False,
    device: Device = "auto",
    precision: Precision = PrecisionChoice.f32,
    workers: Workers = None,
    json: Json = False,
    list_methods: Annotated[
        bool, typer.Option("--list", callback=_list_methods, is_eager=True, help="List the methods and leave.")
    ] = False,
) -> None:
    """Show where a model looks: an overlay and the maps of each image."""
    from cxrlens.api.explaining import explain_images
    from cxrlens.saliency.recorded_resize import resizes_of

    set_up_logging()
    named = named_resize(grid, interpolation, published=published_grid)
    with stoppable(out), progress_bar("explaining") as progress:
        result = explain_images(
            sources,
            model,
            out,
            methods=named_methods(method),
            layers=layers,
            annotations=annotations,
            split=split,
            dicom=dicom,
            target=target.value,
            combination=combination.value,
            layer_weights=numbers_of(layer_weights),
            smooth=smooth,
            grid=named[0],
            interpolation=named[1],
            flip=flip,
            assess_any=assess_any,
            batch_size=batch_size,
            seed=seed,
            force=force,
            device=device,
            precision=precision.value,
            workers=workers,
            progress=progress,
        )
    if json:
        show_json(asdict(result))
    else:
        images = len({row["image"] for row in result.rows if row["map"]})
        unjudged = f", {len(result.not_assessable)} not assessable" if result.not_assessable else ""
        show_lines(
            [
                f"{counted(images, 'image')} explained{unjudged}: {out / 'overlays'}, {out / 'explanations.csv'}",
                f"page: {result.page}",
                f"resize of the maps: {resizes_of(result.rows)}",
            ]
        )
    finish(result.unreadable)
