"""The display of a training run: a progress bar on a terminal, how far its steps are, and a line an epoch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, RichProgressBar

from cxrlens.training.lightning_module import QualityClassifier

log = logging.getLogger(__name__)


class StderrProgressBar(RichProgressBar):
    """Lightning's bar on stderr, so that stdout holds the result alone."""

    def __init__(self) -> None:
        super().__init__(leave=False, console_kwargs={"stderr": True})

    def get_metrics(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """No numbers beside the bar: the epoch lines have them."""
        return {}


class EpochLines(Callback):
    """Logs the scores of each finished epoch."""

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, QualityClassifier)
        if trainer.is_global_zero and pl_module.history:
            row = pl_module.history[-1]
            log.info(
                "epoch %d/%d: train loss %.3f, dev loss %.3f, AUC %.3f, accuracy %.3f, "
                "sensitivity %.3f, specificity %.3f",
                row["epoch"] + 1,
                trainer.max_epochs,
                *(row[k] for k in ("train_loss", "dev_loss", "dev_auc", "dev_accuracy")),
                row["dev_sensitivity"],
                row["dev_specificity"],
            )


class Steps(Callback):
    """Tells how many of a training's steps are done, those of all epochs together.

    Args:
        move: called as move(done, total, which epoch it is).
    """

    def __init__(self, move: Callable[..., None]) -> None:
        self._move = move

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not trainer.is_global_zero or not trainer.max_epochs:
            return
        steps, epoch = int(trainer.num_training_batches), trainer.current_epoch
        what = f"epoch {epoch + 1} of {trainer.max_epochs}"
        self._move(epoch * steps + batch_idx + 1, steps * trainer.max_epochs, what)
