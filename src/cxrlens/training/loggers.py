"""Where else the numbers of a training go: Lightning's loggers, in a folder of the run; nothing leaves the computer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from cxrlens.errors import UsageError
from cxrlens.outputs import starts_with

FOLDER: Final = "logs"
"""Of the loggers' files, in that of the run."""

_PROJECT: Final = "cxrlens"
_NEEDS: Final = {"csv": None, "tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}
_QUIET: Final = {
    "mlflow": {"MLFLOW_DISABLE_TELEMETRY": "true"},
    "wandb": {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"},
}

LOGGERS: Final = tuple(_NEEDS)

_RUN_OF_WANDB: Final = rf"{FOLDER}/wandb/(offline-)?run-\d{{8}}_\d{{6}}-\w+"

OWN_FILES: Final[Mapping[str, Callable[[Path], bool] | None]] = {
    rf"{FOLDER}/(csv|tensorboard)/version_\d+/hparams\.yaml": None,
    rf"{FOLDER}/csv/version_\d+/metrics\.csv": None,
    rf"{FOLDER}/tensorboard/version_\d+/events\.out\.tfevents\.[\w.-]+": None,
    rf"{FOLDER}/mlflow/mlflow\.db": starts_with(b"SQLite format 3"),
    rf"{FOLDER}/mlflow/mlflow\.db-(journal|wal|shm)": None,
    rf"{_RUN_OF_WANDB}/run-\w+\.wandb(\.synced)?": None,
    rf"{_RUN_OF_WANDB}/logs/debug[\w-]*\.log": None,
    rf"{_RUN_OF_WANDB}/files/(output\.log|(config|wandb-metadata|wandb-summary)\.(yaml|json)|requirements\.txt)": None,
    rf"{FOLDER}/wandb/(debug(-internal)?\.log|latest-run)": None,
}
"""Patterns of the files of loggers in a run's folder, as `cxrlens.outputs.remove_own` takes them."""


def check_loggers(names: Sequence[str]) -> None:
    """Make sure that the loggers are known and installed.

    Raises:
        UsageError: when one is not; the sentence says how to install it.
    """
    for name in names:
        if name not in _NEEDS:
            raise UsageError(f"unknown `logger={name}`: use {', '.join(LOGGERS)}")
        needed = _NEEDS[name]
        if needed is not None and find_spec(needed) is None:
            raise UsageError(f"`logger={name}` needs {needed}: pip install {needed}; or leave it out")


@contextmanager
def opened_loggers(names: Sequence[str], run_dir: Path, facts: Mapping[str, Any]) -> Iterator[list[Logger]]:
    """The loggers of a training, which write into a folder of the run; they are closed at the end.

    Where a user has configured MLflow (``MLFLOW_TRACKING_URI``) or Weights & Biases (``WANDB_MODE``), that holds;
    else Weights & Biases is offline.

    Args:
        facts: what was trained and how, noted once.

    Raises:
        UsageError: as `check_loggers` does.
    """
    check_loggers(names)
    for variable, value in (pair for name in names for pair in _QUIET.get(name, {}).items()):
        os.environ.setdefault(variable, value)
    opened = [_installed(name, run_dir) for name in dict.fromkeys(names)]
    for logger in opened:
        logger.log_hyperparams(dict(facts))
    try:
        yield opened
    finally:
        for logger in opened:
            if isinstance(logger, WandbLogger) and getattr(rank_zero_only, "rank", 0) == 0:
                logger.experiment.finish()


def _installed(name: str, run_dir: Path) -> Logger:
    """A logger whose package can be imported.

    Raises:
        UsageError: when it, or what it needs, cannot.
    """
    try:
        logger = _opened(name, run_dir)
        _ = logger.experiment  # where packages are imported; in other processes than the first nothing is done
    except ImportError as error:
        needed = _NEEDS[name]
        raise UsageError(
            f"`logger={name}` cannot be used ({error}): pip install --upgrade {needed}; or leave it out"
        ) from error
    return logger


def _opened(name: str, run_dir: Path) -> CSVLogger | TensorBoardLogger | MLFlowLogger | WandbLogger:
    folder = run_dir / FOLDER
    if name == "csv":
        return CSVLogger(folder, name=name)
    if name == "tensorboard":
        return TensorBoardLogger(folder, name=name)
    if name == "mlflow":
        place = (folder / name).resolve()
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri:
            return MLFlowLogger(_PROJECT, run_name=run_dir.name, tracking_uri=uri)
        place.mkdir(parents=True, exist_ok=True)
        uri = f"sqlite:///{place.as_posix()}/mlflow.db"  # MLflow's folders of files are no longer kept up
        artifacts = (place / "artifacts").as_uri()
        return MLFlowLogger(_PROJECT, run_name=run_dir.name, tracking_uri=uri, artifact_location=artifacts)
    folder.mkdir(parents=True, exist_ok=True)
    is_offline = "WANDB_MODE" not in os.environ
    return WandbLogger(name=run_dir.name, project=_PROJECT, save_dir=folder, offline=is_offline)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under names joined with points, as loggers take them."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
