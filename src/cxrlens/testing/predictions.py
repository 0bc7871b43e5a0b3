"""A network's logits of all readable images of a labelled split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cxrlens.errors import NothingToDoError
from cxrlens.inputs.dataset.layouts import Item, Split
from cxrlens.inputs.decoding import BatchReader
from cxrlens.inputs.unreadable import report_unreadable
from cxrlens.inspection.quality_model import QualityModel


@dataclass(frozen=True)
class Predictions:
    """The images that have a label and could be read, their labels (1 = affected), and logits [n, 2]."""

    items: list[Item]
    labels: list[int]
    logits: Tensor
    unreadable: list[str]


def predict(
    data: Path,
    split: Split,
    model: QualityModel,
    out: Path,
    *,
    unreadable_name: str = "unreadable.txt",
    batch_size: int,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Run a model's network on a split of ``data``; unreadable images are listed in ``out/unreadable_name``.

    Raises:
        NothingToDoError: when no image has a label or can be read.
    """
    reader = BatchReader(split.labelled, model.preprocessing, batch_size=batch_size, workers=workers)
    items: list[Item] = []
    logits: list[Tensor] = []
    for batch in reader:
        items += batch.items
        logits.append(model.logits(batch.grey))
        if progress:
            progress(len(items) + len(reader.unreadable), len(reader.items))
    report_unreadable(reader.unreadable, out, unreadable_name)
    if not items:
        raise NothingToDoError(f"{data}: none of the {len(reader.items)} images of '{split.name}' could be read")
    return Predictions(items, [int(item.label or 0) for item in items], torch.cat(logits), reader.unreadable)
