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
    fusion_of,
    resize_of,
    rows_of,
    workers_of,
)


def _list_methods(asked: bool) -> None:
    if not asked:
        return
    from cxrlens.saliency.catalogue import rows

    for id_, title, formula, cost, source in rows():
        show_lines([f"{id_} ({title})", f"    {formula}", f"    {cost}", f"    {source}"])
    show_lines(["captum:NAME (any attribution class of captum)"])
    raise typer.Exit


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
    from cxrlens.explanation.run import OUTPUTS, ExplanationSettings, dicom_results, explain_images
    from cxrlens.inputs.readers import require_file
    from cxrlens.inspection.quality_model import load
    from cxrlens.outputs import output_folder
    from cxrlens.saliency.recorded_resize import resizes_of

    set_up_logging()
    rows = rows_of(method, layers)
    resize = resize_of(grid, interpolation, published=published_grid)
    fusion = fusion_of(combination, layer_weights, smooth, resize, flip=flip)
    for source in sources:
        if not source.is_dir():
            require_file(source)
    loaded = load(model, device=device, precision=precision.value)
    loaded.check_rows(rows, fusion)
    settings = ExplanationSettings(target.value, fusion, seed, assess_any)
    results = dicom_results(out, loaded, rows, settings) if dicom else None
    with stoppable(out), output_folder(out, OUTPUTS, force=force), progress_bar("explaining") as progress:
        if results:
            results.clear()
        result = explain_images(
            sources,
            loaded,
            out,
            rows,
            settings,
            annotations=annotations,
            split=split,
            dicom=results,
            batch_size=batch_size,
            workers=workers_of(workers),
            progress=progress,
        )
    if json:
        show_json(asdict(result))
    else:
        images = len({row["image"] for row in result.rows if row["map"]})
        unjudged = f", {len(result.not_assessable)} not assessable" if result.not_assessable else ""
        show_lines(
            [
                f"{images} images explained{unjudged}: {out / 'overlays'}, {out / 'explanations.csv'}",
                f"resize of the maps: {resizes_of(result.rows)}",
            ]
        )
    finish(result.unreadable)
