"""Whether 8-bit integers decide as float32 does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from cxrlens.export.training_images import TrainingImages
from cxrlens.models.onnx_file import read_onnx

MOST_CHANGED = 0.01
"""The share of decisions that may change."""

MOST_AUC_LOST = 0.002

MOST_LOG_ODDS = 0.1
"""By which log-odds may change in half of the images: 0.025 in a probability near 0.5."""


@dataclass(frozen=True)
class Int8Quality:
    """What 8-bit integers change, on training images that the ranges were not taken from.

    Attributes:
        images: number of them.
        decisions_changed: how many get another decision, or suggestion where the model is calibrated.
        log_odds_median: by how much log-odds (before a calibration) change; likewise ``log_odds_most``.
        auc: of the images' labels; None where they have none, or all the same. ``auc_f32`` is that of float32.
    """

    images: int
    decisions_changed: int
    log_odds_median: float
    log_odds_most: float
    auc: float | None
    auc_f32: float | None

    @classmethod
    def of(cls, file: Path, images: TrainingImages) -> Self:
        """What a file's branch of 8-bit integers changes, by onnxruntime.

        Raises:
            UsageError: when images cannot be read, or this processor does not multiply 8-bit integers as it should.
        """
        models = [read_onnx(file, precision=precision, device="cpu") for precision in ("f32", "int8")]
        card = models[0].card
        labels: list[int | None] = []
        found: list[list[npt.NDArray[np.float64]]] = [[], []]
        decisions: list[list[str]] = [[], []]
        for batch in images.batches(images.checking, card.preprocessing):
            labels += [item.label for item in batch.items]
            for place, model in enumerate(models):
                output = model.run(batch.grey.numpy(), maps=False)
                found[place].append(output.logits[:, 1].astype(np.float64) - output.logits[:, 0])
                decisions[place] += [card.triage(each) or card.decision(each) for each in output.probability.tolist()]
        exact, own = (np.concatenate(each) for each in found)
        change = np.abs(own - exact)
        ranked = None not in labels and len(set(labels)) > 1
        return cls(
            images=len(labels),
            decisions_changed=sum(one != other for one, other in zip(*decisions, strict=True)),
            log_odds_median=float(np.median(change)),
            log_odds_most=float(change.max()),
            auc=float(roc_auc_score(labels, own)) if ranked else None,
            auc_f32=float(roc_auc_score(labels, exact)) if ranked else None,
        )

    @property
    def holds(self) -> bool:
        """True within `MOST_CHANGED`, `MOST_AUC_LOST` and `MOST_LOG_ODDS`."""
        lost = 0.0 if self.auc is None or self.auc_f32 is None else self.auc_f32 - self.auc
        few = self.decisions_changed <= MOST_CHANGED * self.images
        return few and lost <= MOST_AUC_LOST and self.log_odds_median <= MOST_LOG_ODDS

    def __str__(self) -> str:
        """In words."""
        auc = "" if self.auc is None else f", AUC {self.auc:.4f} for {self.auc_f32:.4f}"
        return (
            f"{self.decisions_changed} of {self.images} decisions change, log-odds by {self.log_odds_median:.2g} "
            f"(median) and {self.log_odds_most:.2g} at most{auc}"
        )
