"""``cxrlens train`` as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrlens.api.arguments import FileName, as_list, check_numbers, checked, dataset_of, path_of, processes, store_of
from cxrlens.devices import resolve_device
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.models.registry import file_name_of
from cxrlens.training.fitting import Hardware, TrainingResult
from cxrlens.training.run import train_model

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback


@checked
def train(
    data: FileName | Dataset,
    *,
    run_dir: FileName | None = None,
    arch: str | None = None,
    recipe: FileName | None = None,
    weights: FileName | None = None,
    image_size: int | None = None,
    resize: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    class_weights: str | None = None,
    precision: str | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    labels: FileName | None = None,
    resume: bool = False,
    force: bool = False,
    device: str = "auto",
    devices: str | int = "1",
    num_nodes: int = 1,
    strategy: str = "auto",
    workers: int | None = None,
    cache_dir: FileName | None = None,
    cache_size: str | None = None,
    loggers: str | Iterable[str] = (),
    callbacks: list[Callback] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> TrainingResult | None:
    """Train a classifier and keep the epoch with the best AUC on the dev images.

    Args:
        data: a data set folder with the splits ``train`` and ``dev``.
        run_dir: where the run's files go; by default ``runs/ARCH-RECIPE``, see `default_run_dir`.
        arch: name of the architecture, also ``timm:NAME`` or ``torchvision:NAME`` (docs/networks.md); by default
            resnet34, or that of the run that is resumed.
        recipe: "paper" (the default), "small", or a YAML file of recipe values.
        weights: "imagenet", "none" (random), a weights file, or where others are from (docs/networks.md); likewise the
            following, down to ``seed``, each by default the recipe's.
        image_size: side of the square input in pixels.
        resize: "stretch" fills the input, "letterbox" keeps the aspect.
        epochs: how many.
        batch_size: images per step and process.
        learning_rate: the highest of the run.
        class_weights: "none" or "balanced": classes in the loss.
        precision: "auto", "32-true", "bf16-mixed" or "16-mixed".
        seed: of everything random.
        settings: any other recipe values by name, such as ``{"augmentation.degrees": 10}``.
        labels: CSV (path,label) of new labels and further training images, such as a worklist's verdicts.
        resume: go on with a run that was stopped.
        force: replace a run that is there, but no folder that holds other files too.
        device: "auto", "cpu", "cuda" ...
        devices: how many devices; with ``num_nodes`` and ``strategy`` as Lightning takes it.
        workers: processes that read images; by default half the processors, at most 8.
        cache_dir: folder of decoded images; by default ``$CXRLENS_CACHE``, else the user's folder for caches.
        cache_size: what they may take, such as "20GB"; by default ``$CXRLENS_CACHE_SIZE``, else 20GB.
        loggers: where the scores of each epoch also go: "csv", "tensorboard", "mlflow" or "wandb".
        callbacks: Lightning's.
        progress: called as progress(split, done, total) while images are decoded.

    Returns:
        What came of it; None in every process but the first, where several train together.

    Raises:
        UsageError: when data, recipe, weights or run directory cannot be used.
        NothingToDoError: when a resumed run is already finished.
    """
    check_numbers(seed=seed, num_nodes=num_nodes, workers=workers)
    named = {
        "weights": None if weights is None else str(weights),
        "image_size": image_size,
        "resize": resize,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "class_weights": class_weights,
        "precision": precision,
        "seed": seed,
    }
    return train_model(
        dataset_of(data),
        default_run_dir(arch, recipe) if run_dir is None else Path(run_dir),
        architecture=arch,
        recipe=None if recipe is None else str(recipe),
        overrides={name: value for name, value in named.items() if value is not None} | dict(settings or {}),
        hardware=Hardware(resolve_device(device), str(devices), num_nodes, strategy, processes(workers)),
        store=store_of(cache_dir, cache_size),
        labels=path_of(labels),
        force=force,
        resume=resume,
        loggers=as_list(loggers),
        callbacks=callbacks,
        progress=progress,
    )


def default_run_dir(
    arch: str | None, recipe: FileName | None, *, name: str | None = None, runs: Path | None = None
) -> Path:
    """The folder of a run: below ``runs``, named by architecture and recipe unless it has a name."""
    if name is None:
        named = "resnet34" if arch is None else arch, "paper" if recipe is None else Path(recipe).stem
        name = f"{file_name_of(named[0])}-{named[1]}"
    return (Path("runs") if runs is None else runs) / name
