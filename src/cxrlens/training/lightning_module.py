"""The classifier as Lightning trains it: loss, optimiser, schedule, and dev scores on un-augmented images."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.functional.classification import (
    binary_accuracy,
    binary_auroc,
    binary_recall,
    binary_specificity,
)

from cxrlens.inputs.dataset.layouts import AFFECTED
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.architecture import NORMALISATION_KEY, Normalisation
from cxrlens.training.recipe import Recipe, derived_seed


class QualityClassifier(lightning.LightningModule):
    """Trains a network to give the logits (normal, affected).

    Args:
        network: gives [N, 2].
        recipe: the training choices.
        preprocessing: turns grey images into the network's input.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.recipe = recipe
        self.preprocessing = preprocessing
        self.class_weights: Tensor
        self.register_buffer("class_weights", torch.ones(2), persistent=False)
        self.history: list[dict[str, float]] = []
        self._dev: list[tuple[Tensor, Tensor, Tensor]] = []
        self._losses: list[Tensor] = []
        self._train: list[tuple[Tensor, Tensor]] = []
        self._learning_rate = math.nan  # the highest of the epoch so far

    def setup(self, stage: str) -> None:
        """Weigh the classes in the loss by the readable training images: the same in every process."""
        if self.recipe.class_weights == "balanced":
            counts = self.trainer.datamodule.counts("train")  # type: ignore[attr-defined]
            self.class_weights = balanced_weights(counts).to(self.class_weights.device)

    def forward(self, grey: Tensor) -> Tensor:
        """Grey images [N, 1, h, w] in [0, 1] -> logits [N, 2]."""
        logits: Tensor = self.network(self.preprocessing.normalized(grey))
        return logits

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # Dropout draws from here, so that a resumed run draws what an uninterrupted one does.
        torch.manual_seed(derived_seed(self.recipe.seed, self.global_step, self.global_rank))
        rate = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        self._learning_rate = max(rate, self._learning_rate) if batch_idx else rate

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels, _ = batch
        logits = self(images).float()
        loss = functional.cross_entropy(logits, labels, weight=self.class_weights)
        self._losses.append(loss.detach())
        self._train.append((logits.detach(), labels))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> None:
        images, labels, indices = batch
        with torch.autocast(self.device.type, enabled=False):  # in float32, as `cxrlens test` computes them
            self._dev.append((indices, self(images).float(), labels))

    def on_validation_epoch_end(self) -> None:
        """Score all dev images together; images that several ranks saw count once."""
        indices, logits, labels = (torch.cat(parts) for parts in zip(*self._dev, strict=True))
        self._dev.clear()
        indices, logits, labels = map(self._from_all_ranks, (indices, logits, labels))
        _, first = np.unique(indices.cpu().numpy(), return_index=True)
        logits, labels = logits[first], labels[first]
        losses = torch.stack(self._losses) if self._losses else torch.full((1,), math.nan)
        self._losses.clear()
        learnt = torch.stack([losses.mean().to(self.device), self._train_auc()])[None]
        train_loss, train_auc = self._from_all_ranks(learnt).mean(0)
        scores = {
            "train_loss": train_loss,
            "train_auc": train_auc,
            "dev_loss": functional.cross_entropy(logits, labels),
            **dev_scores(logits.softmax(1)[:, AFFECTED], labels),
        }
        self.log_dict(scores, rank_zero_only=False, sync_dist=False)
        if not self.trainer.sanity_checking:
            values = {name: float(value) for name, value in scores.items()}
            self.history.append({"epoch": self.current_epoch, "learning_rate": self._learning_rate, **values})

    def _train_auc(self) -> Tensor:
        """AUC of the augmented training images as the network saw them while it learnt; NaN without both classes.

        Of several processes, each has that of its own images.
        """
        seen, self._train = self._train, []
        if not seen:
            return torch.tensor(math.nan, device=self.device)
        logits, labels = (torch.cat(parts) for parts in zip(*seen, strict=True))
        if labels.min() == labels.max():
            return torch.tensor(math.nan, device=self.device)
        return binary_auroc(logits.softmax(1)[:, AFFECTED], labels).to(self.device)

    def _from_all_ranks(self, part: Tensor) -> Tensor:
        """The parts [n, ...] of all processes, [ranks * n, ...]."""
        gathered = self.all_gather(part)
        assert isinstance(gathered, Tensor)
        return gathered.flatten(0, gathered.ndim - part.ndim)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history
        normalisation = Normalisation(self.preprocessing.mean, self.preprocessing.std)
        checkpoint[NORMALISATION_KEY] = asdict(normalisation)  # for whoever begins with these weights

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = list(checkpoint["history"])

    def configure_optimizers(self) -> Any:
        recipe = self.recipe
        optimizer: torch.optim.Optimizer
        if recipe.optimizer == "sgd":
            optimizer = torch.optim.SGD(
                self.network.parameters(),
                lr=recipe.learning_rate,
                momentum=recipe.momentum,
                weight_decay=recipe.weight_decay,
                fused=True,
            )
        else:
            optimizer = torch.optim.AdamW(
                self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
            )
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        scheduler: torch.optim.lr_scheduler.LRScheduler
        if recipe.schedule == "one_cycle":
            scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps)
        else:
            per_epoch = max(steps // recipe.epochs, 1)
            scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: step_factor(step, steps_per_epoch=per_epoch, recipe=recipe)
            )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def step_factor(step: int, *, steps_per_epoch: int, recipe: Recipe) -> float:
    """Share of the highest learning rate at a step of the schedule 'steps'.

    Linear from 1/1000 to 1 over the warm-up epochs, then times gamma after each milestone epoch.
    """
    warmup = recipe.warmup_epochs * steps_per_epoch
    if step < warmup:
        return 1e-3 + (1 - 1e-3) * step / warmup
    passed = sum(step >= milestone * steps_per_epoch for milestone in recipe.milestones)
    return recipe.gamma**passed


def dev_scores(probabilities: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """AUC, and accuracy, sensitivity and specificity at p >= 0.5, of the affected class; both arguments [N]."""
    called = (probabilities >= 0.5).int()
    return {
        "dev_auc": binary_auroc(probabilities, labels),
        "dev_accuracy": binary_accuracy(called, labels),
        "dev_sensitivity": binary_recall(called, labels),
        "dev_specificity": binary_specificity(called, labels),
    }


def balanced_weights(counts: dict[str, int]) -> Tensor:
    """Weight of each class, inverse to its share and 1 on average over the images: n / (classes * n_class), [2]."""
    total = sum(counts.values())
    return torch.tensor([total / (len(counts) * count) for count in counts.values()], dtype=torch.float32)
