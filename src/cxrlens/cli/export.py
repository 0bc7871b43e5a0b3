"""``cxrlens export``."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cxrlens.cli.console import set_up_logging, show_json, show_lines, stoppable
from cxrlens.cli.options import (
    Grid,
    Interpolation,
    Json,
    Model,
    PublishedGrid,
    Workers,
    named_methods,
    named_resize,
)
from cxrlens.wording import counted


class Format(StrEnum):
    onnx = "onnx"


def command(
    model: Model,
    to: Annotated[Format, typer.Option(help="The format.")] = Format.onnx,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Method id of the map, by default normgrad_conv1x1; repeat it, or join ids with commas, for several "
            "maps in one graph, of which the first is shown by default."
        ),
    ] = None,
    layers: Annotated[
        str,
        typer.Option(help="Of the maps: combined, last (costs nothing, misses objects more often), or a module name."),
    ] = "combined",
    grid: Grid = None,
    interpolation: Interpolation = None,
    published_grid: PublishedGrid = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file; by default beside the model file, ending in .onnx.")
    ] = None,
    int8: Annotated[
        Path | None,
        typer.Option(
            help="Data set, of which the training split is taken, or folder of training images: also a probability in "
            "8-bit integers, calibrated with up to 200 of these images and checked with as many others."
        ),
    ] = None,
    workers: Workers = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json: Json = False,
) -> None:
    """Write a model as one ONNX graph that gives probability and map; it needs neither torch nor cxrlens to run."""
    from cxrlens.api.exporting import export
    from cxrlens.inspection.quality_model import DEFAULT_METHOD

    set_up_logging(quiet=json)
    named, methods = named_resize(grid, interpolation, published=published_grid), named_methods(method)
    with stoppable(None):
        result = export(
            model,
            out,
            methods=DEFAULT_METHOD if methods is None else methods,
            layers=layers,
            grid=named[0],
            interpolation=named[1],
            int8=int8,
            workers=workers,
            force=force,
        )
    parity, quality = result.parity, result.int8
    if json:
        found = {"parity": asdict(parity), "int8_quality": asdict(quality) if quality else None}
        show_json({"to": to.value, "file": result.file, **result.info.model_dump(), **found})
        return
    show_lines(
        [
            f"ONNX model: {result.file}",
            f"against torch, {counted(parity.images, 'image')}: probability differs by {parity.probability:.1e} at "
            f"most, maps ({', '.join(result.info.methods)}, {result.info.layers}) by {parity.map_mean:.1e} on average, "
            f"{parity.map:.1e} at most",
            *([f"8-bit integers, on training images: {quality}"] if quality else []),
        ]
    )
