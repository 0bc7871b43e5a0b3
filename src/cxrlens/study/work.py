"""What a study has to do: which rows on which images, and what of it the records lack."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from cxrlens.inputs.dataset.layouts import AFFECTED, Item
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.saliency.explain import Row, make_row, resolve_layers
from cxrlens.study.data import StudyData
from cxrlens.study.plan import EACH, StudyPlan, digest
from cxrlens.study.records import Records, key
from cxrlens.study.scoring import SCORING_VERSION
from cxrlens.study.stages import outline
from cxrlens.study.subjects import Subject

PLAIN, SMOOTHED = "plain", "smoothed"
DATA, MAPS, PAIRS = "data", "maps", "pairs"
FAITHFULNESS, PERTURBATION, RANDOMISATION = "faithfulness", "perturbation", "randomisation"
TRAINED_PAIRS = "pairs"  # in a randomisation record, in a stage's place: unrelated maps of the trained network


@dataclass(frozen=True)
class PlannedRow:
    """A row at the layers of one network; ``each``: one layer of many, for curves, of which only the peak is scored."""

    row: Row
    each: bool

    @property
    def key(self) -> str:
        return key(self.row.method, self.row.layers)


def planned_rows(plan: StudyPlan, architecture: str) -> list[PlannedRow]:
    """The rows of the plan for an architecture, "each" spelled out.

    Raises:
        UsageError: on an unknown method.
    """
    return _spelled_out(plan.rows, architecture)


@functools.cache
def _spelled_out(rows: tuple[str, ...], architecture: str) -> list[PlannedRow]:
    network = outline(architecture)
    found: dict[Row, PlannedRow] = {}
    for text in rows:
        method, layers = text.split()
        for name in resolve_layers(network, "combined") if layers == EACH else [layers]:
            row = make_row(method, name)
            found.setdefault(row, PlannedRow(row, layers == EACH))
    return list(found.values())


def score_settings(plan: StudyPlan, data: StudyData) -> str:
    """Names everything that the scores of an image depend on, beside network and row."""
    return digest(
        SCORING_VERSION,
        data.digest,
        plan.combination,
        plan.target,
        plan.smoothing,
        plan.seed,
        plan.batch_size,
        plan.normal_images,
    )


def sample(plan: StudyPlan, data: StudyData, images: int) -> list[int]:
    """Which annotated images a sampled part is made on, evenly spread."""
    count = min(images, len(data.annotated))
    return sorted({int(place) for place in np.linspace(0, len(data.annotated) - 1, count)}) if count else []


def pairs_of(subjects: Sequence[Subject]) -> list[tuple[Subject, Subject]]:
    """The pairs of trained networks whose maps are compared: all that see images of one size."""
    trained = [subject for subject in subjects if subject.weights == "trained"]
    return [
        (first, second)
        for place, first in enumerate(trained)
        for second in trained[place + 1 :]
        if first.preprocessing == second.preprocessing
    ]


def pair_id(pair: tuple[Subject, Subject]) -> str:
    return f"{pair[0].id}-{pair[1].id}"


def chunks(indices: Sequence[int], size: int) -> list[list[int]]:
    return [list(indices[start : start + size]) for start in range(0, len(indices), size)]


@dataclass(frozen=True)
class Unit:
    """A block of images to be worked on.

    Attributes:
        part: `MAPS` (and all that is made beside them), or a sampled part.
        block: its number.
        indices: of its images among the study's.
        preprocessing: of its subjects.
        subject: of a sampled part.
        cost: in networks.
    """

    part: str
    block: int
    indices: list[int]
    preprocessing: Preprocessing
    subject: Subject | None
    cost: int
    title: str


def explained_classes(plan: StudyPlan, items: Sequence[Item]) -> str | Tensor:
    """The target of `cxrlens.explain` that the plan names."""
    if plan.target != "true":
        return plan.target
    return torch.tensor([AFFECTED if item.label is None else item.label for item in items])


def preprocessing_id(preprocessing: Preprocessing) -> str:
    return digest(preprocessing.model_dump_json())


def tolerance_names(plan: StudyPlan) -> list[str]:
    """All tolerances as shares of the side: 0 (on the object), those of the plan, and its main one."""
    return [f"{share:.6g}" for share in sorted({0.0, plan.tolerance, *plan.tolerances})]


def tolerance_pixels(share: float, preprocessing: Preprocessing) -> float:
    """Pixels of the input that a distance must stay below; a share of 0 asks for a distance of 0."""
    return share * max(preprocessing.height, preprocessing.width) if share > 0 else 0.5


def all_work(plan: StudyPlan, data: StudyData, subjects: Sequence[Subject]) -> Iterator[Unit]:
    """All units of a study, done or not, in the order of their work."""
    indices = range(len(data.items(plan)))
    for preprocessing in dict.fromkeys(subject.preprocessing for subject in subjects):
        concerned = subjects_of(subjects, preprocessing)
        for block, some in enumerate(chunks(indices, plan.batch_size)):
            yield Unit(MAPS, block, some, preprocessing, None, len(concerned), "maps and their scores")
    for part, settings in (
        (PERTURBATION, plan.perturbation),
        (RANDOMISATION, plan.randomisation),
        (FAITHFULNESS, plan.faithfulness),
    ):
        for subject in subjects:
            if subject.weights != "trained":
                continue
            for block, some in enumerate(chunks(sample(plan, data, settings.images), plan.batch_size)):
                yield Unit(part, block, some, subject.preprocessing, subject, 1, f"{part} of {subject.title}")


def is_missing(plan: StudyPlan, data: StudyData, subjects: Sequence[Subject], records: Records, unit: Unit) -> bool:
    """Whether the records lack anything that the unit makes."""
    if unit.part == MAPS:
        return Missing(plan, data, subjects_of(subjects, unit.preprocessing), records, unit).anything
    return bool(rows_missing(plan, records, unit))


def subjects_of(subjects: Sequence[Subject], preprocessing: Preprocessing) -> list[Subject]:
    """The networks that see images of one kind."""
    return [subject for subject in subjects if subject.preprocessing == preprocessing]


def sampled_block(plan: StudyPlan, part: str, indices: Sequence[int], block: int) -> str:
    """The record of a sampled part's block; other images, or another number of steps, make another one."""
    steps = plan.faithfulness.steps if part == FAITHFULNESS else ""
    return f"{block:05d}-{digest(steps, *indices)}"


