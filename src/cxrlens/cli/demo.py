"""``cxrlens demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrlens.cli.console import progress_bar, set_up_logging, show_json, show_lines, stoppable
from cxrlens.cli.options import (
    Device,
    Flip,
    Force,
    Grid,
    Interpolation,
    Json,
    PublishedGrid,
    Seed,
    Workers,
    resize_of,
    workers_of,
)


def command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for data, model and results.")] = Path("demo"),
    arch: Annotated[str, typer.Option(help="resnet34 or efficientnet_b0.")] = "resnet34",
    quick: Annotated[bool, typer.Option("--quick", help="Tiny and meaningless: for tests of the pipeline.")] = False,
    grid: Grid = None,
    interpolation: Interpolation = None,
    published_grid: PublishedGrid = False,
    flip: Flip = False,
    seed: Seed = 0,
    force: Force = False,
    device: Device = "auto",
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Run everything once on built-in phantoms: draw, train, test, explain, score."""
    from cxrlens.cli.training_progress import EpochLines, Steps
    from cxrlens.demo.run import FULL, QUICK, run_demo
    from cxrlens.devices import resolve_device
    from cxrlens.saliency.fusion import Fusion
    from cxrlens.training.fitting import Hardware

    set_up_logging()
    fusion = Fusion(resize=resize_of(grid, interpolation, published=published_grid), flip=flip)
    with stoppable(out), progress_bar("demo") as progress:
        result = run_demo(
            out,
            Hardware(resolve_device(device), workers=workers_of(workers)),
            architecture=arch,
            size=QUICK if quick else FULL,
            fusion=fusion,
            seed=seed,
            force=force,
            callbacks=[EpochLines(), Steps(progress)],
            progress=progress,
        )
    if json:
        show_json(
            {
                "page": result.page,
                "model": result.training.model,
                "name": result.name,
                "scores": result.scores.scores.to_dict(),
                "pointing_game": result.pointing.table,
                "precision": result.training.precision,
                "seconds": result.seconds,
            }
        )
    else:
        show_lines(
            [
                f"dev AUC {result.scores.scores.auc:.3f}; finished in {result.seconds / 60:.1f} minutes",
                f"results: {result.page.resolve()}",
                *_kept(result.name),
            ]
        )


def _kept(name: str | None) -> list[str]:
    if name is None:
        return []
    return [
        f"the model is kept as '{name}', in place of an earlier demo's; try it: cxrlens screen FOLDER --model {name} "
        "--out screening"
    ]
