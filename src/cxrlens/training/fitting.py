"""A training run: its directory, Lightning's trainer, resuming, and the model file at the end."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

import cxrlens
from cxrlens.devices import is_faster_in_bfloat16
from cxrlens.environment import describe_environment, timestamp
from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.files import is_partial, plain, read_yaml, replacing, write_csv, write_json, write_text
from cxrlens.inputs.cache.store import ArrayStore
from cxrlens.inputs.dataset.layouts import CLASS_NAMES, Split
from cxrlens.inputs.remarked import report_remarked
from cxrlens.inspection.distance_fitting import MOST, FeatureTable, fitted_distance
from cxrlens.models.architecture import IMAGENET, Normalisation
from cxrlens.models.card import ModelCard
from cxrlens.models.distance import NOT_KNOWN
from cxrlens.models.model_file import is_model_file, save_model
from cxrlens.models.registry import build_network, file_name_of, find_architecture
from cxrlens.outputs import LOCK, remove_own, remove_partials, starts_with
from cxrlens.training.data_module import QualityData
from cxrlens.training.lightning_module import QualityClassifier
from cxrlens.training.loggers import OWN_FILES as LOG_FILES
from cxrlens.training.loggers import flat, opened_loggers
from cxrlens.training.page import CURVES, PAGE, RunFacts, write_training_page
from cxrlens.training.recipe import Recipe, validated

MODEL_NAME = "model.safetensors"
CHECKPOINTS = "checkpoints"


def _is_config(path: Path) -> bool:
    try:
        return {"architecture", "data", "recipe"} <= read_yaml(path, "configuration of a run", "").keys()
    except UsageError:
        return False


OWN_FILES: dict[str, Callable[[Path], bool] | None] = {
    r"config\.yaml": _is_config,
    r"environment\.json": starts_with(b"{"),
    r"metrics\.csv": starts_with(b"epoch,"),
    r"unreadable\.txt": None,
    rf"{CHECKPOINTS}/(best|last)(-v\d+)?\.ckpt": starts_with(b"PK"),
    r"model-[\w.-]+-acc[\dn][.\da]*-auc[\dn][.\da]*\.safetensors": is_model_file,
    r"model\.safetensors": is_model_file,
    re.escape(PAGE): starts_with(b"<!DOCTYPE html>"),
    rf"{CURVES}\.png": starts_with(b"\x89PNG"),
    rf"{CURVES}\.svg": starts_with(b"<?xml"),
    **LOG_FILES,
}
"""Patterns of the files of a run, and checks of what they hold: what is replaced with a run."""


@dataclass(frozen=True)
class Hardware:
    """Devices that a run is trained on; passed through to Lightning.

    Attributes:
        device: a torch device type.
        devices: how many of them (Lightning's syntax, so "auto" and "0,1" work too).
        num_nodes: number of machines.
        strategy: Lightning's name of the strategy.
        workers: loader processes.
    """

    device: torch.device
    devices: str = "1"
    num_nodes: int = 1
    strategy: str = "auto"
    workers: int = 0


@dataclass(frozen=True)
class TrainingResult:
    """Outcome of a run.

    Attributes:
        run_dir: its folder.
        model: the best model's file.
        best_epoch: counted from 0.
        distance: what that of images from the training images rests on, in words.
        dev_scores: of the best epoch.
        counts: readable images per split and class.
        class_weights: weight of each class in the loss.
        unreadable: a sentence for each image that was left out.
        seconds: wall time of this call.
        precision: Lightning's name of that in which the network was trained.
        page: the curves and what else there is to know of the run.
    """

    run_dir: Path
    model: Path
    best_epoch: int
    distance: str
    dev_scores: dict[str, float]
    counts: dict[str, dict[str, int]]
    class_weights: dict[str, float]
    unreadable: list[str]
    seconds: float
    precision: str
    page: Path


def data_digest(splits: Iterable[Split]) -> str:
    """Names which files with which labels make up the splits, wherever they lie."""
    digest = hashlib.sha256()
    for split in splits:
        for item in split.items:
            digest.update(f"{split.name} {item.name} {item.label}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def start_run(
    run_dir: Path,
    architecture: str,
    recipe: Recipe,
    data: Mapping[str, Any],
    *,
    normalisation: Normalisation = IMAGENET,
    force: bool = False,
) -> None:
    """Make the run directory and write down what will be done, and with which data (folder, digest, new labels).

    Call it within the run's lock. A run's own files are removed, or nothing where there are others. The normalisation
    of images is written where it is not the usual one.

    Raises:
        UsageError: when it exists and ``force`` is not given, or holds files that are not a run's.
    """
    there = [entry for entry in run_dir.iterdir() if not (entry.name == LOCK or is_partial(entry.name))]
    if there and not (force and (run_dir / "config.yaml").is_file()):
        raise UsageError(
            f"{run_dir}: already exists and is not empty; "
            "`resume` goes on with it, `force` starts it anew, `run_dir` gives another name"
        )
    remove_own(run_dir, OWN_FILES, last=("config.yaml",))
    config = {"architecture": architecture, "data": dict(data), "recipe": plain(recipe.model_dump())}
    if normalisation != IMAGENET:
        config["normalisation"] = plain(asdict(normalisation))
    write_text(run_dir / "config.yaml", yaml.safe_dump(config, sort_keys=False))


def read_config(run_dir: Path) -> tuple[str, Recipe, dict[str, Any]]:
    """Architecture, recipe and data of a run that was started.

    Raises:
        UsageError: when there is none or its configuration cannot be read.
    """
    path = run_dir / "config.yaml"
    if not path.exists():
        raise UsageError(f"{run_dir}: there is no run to resume here; leave `resume` out to start one")
    config = read_yaml(path, "configuration of a run", "give another `run_dir`, or delete the file")
    try:
        return str(config["architecture"]), validated(config["recipe"], str(path)), dict(config["data"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read; give another `run_dir`, or delete the file") from error


def read_normalisation(run_dir: Path) -> Normalisation:
    """How a run that was started normalises images.

    Raises:
        UsageError: when its configuration cannot be read.
    """
    path = run_dir / "config.yaml"
    values = read_yaml(path, "configuration of a run", "give another `run_dir`, or delete the file")
    try:
        found = Normalisation(**values.get("normalisation", {}))
        return Normalisation(tuple(map(float, found.mean)), tuple(map(float, found.std)))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: its normalisation cannot be read; give another `run_dir`") from error


def train(
    train_split: Split,
    dev_split: Split,
    run_dir: Path,
    architecture: str,
    recipe: Recipe,
    hardware: Hardware,
    *,
    store: ArrayStore,
    normalisation: Normalisation = IMAGENET,
    resume: bool = False,
    loggers: Sequence[str] = (),
    callbacks: list[Callback] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> TrainingResult | None:
    """Train until the recipe's last epoch and save the epoch with the best dev AUC.

    The run directory must have been started (`start_run`). With several processes, each calls this; all but the
    first get None.

    Args:
        store: where decoded images are kept.
        normalisation: of the images; that of the run that is resumed.
        resume: go on from the last finished epoch.
        loggers: where the scores of each epoch also go, see `cxrlens.training.loggers`.
        callbacks: Lightning's, in addition to the ones of the run (a progress bar, for example).
        progress: called as progress(split, done, total) while images are decoded.

    Raises:
        UsageError: when weights, data or strategy cannot be used.
        NothingToDoError: when a resumed run is already finished.
    """
    began = time.monotonic()
    precision = training_precision(recipe, architecture, hardware.device)
    if resume and (run_dir / MODEL_NAME).exists():
        raise NothingToDoError(f"{run_dir}: this run is finished; its model is {run_dir / MODEL_NAME}")
    environment = describe_environment(device=str(hardware.device), seed=recipe.seed)
    if is_first_process():
        remove_partials(run_dir, [CHECKPOINTS])
        write_json(run_dir / "environment.json", {**environment, "precision": precision})
    torch.manual_seed(recipe.seed)
    last = run_dir / CHECKPOINTS / "last.ckpt"
    resumes = resume and last.is_file()
    weights = "none" if resumes else recipe.weights
    preprocessing = recipe.preprocessing().model_copy(update=asdict(normalisation))
    network = build_network(architecture, weights=weights, size=(preprocessing.height, preprocessing.width))
    data = QualityData(
        train_split,
        dev_split,
        recipe,
        preprocessing,
        store,
        workers=hardware.workers,
        progress=progress,
    )
    module = QualityClassifier(network, recipe, preprocessing)
    best = _Checkpoints(run_dir / CHECKPOINTS)
    with store.in_use(), warnings.catch_warnings():
        if is_first_process():  # before Lightning starts, so that its error handling stays out of the way
            data.prepare_data()
            data.setup()
            report_remarked(data.remarked)
        warnings.filterwarnings("ignore", module="lightning")
        facts = {"architecture": architecture, "precision": precision, **flat(plain(recipe.model_dump()))}
        with opened_loggers(loggers, run_dir, facts) as logging_to:
            all_callbacks = [best, _MetricsTable(run_dir), *(callbacks or [])]
            trainer = _trainer(run_dir, architecture, recipe, hardware, all_callbacks, logging_to)
            try:
                trainer.fit(module, datamodule=data, ckpt_path=last if resumes else None, weights_only=True)
            except SystemExit:  # what Lightning makes of Ctrl-C
                raise KeyboardInterrupt from None
        if not trainer.is_global_zero:
            return None
        seen = {name: FeatureTable(preprocessing, data.some(name, MOST)) for name in data.splits}
    distance = fitted_distance(seen["train"], seen["dev"], Path(read_config(run_dir)[2]["folder"]).name)
    stored = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    prefix = "network."
    network.load_state_dict(
        {key.removeprefix(prefix): value for key, value in stored["state_dict"].items() if key.startswith(prefix)}
    )
    scores = next(row for row in module.history if row["epoch"] == stored["epoch"])
    counts = {name: data.counts(name) for name in data.splits}
    dev_scores = {name: value for name, value in scores.items() if name.startswith("dev_")}
    card = ModelCard(
        architecture=architecture,
        preprocessing=preprocessing,
        training={
            "recipe": plain(recipe.model_dump()),
            "data": read_config(run_dir)[2],
            "images": plain(counts),
            "best_epoch": stored["epoch"],
        },
        dev_scores=dict(dev_scores),
        distance=distance,
        cxrlens_version=cxrlens.__version__,
        created=timestamp(),
    )
    seconds = time.monotonic() - began
    facts_of_run = RunFacts(card, module.history, precision, None if resumes else seconds, environment, data.unreadable)
    page = write_training_page(run_dir, facts_of_run)
    model = _save(run_dir, network, card)  # last: a run that has it is finished
    return TrainingResult(
        run_dir=run_dir,
        model=model,
        best_epoch=int(stored["epoch"]),
        distance=NOT_KNOWN if distance is None else str(distance),
        dev_scores=dev_scores,
        counts=counts,
        class_weights=dict(zip(CLASS_NAMES, module.class_weights.tolist(), strict=True)),
        unreadable=data.unreadable,
        seconds=seconds,
        precision=precision,
        page=page,
    )


def is_first_process() -> bool:
    """True in the process that writes and reports, of the several that one run may have."""
    node = os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))
    return getattr(rank_zero_only, "rank", 0) == 0 and node == "0"


def training_precision(recipe: Recipe, architecture: str, device: torch.device) -> str:
    """Lightning's precision for the recipe's; "auto" takes bfloat16 where it makes training faster.

    Raises:
        UsageError: when the device cannot train with it.
    """
    if recipe.precision == "16-mixed" and device.type == "cpu":
        raise UsageError("precision 16-mixed needs a GPU; on a CPU use 32-true or bf16-mixed")
    if recipe.precision != "auto":
        return recipe.precision
    gains = device.type != "cpu" or find_architecture(architecture).bf16_training_on_cpu
    faster = gains and is_faster_in_bfloat16(device)
    return "bf16-mixed" if faster else "32-true"


def check_hardware(run_dir: Path, architecture: str, recipe: Recipe, hardware: Hardware) -> None:
    """Make sure that the hardware is there, and trains in the recipe's precision; nothing is written.

    Raises:
        UsageError: when it is not, or does not.
    """
    _trainer(run_dir, architecture, recipe, hardware, [])


def _trainer(
    run_dir: Path,
    architecture: str,
    recipe: Recipe,
    hardware: Hardware,
    callbacks: list[Callback],
    loggers: list[Logger] | None = None,
) -> lightning.Trainer:
    devices: Any = int(hardware.devices) if hardware.devices.isdigit() else hardware.devices
    if devices == 1 and hardware.device.index is not None:
        devices = [hardware.device.index]
    try:
        return lightning.Trainer(
            accelerator={"cuda": "gpu"}.get(hardware.device.type, hardware.device.type),
            devices=devices,
            num_nodes=hardware.num_nodes,
            strategy=hardware.strategy,
            precision=training_precision(recipe, architecture, hardware.device),  # type: ignore[arg-type]
            max_epochs=recipe.epochs,
            logger=loggers or False,
            callbacks=callbacks,
            plugins=[_AtomicCheckpoints()],
            default_root_dir=run_dir,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
            enable_model_summary=False,
        )
    except (
        ValueError,
        RuntimeError,
        lightning.fabric.utilities.exceptions.MisconfigurationException,
    ) as error:
        raise UsageError(f"the trainer refuses `devices`, `num_nodes` or `strategy`: {error}") from error


def _save(run_dir: Path, network: torch.nn.Module, card: ModelCard) -> Path:
    dev = card.dev_scores
    name = f"model-{file_name_of(card.architecture)}-acc{dev['dev_accuracy']:.4f}-auc{dev['dev_auc']:.4f}.safetensors"
    save_model(run_dir / name, network, card)
    with replacing(run_dir / MODEL_NAME) as link:
        link.unlink()
        try:
            link.symlink_to(name)
        except OSError:  # a file system without links
            shutil.copyfile(run_dir / name, link)
    return run_dir / MODEL_NAME


class _MetricsTable(Callback):
    """Writes the scores of every epoch so far to metrics.csv."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / "metrics.csv"

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, QualityClassifier)
        if trainer.is_global_zero and pl_module.history:
            write_csv(self.path, list(pl_module.history[0]), pl_module.history)


class _Checkpoints(ModelCheckpoint):
    """``best.ckpt`` by dev AUC and ``last.ckpt``; still found after the run's folder was moved."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            filename="best",
            monitor="dev_auc",
            mode="max",
            save_top_k=1,
            save_last=True,
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state of the stopped run, with its paths in today's folder."""
        assert self.dirpath is not None
        folder = Path(self.dirpath)

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        moved = {name: here(state_dict[name]) for name in ("best_model_path", "kth_best_model_path", "last_model_path")}
        moved["dirpath"] = str(folder)
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": best})


class _AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints are written beside their place and renamed, so that a kill leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        with replacing(Path(path)) as partial:
            super().save_checkpoint(checkpoint, partial, storage_options)
