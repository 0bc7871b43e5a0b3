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
from cxrlens.inputs.remarked import report_remarked
from cxrlens.inputs.unreadable import report_unreadable
from cxrlens.inspection.quality_model import QualityModel


@dataclass(frozen=True)
class Predictions:
    """The images that have a label and could be read.

    Attributes:
        labels: of each, 1 = affected.
        logits: [n, 2].
        unreadable: a sentence for each that could not be read.
        remarks: on each, see `Radiograph.remarks`.
    """

    items: list[Item]
    labels: list[int]
    logits: Tensor
    unreadable: list[str]
    remarks: list[tuple[str, ...]]


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
    remarks: list[tuple[str, ...]] = []
    for batch in reader:
        items += batch.items
        remarks += [image.remarks for image in batch.images]
        logits.append(model.logits(batch.grey))
        if progress:
            progress(len(items) + len(reader.unreadable), len(reader.items))
    report_unreadable(reader.unreadable, out, unreadable_name)
    report_remarked(reader.remarked)
    if not items:
        raise NothingToDoError(f"{data}: none of the {len(reader.items)} images of '{split.name}' could be read")
    labels = [int(item.label or 0) for item in items]
    return Predictions(items, labels, torch.cat(logits), reader.unreadable, remarks)
