"""``cxrlens data``: make and check data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrlens.cli import cache, data_check, data_prepare
from cxrlens.cli.command import Commands
from cxrlens.cli.console import progress_bar, set_up_logging, show_json, show_lines, stoppable
from cxrlens.cli.options import Json, Seed, Workers, workers_of

app = Commands(help="Make and check data sets.")


@app.callback()
def _group() -> None:
    pass


app.command("prepare")(data_prepare.command)
app.command("check")(data_check.command)


@app.command("phantom")
def phantom(
    out: Annotated[Path, typer.Argument(help="New folder for the data set.")],
    train: Annotated[int, typer.Option(help="Number of training images, half of them affected.")] = 320,
    dev: Annotated[int, typer.Option(help="Number of dev images, half of them affected.")] = 100,
    size: Annotated[int, typer.Option(help="Long side in pixels.")] = 256,
    seed: Seed = 0,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Draw a data set of procedural chest radiographs, half of them with foreign objects."""
    from cxrlens.dataset.phantom.dataset import write_phantom_dataset

    set_up_logging()
    with stoppable(None), progress_bar("drawing phantoms") as progress:
        write_phantom_dataset(
            out, train=train, dev=dev, size=size, seed=seed, workers=max(1, workers_of(workers)), progress=progress
        )
    if json:
        show_json({"out": out, "train": train, "dev": dev, "size": size, "seed": seed})
    else:
        show_lines([f"{train} training and {dev} dev images are in {out}"])


app.command("cache")(cache.command)
