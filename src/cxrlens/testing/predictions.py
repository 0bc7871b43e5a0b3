"""A network's logits of all readable images of a labelled split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.inputs.dataset.layouts import Item, Split
from cxrlens.inputs.decoding import BatchReader
from cxrlens.inputs.readers import Pixels
from cxrlens.inputs.remarked import report_remarked
from cxrlens.inputs.unreadable import report_unreadable
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.models.card import NOT_ASSESSED

_REMEDY = "look at the model with 'cxrlens doctor --model'"


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
    see: Callable[[Item, Pixels, Tensor], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Run a model's network on a split of ``data``; unreadable images are listed in ``out/unreadable_name``, and so
    are those for which the network gives no number.

    Args:
        see: called with each image for which there is a number, [h, w] in [0, 1] as the network is shown it, and its
            logits [2].

    Raises:
        UsageError: when the network gives no number for any image.
        NothingToDoError: when no image has a label or can be read.
    """
    reader = BatchReader(split.labelled, model.preprocessing, batch_size=batch_size, workers=workers)
    items: list[Item] = []
    logits: list[Tensor] = []
    remarks: list[tuple[str, ...]] = []
    not_assessed: list[str] = []
    for batch in reader:
        found = model.logits(batch.grey)
        is_number = found.isfinite().all(1)
        for item, image, seen, is_sound in zip(batch.items, batch.images, found, is_number, strict=True):
            if is_sound:
                items.append(item)
                remarks.append(image.remarks)
                if see:
                    see(item, image.grey[0].numpy(), seen)
            else:
                not_assessed.append(f"{item.origin}: {NOT_ASSESSED}")
        logits.append(found[is_number])
        if progress:
            progress(len(items) + len(reader.unreadable) + len(not_assessed), len(reader.items))
    unreadable = [*reader.unreadable, *not_assessed]
    report_unreadable(unreadable, out, unreadable_name)
    report_remarked(reader.remarked)
    if len(not_assessed) == len(reader.items):
        raise UsageError(f"{data}: the model gives no number for any image of '{split.name}'; {_REMEDY}")
    if not items:
        raise NothingToDoError(f"{data}: none of the {len(reader.items)} images of '{split.name}' could be read")
    labels = [int(item.label or 0) for item in items]
    return Predictions(items, labels, torch.cat(logits), unreadable, remarks)
