"""The job behind ``cxrlens train``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback

from cxrlens.errors import UsageError
from cxrlens.inputs.cache.store import ArrayStore
from cxrlens.inputs.dataset.dataset import Dataset, log_remarks
from cxrlens.inputs.dataset.label_csv import read_labels, with_labels
from cxrlens.inputs.unreadable import report_unreadable
from cxrlens.models.pretrained import pretrained_normalisation
from cxrlens.models.registry import build_network, find_architecture
from cxrlens.outputs import claimed
from cxrlens.training.fitting import (
    Hardware,
    TrainingResult,
    check_hardware,
    data_digest,
    is_first_process,
    read_config,
    read_normalisation,
    start_run,
    train,
    training_precision,
)
from cxrlens.training.loggers import check_loggers
from cxrlens.training.recipe import Recipe, resolve_recipe, set_value, validated
from cxrlens.wording import counted

log = logging.getLogger(__name__)


def train_model(
    data: Dataset,
    run_dir: Path,
    *,
    architecture: str | None,
    recipe: str | None,
    overrides: Mapping[str, Any],
    hardware: Hardware,
    store: ArrayStore | None = None,
    labels: Path | None = None,
    force: bool = False,
    resume: bool = False,
    loggers: Sequence[str] = (),
    callbacks: list[Callback] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> TrainingResult | None:
    """Train a classifier on the ``train`` split and choose the best epoch on ``dev``.

    Args:
        data: with the splits ``train`` and ``dev``.
        run_dir: where the run's files go.
        architecture: see `cxrlens.models.registry.find_architecture`; None = resnet34, or that of the resumed run.
        recipe: a preset or a YAML file; None = ``paper``, or that of the resumed run.
        overrides: recipe values by name.
        hardware: device and processes.
        store: where decoded images are kept; None = this user's cache.
        labels: a CSV of new labels and further training images, see `cxrlens.inputs.dataset.label_csv`.
        force: replace a run that is there, but no folder that holds other files too.
        resume: go on with a run that is there; its recipe cannot be changed.
        loggers: where the scores of each epoch also go, "csv", "tensorboard", "mlflow" or "wandb".
        callbacks: Lightning's.
        progress: called as progress(split, done, total) while images are decoded.

    Returns:
        What came of it; None in every process but the first.

    Raises:
        UsageError: when data, recipe, weights, run directory or loggers cannot be used.
        NothingToDoError: when a resumed run is already finished.
    """
    check_loggers(loggers)
    splits = [data.split(name) for name in ("train", "dev")]
    described: dict[str, Any] = {"folder": str(data.root.resolve())}
    if labels is not None:
        others = [data.split(name) for name in data.splits if name not in ("train", "dev")]
        relabelled = with_labels(splits[0], read_labels(labels), [splits[1], *others])
        splits[0] = relabelled.split
        described |= {"labels": str(labels.resolve()), "changed": relabelled.changed, "added": relabelled.added}
    described["digest"] = digest = data_digest(splits)
    if resume:
        if force:
            raise UsageError("`resume` goes on with a run and `force` replaces it: give one of them")
        architecture, chosen = _resumed(run_dir, digest, architecture, recipe, overrides)
    else:
        architecture = find_architecture("resnet34" if architecture is None else architecture).name
        chosen = resolve_recipe("paper" if recipe is None else recipe, overrides)
    if resume:
        normalisation = read_normalisation(run_dir)
    else:
        normalisation = pretrained_normalisation(chosen.weights, find_architecture(architecture))
    if is_first_process():
        for split in splits:
            log_remarks(split)
        if not resume:
            # Fails before ``force`` replaces a run, and before there is a new one.
            check_hardware(run_dir, architecture, chosen, hardware)
            build_network(architecture, weights=chosen.weights, size=(chosen.image_size, chosen.image_size))
    alone = claimed(run_dir, "training", "a `run_dir`", private=False) if is_first_process() else nullcontext()
    with alone:
        if is_first_process():
            if not resume:
                start_run(run_dir, architecture, chosen, described, normalisation=normalisation, force=force)
            _log_beginning(architecture, chosen, hardware)
            if labels is not None:
                log.info("%s: %d labels changed, %d images added", labels, described["changed"], described["added"])
            for split in splits:
                log.info("%s: %s", split.name, ", ".join(f"{n} {name}" for name, n in split.counts().items()))
        result = train(
            splits[0],
            splits[1],
            run_dir,
            architecture,
            chosen,
            hardware,
            store=store or ArrayStore.default(),
            normalisation=normalisation,
            resume=resume,
            loggers=loggers,
            callbacks=callbacks,
            progress=progress,
        )
        if result is not None:
            report_unreadable(result.unreadable, run_dir)
        return result


def _log_beginning(architecture: str, recipe: Recipe, hardware: Hardware) -> None:
    log.info(
        "training %s with recipe '%s' at %s, %s, %s precision, weights: %s",
        architecture,
        recipe.name,
        recipe.preprocessing().size,
        counted(recipe.epochs, "epoch"),
        training_precision(recipe, architecture, hardware.device),
        recipe.weights,
    )


def _resumed(
    run_dir: Path, digest: str, architecture: str | None, recipe: str | None, overrides: Mapping[str, Any]
) -> tuple[str, Recipe]:
    saved_architecture, saved, data = read_config(run_dir)
    if data["digest"] != digest:
        raise UsageError(
            f"{run_dir}: was started with other images or labels (those of {data['folder']}); "
            f"resume it with them{_labels_of(data)}, or give a new `run_dir`"
        )
    wanted = saved.model_dump() if recipe is None else resolve_recipe(recipe, {}).model_dump()
    for name, value in overrides.items():
        set_value(wanted, name, value)
    changed = [name for name, value in validated(wanted, "options").model_dump().items()
               if value != saved.model_dump()[name]]  # fmt: skip
    if architecture not in (None, saved_architecture):
        changed.insert(0, "architecture")
    if changed:
        raise UsageError(
            f"{run_dir}: was started with another {', '.join(changed)} (see its config.yaml); "
            "resume it without these options, or give a new `run_dir`"
        )
    return saved_architecture, saved


def _labels_of(data: Mapping[str, Any]) -> str:
    return f" and `labels={data['labels']}`" if "labels" in data else ""
