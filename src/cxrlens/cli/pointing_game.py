"""``cxrlens pointing-game``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cxrlens.cli.console import finish, progress_bar, set_up_logging, show_json, show_lines, show_table, stoppable
from cxrlens.cli.options import (
    BatchSize,
    Combination,
    CombinationChoice,
    Device,
    Flip,
    Force,
    Grid,
    Interpolation,
    Json,
    Layers,
    LayerWeights,
    Methods,
    Model,
    PublishedGrid,
    ScoringTarget,
    Seed,
    Smooth,
    Split,
    Workers,
    named_methods,
    named_resize,
    numbers_of,
)
from cxrlens.errors import UsageError


def command(
    source: Annotated[Path, typer.Argument(help="An image, a folder of images, or a data set folder.")],
    model: Model,
    annotations: Annotated[Path | None, typer.Option(help="CSV of the objects.")] = None,
    annotation: Annotated[
        str | None, typer.Option(help='The objects of a single image as text, e.g. "0 10 20 30 40".')
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Mask of a single image: what is not black in it is an object.")
    ] = None,
    train_annotations: Annotated[
        Path | None, typer.Option(help="train.csv beside its images, for the mean-annotation baseline.")
    ] = None,
    method: Methods = None,
    layers: Layers = "both",
    tolerance: Annotated[
        float, typer.Option(min=0.0001, max=1, help="Share of the side; 0.025 is 15 px at 600 px.")
    ] = 0.025,
    combination: Combination = CombinationChoice.product,
    layer_weights: LayerWeights = None,
    smooth: Smooth = None,
    grid: Grid = None,
    interpolation: Interpolation = None,
    published_grid: PublishedGrid = False,
    flip: Flip = False,
    target: Annotated[ScoringTarget, typer.Option(help="The class to explain.")] = ScoringTarget.affected,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for page and tables, or the overlay.")] = Path(
        "pointing-game"
    ),
    split: Split = None,
    batch_size: BatchSize = 8,
    seed: Seed = 0,
    force: Force = False,
    device: Device = "auto",
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Measure whether the highest point of each map lies on an annotated object."""
    from cxrlens.api.pointing import play_on_image, play_pointing_game
    from cxrlens.saliency.recorded_resize import resizes_of

    set_up_logging()
    named = named_resize(grid, interpolation, published=published_grid)
    shared: dict[str, Any] = {
        "methods": named_methods(method),
        "layers": layers,
        "tolerance": tolerance,
        "combination": combination.value,
        "layer_weights": numbers_of(layer_weights),
        "smooth": smooth,
        "grid": named[0],
        "interpolation": named[1],
        "flip": flip,
        "target": target.value,
        "seed": seed,
        "force": force,
        "device": device,
    }
    if not source.is_dir():
        with stoppable(out):
            single = play_on_image(
                source, model, out, annotation=annotation, annotations=annotations, mask=mask, **shared
            )
        if json:
            show_json({"per_image": single.per_image, "overlay": single.overlay})
        else:
            shown = ("method", "layers", "outcome", "distance", "tied")
            show_table(
                f"{source.name}, tolerance {single.tolerance:g} px",
                shown,
                [[record.get(column) for column in shown] for record in single.per_image],
            )
            show_lines([f"resize of the maps: {resizes_of(single.per_image)}", f"overlay: {single.overlay}"])
        return
    if annotation is not None or mask is not None:
        given = "--annotation" if mask is None else "--mask"
        raise UsageError(
            f"{given} is for a single image; give the CSV of a folder with --annotations, "
            "or prepare a data set of images and masks (cxrlens data prepare)"
        )
    with stoppable(out), progress_bar("pointing game") as progress:
        result = play_pointing_game(
            source,
            model,
            out,
            annotations=annotations,
            train_annotations=train_annotations,
            split=split,
            batch_size=batch_size,
            workers=workers,
            progress=progress,
            **shared,
        )
    if json:
        show_json({"table": result.table, "unreadable": result.unreadable, "files": result.files})
    else:
        first = result.table[0]
        size = first["image_size"].replace("x", " x ")
        columns = ("method", "layers", "accuracy", "low", "high", "n", "tied", "note")
        show_table(
            f"Pointing Game, tolerance {first['tolerance']:g} px of {size} px",
            columns,
            [[row[column] for column in columns] for row in result.table],
        )
        show_lines(
            [
                f"resize of the maps: {resizes_of(result.table)}",
                f"tables and figures: {out}",
                f"page: {result.page}",
            ]
        )
    finish(result.unreadable)
