"""``cxrlens calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlens.cli.console import finish, progress_bar, set_up_logging, show_json, show_lines, show_table, stoppable
from cxrlens.cli.options import BatchSize, Device, Json, Model, Seed, Split, Workers

if TYPE_CHECKING:
    from cxrlens.calibration.run import CalibrateResult


def command(
    data: Annotated[Path, typer.Argument(help="Data set folder with labelled images, best some no training has seen.")],
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="The calibrated copy of the model file.")] = Path(
        "calibrated.safetensors"
    ),
    specificity: Annotated[
        str | None, typer.Option(help="Retake threshold: at least this share of normal images is not retaken [0.95].")
    ] = None,
    sensitivity: Annotated[
        str | None, typer.Option(help="Retake threshold: at least this share of affected images is retaken.")
    ] = None,
    max_retake_rate: Annotated[
        str | None, typer.Option(help="Retake threshold: at most this share of all images is retaken, such as 3%.")
    ] = None,
    prevalence: Annotated[
        str | None, typer.Option(help="Share of affected images at your site, such as 0.12; by default the data's.")
    ] = None,
    review: Annotated[
        str | None,
        typer.Option(
            help="What retake and review together give: sensitivity=0.95 (of seeing affected images), npv=0.99 (share "
            "of normal ones among passed images), or none. By default sensitivity=0.95; with --sensitivity S halfway "
            "from S to 1."
        ),
    ] = None,
    split: Split = None,
    batch_size: BatchSize = 16,
    seed: Seed = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an output file that is there.")] = False,
    device: Device = "auto",
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Set a model's threshold and make its probabilities right for your site, in a copy of its file."""
    from cxrlens.api.calibrating import calibrate

    set_up_logging()
    with stoppable(None), progress_bar("calibrating") as progress:
        result = calibrate(
            data,
            model,
            out,
            specificity=specificity,
            sensitivity=sensitivity,
            max_retake_rate=max_retake_rate,
            prevalence=prevalence,
            review=review,
            split=split,
            batch_size=batch_size,
            seed=seed,
            force=force,
            device=device,
            workers=workers,
            progress=progress,
        )
    _show(result, json=json)
    finish(result.unreadable)


def _show(result: CalibrateResult, *, json: bool) -> None:
    from cxrlens.calibration.text import agreement_rows, decision_rows, percent, sentences

    calibration = result.calibration
    if json:
        show_json(
            {
                "model": result.files[0],
                "threshold": result.card.threshold,
                **calibration.model_dump(exclude={"scores"}),
                "unreadable": result.unreadable,
                "files": result.files,
            }
        )
        return
    show_table(
        f"expected at a prevalence of {percent(calibration.prevalence)}",
        ("score", "expected", "95 % interval", "on the same images"),
        decision_rows(calibration),
    )
    show_table("probabilities", ("score", "before", "after, held out"), agreement_rows(calibration))
    show_lines([*sentences(result.card), *(f"note: {remark}" for remark in calibration.remarks)])
    show_lines([f"calibrated model: {result.files[0]}; details beside it: {result.files[-1].name}"])
