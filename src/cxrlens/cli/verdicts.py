"""``cxrlens verdicts``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrlens.cli.console import set_up_logging, show_json, show_lines
from cxrlens.cli.options import Database, Json
from cxrlens.errors import UsageError
from cxrlens.wording import counted


def command(
    folder: Annotated[Path, typer.Argument(help="A folder that 'cxrlens screen' wrote, with verdicts of readers.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", "-l", help="CSV to write, of all verdicts and labels, for 'train --labels' and 'data prepare'."
        ),
    ] = None,
    objects: Annotated[
        Path | None,
        typer.Option(
            "--objects",
            help="CSV to write, of the drawn foreign objects in the format of Object-CXR, for 'pointing-game'.",
        ),
    ] = None,
    database: Database = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    json: Json = False,
) -> None:
    """Write the verdicts of readers, and what they drew, as files that other commands take."""
    from cxrlens.screening.exporting import export

    set_up_logging()
    if labels is None and objects is None:
        raise UsageError("give what is to be written: --labels FILE, --objects FILE, or both")
    written = export(folder, labels=labels, objects=objects, database=database, force=force)
    if json:
        show_json(
            {
                str(path): {"images": exported.images, "left_out": exported.left_out}
                for path, exported in written.items()
            }
        )
        return
    for path, exported in written.items():
        left_out = exported.remark()
        show_lines(
            [f"{path}: {counted(exported.images, 'image')}{f'; without a label: {left_out}' if left_out else ''}"]
        )
