"""What a worker of a cluster does in a study: it scores units, and gives the records back."""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cxrlens.devices import resolve_device
from cxrlens.errors import UsageError
from cxrlens.evaluation.baselines import FloatMap
from cxrlens.inputs.decoding import DecodedArrays, DecodedImage, ImageDecoder, decode_by
from cxrlens.inputs.origin import Origin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.reading import Readers, Unreadable
from cxrlens.inputs.remarked import remarked
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.models.precision import Precision
from cxrlens.study.data import StudyData
from cxrlens.study.execution import batch_of, score_unit
from cxrlens.study.plan import StudyPlan
from cxrlens.study.records import Arrays, Records
from cxrlens.study.subjects import Models, Subject, subjects_of
from cxrlens.study.work import Missing, Unit, all_pair_scores, all_work, rows_missing

Place: TypeAlias = tuple[str, str, int | str]
"""Part, subject and block of a record."""


@dataclass(frozen=True)
class UnitToScore:
    """A unit by its number among all of the study's, and the names of what its records hold already."""

    number: int
    there: Mapping[Place, frozenset[str]]


@dataclass(frozen=True)
class ScoredUnit:
    """What was made of a unit.

    Attributes:
        added: arrays for the records.
        remarks: on its images, by their index.
        lost: why nothing was made; "" where all was.
    """

    added: Mapping[Place, Arrays] = field(default_factory=dict)
    remarks: Mapping[int, str] = field(default_factory=dict)
    lost: str = ""


class NotedRecords(Records):
    """Records that note what names they were asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.noted: dict[Place, frozenset[str]] = {}

    def names(self, part: str, subject: str, block: int | str) -> frozenset[str]:
        found = super().names(part, subject, block)
        self.noted[part, subject, block] = found
        return found


class GatheredRecords(Records):
    """Records that lie elsewhere, as far as they are known, and arrays that are to be added to them."""

    def __init__(self, there: Mapping[Place, frozenset[str]]) -> None:
        super().__init__(Path())
        self._there = there
        self.added: dict[Place, Arrays] = {}

    def names(self, part: str, subject: str, block: int | str) -> frozenset[str]:
        place = part, subject, block
        return self._there.get(place, frozenset()) | self.added.get(place, {}).keys()

    def add(self, part: str, subject: str, block: int | str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        self.added.setdefault((part, subject, block), {}).update(arrays)


def names_there(
    plan: StudyPlan, data: StudyData, subjects: Sequence[Subject], records: Records, unit: Unit
) -> dict[Place, frozenset[str]]:
    """The names of all that the records of a unit hold, as far as its work asks for them."""
    noted = NotedRecords(records.folder)
    if unit.sample is None:
        concerned = subjects_of(subjects, unit.preprocessing)
        missing = Missing(plan, data, concerned, noted, unit)
        _ = missing.baselines  # each of these asks for the names that it needs
        for subject in concerned:
            missing.rows(subject)
        for scores in all_pair_scores():
            missing.pairs(scores)
    else:
        rows_missing(plan, noted, unit)
    return noted.noted


@dataclass(frozen=True)
class MakeScorer:
    """Makes the function of a worker; picklable, and holds the trained models' files.

    Attributes:
        models: contents of the files, by the ids of the subjects.
        device: of a worker.
        readers: its processes that read.
    """

    plan: StudyPlan
    data: StudyData
    subjects: tuple[Subject, ...]
    models: Mapping[str, bytes]
    device: str
    readers: int

    def __call__(self) -> Scorer:
        """Raises:
        UsageError: when this computer does not find the images.
        """
        if not self.data.root.is_dir():
            raise UsageError(
                f"does not find {self.data.root}; the data set must lie where all computers of the cluster find it "
                "under the same path, such as a shared folder"
            )
        return Scorer(self)


class Scorer:
    """Scores units; two threads may call it: one reads the next unit while the other's is scored."""

    def __init__(self, made_by: MakeScorer) -> None:
        device = resolve_device(made_by.device)
        self.facts = device.type
        self._given = made_by
        self._units = list(all_work(made_by.plan, made_by.data, made_by.subjects))
        self._items = made_by.data.items(made_by.plan)
        self._models = _SentModels(str(device), made_by.plan.precision, made_by.models)
        self._training_maps: dict[Preprocessing, FloatMap | None] = {}
        self._readers: dict[Preprocessing, Readers[Origin, DecodedArrays]] = {}
        self._one_at_a_time = threading.Lock()
        self._one_reads = threading.Lock()

    def __call__(self, block: Sequence[UnitToScore], shared: object) -> list[ScoredUnit]:
        """What each unit adds to the records."""
        return [self._scored(self._units[task.number], task.there) for task in block]

    def _scored(self, unit: Unit, there: Mapping[Place, frozenset[str]]) -> ScoredUnit:
        images = self._read(unit)
        batch = batch_of(images, self._items)
        records = GatheredRecords(there)
        given = self._given
        with self._one_at_a_time:
            score_unit(given.plan, given.data, given.subjects, records, self._models, unit, batch, self._training_maps)
        remarks = {
            index: remarked(self._items[index].origin, image.remarks) for index, image in images if image.remarks
        }
        return ScoredUnit(records.added, remarks)

    def _read(self, unit: Unit) -> list[tuple[int, DecodedImage]]:
        """The images of a unit that can be read, by their index."""
        with self._one_reads:
            if unit.preprocessing not in self._readers:
                context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
                decoder = ImageDecoder(unit.preprocessing)
                self._readers[unit.preprocessing] = Readers(decoder, workers=self._given.readers, context=context)
        origins = [self._items[index].origin for index in unit.indices]
        found = decode_by(self._readers[unit.preprocessing], origins)
        return [
            (index, image)
            for index, image in zip(unit.indices, found, strict=True)
            if not isinstance(image, Unreadable)
        ]


class _SentModels(Models):
    """Networks whose files were sent."""

    def __init__(self, device: str, precision: Precision, files: Mapping[str, bytes]) -> None:
        super().__init__(device, precision)
        self._files = files

    def _load(self, subject: Subject) -> QualityModel:
        if subject.id not in self._files:
            return super()._load(subject)
        with tempfile.TemporaryDirectory(prefix="cxrlens-") as place:
            file = Path(place) / "model.safetensors"
            file.write_bytes(self._files[subject.id])
            return super()._load(replace(subject, source=str(file)))