def compared_rows(plan: StudyPlan, architecture: str) -> list[Row]:
    """The rows that sampled parts and pairs of networks are made for: all but the curves."""
    return [planned.row for planned in planned_rows(plan, architecture) if not planned.each]


def rows_missing(plan: StudyPlan, records: Records, unit: Unit) -> list[Row]:
    assert unit.subject is not None
    there = records.names(unit.part, unit.subject.id, sampled_block(plan, unit.part, unit.indices, unit.block))
    made = {tuple(name.split("|")[:2]) for name in there}
    return [row for row in compared_rows(plan, unit.subject.architecture) if (row.method, row.layers) not in made]


@dataclass
class Missing:
    """What the records of a block lack."""

    plan: StudyPlan
    data: StudyData
    subjects: Sequence[Subject]
    records: Records
    unit: Unit
    is_annotated: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_annotated = self.unit.indices[0] < len(self.data.annotated)

    @property
    def anything(self) -> bool:
        return self.baselines or any(self.rows(s) for s in self.subjects) or any(self.pairs.values())

    @property
    def baselines(self) -> bool:
        there = self.records.names(DATA, preprocessing_id(self.unit.preprocessing), self.unit.block)
        return any(key("random", share) not in there for share in tolerance_names(self.plan))

    def rows(self, subject: Subject) -> list[PlannedRow]:
        there = self.records.names(MAPS, subject.id, self.unit.block)
        planned = planned_rows(self.plan, subject.architecture)
        wanted = [each for each in planned if self.is_annotated or not each.each]
        field_ = "distance"
        return [each for each in wanted if key(each.key, PLAIN, field_) not in there]

    @property
    def pairs(self) -> dict[tuple[Subject, Subject], list[Row]]:
        """Rows by pair of networks; only for images of the consistency sample."""
        if not self.chosen:
            return {}
        found = {}
        for pair in pairs_of(self.subjects):
            there = self.records.names(PAIRS, pair_id(pair), self.block_name)
            both = set(compared_rows(self.plan, pair[1].architecture))
            shared = [row for row in compared_rows(self.plan, pair[0].architecture) if row in both]
            found[pair] = [row for row in shared if key(row.method, row.layers, "ssim") not in there]
        return found

    @property
    def chosen(self) -> list[int]:
        """The block's images in the consistency sample."""
        wanted = set(sample(self.plan, self.data, self.plan.consistency.images))
        return [index for index in self.unit.indices if index in wanted]

    @property
    def block_name(self) -> str:
        return sampled_block(self.plan, PAIRS, self.chosen, self.unit.block)
