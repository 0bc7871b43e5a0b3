"""``cxrlens export``."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cxrlens.cli.console import set_up_logging, show_json, show_lines
from cxrlens.cli.options import Json, Model


class Format(StrEnum):
    onnx = "onnx"


def command(
    model: Model,
    to: Annotated[Format, typer.Option(help="The format.")] = Format.onnx,
    method: Annotated[
        str, typer.Option(help="Method id of the map, which is made at the last layer.")
    ] = "normgrad_conv1x1",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file; by default beside the model file, ending in .onnx.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json: Json = False,
) -> None:
    """Write a model as one ONNX graph that gives probability and map; it needs neither torch nor cxrlens to run."""
    from cxrlens.export.run import export_model

    set_up_logging()
    result = export_model(model, method=method, out=out, force=force)
    parity = result.parity
    if json:
        show_json({"to": to.value, "file": result.file, **result.info.model_dump(), "parity": asdict(parity)})
        return
    show_lines(
        [
            f"ONNX model: {result.file}",
            f"against torch, {parity.images} images: probability differs by {parity.probability:.1e}, the "
            f"{result.info.method} map by {parity.map:.1e} at most",
        ]
    )
