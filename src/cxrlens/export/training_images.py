"""The images that 8-bit integers are made with: of the training split, never those that are scored."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrlens.errors import UsageError
from cxrlens.inputs.dataset.dataset import Dataset, log_remarks
from cxrlens.inputs.dataset.layouts import Item, load_folder
from cxrlens.inputs.decoding import Batch, BatchReader
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.unreadable import log_first

log = logging.getLogger(__name__)

SEED = 0

_MOST = 200
"""Images that ranges are taken from, and as many others to check with."""

_LEAST = 10
_BATCH = 8


@dataclass(frozen=True)
class TrainingImages:
    """Training images in two parts.

    Attributes:
        data: the folder they come from.
        calibrating: the ranges of activations are taken from these.
        checking: others, by which the result is judged.
        workers: processes that read them.
    """

    data: Path
    calibrating: Sequence[Item]
    checking: Sequence[Item]
    workers: int = 0

    @classmethod
    def of(cls, data: Path, *, workers: int = 0) -> TrainingImages:
        """Images of a data set's training split, or of a plain folder, drawn at random by `SEED`.

        Raises:
            UsageError: when the folder cannot be read, has no training split, or holds too few.
        """
        dataset = Dataset(data)
        items = log_remarks(dataset.split("train") if dataset.splits else load_folder(data)).items
        drawn = np.random.default_rng(SEED).permutation(len(items))[: 2 * _MOST].tolist()
        if len(drawn) < 2 * _LEAST:
            raise UsageError(
                f"{data}: holds {len(drawn)} training images; --int8 needs {2 * _LEAST}, half to calibrate and half to "
                "check with"
            )
        chosen, half = [items[place] for place in drawn], len(drawn) // 2
        return cls(data, chosen[:half], chosen[half:], workers)

    def batches(self, items: Sequence[Item], preprocessing: Preprocessing) -> Iterator[Batch]:
        """The readable ones of these, at the input size; the others are logged.

        Raises:
            UsageError: when too few can be read.
        """
        reader = BatchReader(items, preprocessing, batch_size=_BATCH, workers=self.workers)
        yield from reader
        if reader.unreadable:
            log.warning("%d training images could not be read and were left out", len(reader.unreadable))
            log_first(reader.unreadable)
        if len(items) - len(reader.unreadable) < _LEAST:
            raise UsageError(f"{self.data}: too few of its training images can be read for --int8; give other data")
