"""``cxrlens card``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrlens.cli.console import set_up_logging, show_json
from cxrlens.cli.options import Json, Model
from cxrlens.errors import UsageError


def command(
    model: Model,
    data_licence: Annotated[
        str | None, typer.Option(help="Licence of the training images, where the model file cannot tell.")
    ] = None,
    study: Annotated[
        Path | None, typer.Option(help="Folder of a finished study of this model, for its randomisation check.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the card into this Markdown file; by default it is printed."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json: Json = False,
) -> None:
    """Say what a model is: data and licence, recipe, scores, operating point, limits."""
    from cxrlens.files import write_text
    from cxrlens.model_card.run import card_facts
    from cxrlens.model_card.text import card_page, card_values
    from cxrlens.outputs import require_own, starts_with

    set_up_logging()
    if out is not None:
        if out.is_dir() or (out.exists() and not force):
            raise UsageError(f"{out}: already exists; give another name or --force")
        require_own(out, starts_with(b"# Model card: "))
    facts = card_facts(model, data_licence=data_licence, study=study)
    if out is not None:
        write_text(out, card_page(facts))
    if json:
        show_json({**card_values(facts), "files": [] if out is None else [out]})
    elif out is None:
        typer.echo(card_page(facts), nl=False)
    else:
        typer.echo(f"model card: {out}")
