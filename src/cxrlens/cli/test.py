"""``cxrlens test``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from cxrlens.cli.console import finish, progress_bar, set_up_logging, show_json, show_lines, show_table, stoppable
from cxrlens.cli.options import BatchSize, Device, Force, Json, Model, Seed, Split, Workers
from cxrlens.wording import counted


def command(
    data: Annotated[Path, typer.Argument(help="Data set folder.")],
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for scores, predictions and figures.")] = Path(
        "test-results"
    ),
    split: Split = None,
    batch_size: BatchSize = 16,
    seed: Seed = 0,
    force: Force = False,
    device: Device = "auto",
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Score a model on labelled images."""
    from cxrlens.api.testing import test

    set_up_logging()
    with stoppable(out), progress_bar("testing") as progress:
        result = test(
            data,
            model,
            out,
            split=split,
            batch_size=batch_size,
            seed=seed,
            force=force,
            device=device,
            workers=workers,
            progress=progress,
        )
    scores = result.scores
    if json:
        show_json(
            {
                "split": result.split,
                **scores.to_dict(),
                "unreadable": result.unreadable,
                "not_assessable": result.not_assessable,
                "files": result.files,
            }
        )
    else:
        intervals = {
            name: f"{found.low:.3f} to {found.high:.3f}"
            for name, found in scores.intervals().items()
            if not math.isnan(found.low)
        }
        names = ("accuracy", "auc", "average_precision", "sensitivity", "specificity", "f1", "brier", "ece")
        show_table(
            f"{counted(scores.n, 'image')} of {result.split}, {scores.n_affected} affected",
            ("score", "value", "95 % interval"),
            [(name, getattr(scores, name), intervals.get(name, "")) for name in names],
        )
        (tn, fp), (fn, tp) = scores.confusion
        show_lines(
            [
                f"true negatives {tn}, false positives {fp}, false negatives {fn}, true positives {tp}",
                f"page: {result.page}",
                f"predictions and figures: {out}",
            ]
        )
    finish(result.unreadable)
