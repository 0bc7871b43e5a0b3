"""``cxrlens train``."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from cxrlens.cli.console import finish, progress_bar, set_up_logging, show_json, show_lines, stderr, stoppable
from cxrlens.cli.options import CacheDir, CacheSize, Device, Json, Workers
from cxrlens.errors import UsageError


class LoggerChoice(StrEnum):
    csv = "csv"
    tensorboard = "tensorboard"
    mlflow = "mlflow"
    wandb = "wandb"


def command(
    data: Annotated[Path, typer.Argument(help="Data set folder with train and dev.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV (path,label) of new labels and further training images, such as a worklist's verdicts."),
    ] = None,
    arch: Annotated[
        str | None,
        typer.Option(
            help="resnet34 (default), efficientnet_b0, resnet18, resnet50, torchvision:NAME, timm:NAME, or a plug-in's."
        ),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="paper (default), small, or a .yaml file.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; by default ARCH-RECIPE.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    weights: Annotated[
        str | None,
        typer.Option(
            help="imagenet, none (random), a weights file, a kept model's name, timm:NAME, torchvision:NAME, "
            "https://...#sha256=HEX or hf:OWNER/NAME@COMMIT/FILE."
        ),
    ] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the square input in pixels.")] = None,
    resize: Annotated[
        str | None, typer.Option(help="stretch (fills the input) or letterbox (keeps the aspect).")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Number of epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step and process.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", "--lr", help="Highest rate.")] = None,
    class_weights: Annotated[str | None, typer.Option(help="none or balanced: classes in the loss.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, 32-true, bf16-mixed or 16-mixed.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other recipe value: NAME=VALUE, e.g. augmentation.degrees=10."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random; by default the recipe's.")] = None,
    logger: Annotated[
        list[LoggerChoice] | None,
        typer.Option(
            help="Also write each epoch's scores for this tool, into the run's folder logs; repeat it for several. "
            "Nothing is sent unless MLFLOW_TRACKING_URI or WANDB_MODE say so."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a run of the same name.")] = False,
    device: Device = "auto",
    devices: Annotated[str, typer.Option(help="How many devices, passed to Lightning.")] = "1",
    num_nodes: Annotated[int, typer.Option(min=1, help="How many machines, passed to Lightning.")] = 1,
    strategy: Annotated[str, typer.Option(help="auto, ddp ..., passed to Lightning.")] = "auto",
    workers: Workers = None,
    cache_dir: CacheDir = None,
    cache_size: CacheSize = None,
    json: Json = False,
) -> None:
    """Train a classifier and keep the epoch with the best AUC on the dev images."""
    from cxrlens.api.training import default_run_dir, train
    from cxrlens.cli.training_progress import EpochLines, StderrProgressBar, Steps

    set_up_logging()
    settings = _parse_set(set_ or [])
    run_dir = default_run_dir(arch, recipe, name=name, runs=runs)
    with (
        stoppable(run_dir, goes_on="with --resume"),
        progress_bar("training") as moved,
        progress_bar("decoding images") as progress,
    ):
        result = train(
            data,
            run_dir=run_dir,
            arch=arch,
            recipe=recipe,
            weights=weights,
            image_size=image_size,
            resize=resize,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            class_weights=class_weights,
            precision=precision,
            seed=seed,
            settings=settings,
            labels=labels,
            resume=resume,
            force=force,
            device=device,
            devices=devices,
            num_nodes=num_nodes,
            strategy=strategy,
            workers=workers,
            cache_dir=cache_dir,
            cache_size=cache_size,
            loggers=[each.value for each in logger or []],
            callbacks=[EpochLines(), StderrProgressBar() if stderr.is_terminal else Steps(moved)],
            progress=lambda _split, done, total: progress(done, total),
        )
    if result is None:  # another process reports
        return
    if json:
        show_json(asdict(result))
    else:
        scores = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in result.dev_scores.items())
        show_lines(
            [
                f"best epoch {result.best_epoch + 1}: {scores}",
                "class weights in the loss: "
                + ", ".join(f"{name} {value:.2f}" for name, value in result.class_weights.items()),
                f"distance from the training images: {result.distance}",
                f"model: {result.model}",
                f"curves and how to go on: {result.page}",
            ]
        )
    finish(result.unreadable)


def _parse_set(assignments: list[str]) -> dict[str, Any]:
    values = {}
    for text in assignments:
        name, separator, value = text.partition("=")
        if not separator:
            raise UsageError(f"--set takes NAME=VALUE, not '{text}'")
        try:
            values[name.strip()] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError) as error:
            raise UsageError(f"--set {text}: the value cannot be read as YAML; put quotes around text") from error
    return values
