"""``cxrlens share``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cxrlens.cli.console import set_up_logging, show_json, show_lines
from cxrlens.cli.options import Database, Json


def command(
    folder: Annotated[Path, typer.Argument(help="A folder that 'cxrlens screen' wrote.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="NAME.html for one file that holds all; NAME.zip for a page with its pictures beside it.",
        ),
    ],
    with_tags: Annotated[
        bool,
        typer.Option("--with-tags", help="Leave in the patient's tags that the folder was screened with."),
    ] = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Write the page of a screened folder into one file to send, without patient tags."""
    from cxrlens.screening.sharing import share

    set_up_logging()
    shared = share(folder, out, with_tags=with_tags, database=database)
    if json:
        show_json(asdict(shared))
    else:
        size = f"{max(shared.size / 1e6, 0.1):,.1f} MB"
        show_lines([f"{shared.file}: {shared.images:,} images, {shared.pictures:,} with pictures, {size}"])
