"""``cxrlens calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlens.cli.console import finish, progress_bar, set_up_logging, show_json, show_lines, show_table, stoppable
from cxrlens.cli.options import BatchSize, Device, Json, Model, Seed, Split, Workers, share_of, workers_of
from cxrlens.errors import UsageError

if TYPE_CHECKING:
    from cxrlens.calibration.operating_points import TargetKind, ThresholdTarget
    from cxrlens.calibration.run import CalibrateResult

_DEFAULT_SPECIFICITY = 0.95
_DEFAULT_SEEN = 0.95


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
    from cxrlens.calibration.run import TriageGoals, calibrate_model, only_writer
    from cxrlens.inputs.dataset.dataset import Dataset
    from cxrlens.inspection.quality_model import load

    set_up_logging()
    data_set = Dataset(data)
    retake = _retake(specificity, sensitivity, max_retake_rate)
    goals = TriageGoals(
        retake, _review(review, retake), None if prevalence is None else share_of(prevalence, "--prevalence")
    )
    loaded = load(model, device=device)
    with stoppable(None), only_writer(model, out, force=force), progress_bar("calibrating") as progress:
        result = calibrate_model(
            data_set,
            loaded,
            model,
            out,
            goals,
            split=split,
            batch_size=batch_size,
            workers=workers_of(workers),
            seed=seed,
            progress=progress,
        )
    _show(result, json=json)
    finish(result.unreadable)


def _retake(specificity: str | None, sensitivity: str | None, max_retake_rate: str | None) -> ThresholdTarget:
    from cxrlens.calibration.operating_points import ThresholdTarget

    options: dict[TargetKind, tuple[str, str | None]] = {
        "specificity": ("--specificity", specificity),
        "sensitivity": ("--sensitivity", sensitivity),
        "retake_rate": ("--max-retake-rate", max_retake_rate),
    }
    given = [ThresholdTarget(kind, share_of(text, name)) for kind, (name, text) in options.items() if text is not None]
    if len(given) > 1:
        raise UsageError("--specificity, --sensitivity and --max-retake-rate each set the threshold: give one of them")
    return given[0] if given else ThresholdTarget("specificity", _DEFAULT_SPECIFICITY)


def _review(text: str | None, retake: ThresholdTarget) -> ThresholdTarget | None:
    from cxrlens.calibration.operating_points import ThresholdTarget

    if text is None:
        return ThresholdTarget("sensitivity", (1 + retake.value) / 2 if retake.kind == "sensitivity" else _DEFAULT_SEEN)
    if text == "none":
        return None
    kind, equals, value = text.partition("=")
    if not equals or kind not in ("sensitivity", "npv"):
        raise UsageError(f"--review takes sensitivity=0.95, npv=0.99 or none, not '{text}'")
    return ThresholdTarget("npv" if kind == "npv" else "sensitivity", share_of(value, "--review"))


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
