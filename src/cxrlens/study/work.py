"""The work of a study: which scores of which rows on which images, and which of them the records lack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.saliency.explain import Row
from cxrlens.study import experiments
from cxrlens.study.data import StudyData
from cxrlens.study.plan import StudyPlan
from cxrlens.study.records import DATA, MAPS, PLAIN, Records, chunks, key, parts, preprocessing_id, sample_block
from cxrlens.study.rows import PlannedRow, compared_rows, planned_rows
from cxrlens.study.scores import MapScores, PairScores, SampleScores, VariantScores
from cxrlens.study.subjects import Subject, pair_id, pairs_of, subjects_of

MARKER = key(PLAIN, "distance")  # every row that is scored has it, also where no image of a block can be read


@dataclass(frozen=True)
class Unit:
    """A block of images to be worked on.

    Attributes:
        block: its number.
        indices: of its images among the study's.
        preprocessing: of its subjects.
        sample: the scores to be made of the subject; None for the maps of all networks and all that is made of them.
        subject: of a sample.
        cost: in networks.
        title: for those who wait.
    """

    block: int
    indices: list[int]
    preprocessing: Preprocessing
    sample: SampleScores | None
    subject: Subject | None
    cost: int
    title: str

    def name(self, plan: StudyPlan) -> str:
        """Of a sample's record."""
        assert self.sample is not None
        return sample_block(self.block, self.indices, self.sample.settings(plan))


def all_map_scores() -> list[MapScores]:
    return [each.map_scores for each in experiments.EXPERIMENTS if each.map_scores is not None]


def all_variant_scores() -> list[VariantScores]:
    return [each.variant_scores for each in experiments.EXPERIMENTS if each.variant_scores is not None]


def all_pair_scores() -> list[PairScores]:
    return [each.pair_scores for each in experiments.EXPERIMENTS if each.pair_scores is not None]


def all_work(plan: StudyPlan, data: StudyData, subjects: Sequence[Subject]) -> Iterator[Unit]:
    """All units of a study, done or not, in the order of their work."""
    indices = range(len(data.items(plan)))
    for preprocessing in dict.fromkeys(subject.preprocessing for subject in subjects):
        concerned = subjects_of(subjects, preprocessing)
        for block, some in enumerate(chunks(indices, plan.batch_size)):
            yield Unit(block, some, preprocessing, None, None, len(concerned), "maps and their scores")
    for sample in (each.sample_scores for each in experiments.EXPERIMENTS if each.sample_scores is not None):
        for subject in subjects:
            if subject.weights != "trained":
                continue
            for block, some in enumerate(chunks(data.sample(sample.images(plan)), plan.batch_size)):
                title = f"{sample.part} of {subject.title}"
                yield Unit(block, some, subject.preprocessing, sample, subject, 1, title)


def is_missing(plan: StudyPlan, data: StudyData, subjects: Sequence[Subject], records: Records, unit: Unit) -> bool:
    """True where the records lack anything that the unit makes."""
    if unit.sample is None:
        return Missing(plan, data, subjects_of(subjects, unit.preprocessing), records, unit).anything
    return bool(rows_missing(plan, records, unit))


def rows_missing(plan: StudyPlan, records: Records, unit: Unit) -> list[Row]:
    """The rows that a sample's record lacks."""
    assert unit.sample is not None
    assert unit.subject is not None
    there = records.names(unit.sample.part, unit.subject.id, unit.name(plan))
    made = {tuple(parts(name)[:2]) for name in there}
    return [row for row in compared_rows(plan, unit.subject.architecture) if (row.method, row.layers) not in made]


@dataclass
class Missing:
    """The scores of maps that the records of a block lack."""

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
        return (
            self.baselines
            or any(self.rows(subject) for subject in self.subjects)
            or any(rows for scores in all_pair_scores() for rows in self.pairs(scores).values())
        )

    @property
    def baselines(self) -> bool:
        there = self.records.names(DATA, preprocessing_id(self.unit.preprocessing), self.unit.block)
        wanted = {key("random", share) for share in self.plan.tolerance_names}
        if "area" in there:  # an image of the block can be read
            wanted |= {key("centre", "", name) for each in all_map_scores() if each.baselines for name in each.arrays}
        return not wanted <= there

    def rows(self, subject: Subject) -> list[PlannedRow]:
        """Those of a network that lack a score."""
        there = self.records.names(MAPS, subject.id, self.unit.block)
        readable = "probability" in there
        planned = planned_rows(self.plan, subject.architecture)
        wanted = [each for each in planned if self.is_annotated or not each.each]
        return [each for each in wanted if not self._arrays(subject, each, readable=readable) <= there]

    def _arrays(self, subject: Subject, row: PlannedRow, *, readable: bool) -> set[str]:
        made = [each for each in all_map_scores() if each.are_made(self.plan, row, annotated=self.is_annotated)]
        names = [name for each in made for name in each.arrays] if readable else []
        found = {key(row.key, name) for name in (MARKER, *names)}
        if readable and subject.weights == "trained":
            found = found.union(*(each.names(self.plan, row) for each in all_variant_scores()))
        return found

    def pairs(self, scores: PairScores) -> dict[tuple[Subject, Subject], list[Row]]:
        """Rows by pair of networks; none where no image of the block is in the sample."""
        if not self.chosen(scores):
            return {}
        found = {}
        for pair in pairs_of(self.subjects):
            there = self.records.names(scores.part, pair_id(pair), self.name(scores))
            both = set(compared_rows(self.plan, pair[1].architecture))
            shared = [row for row in compared_rows(self.plan, pair[0].architecture) if row in both]
            wanted = {row: {key(row.method, row.layers, name) for name in scores.arrays} for row in shared}
            found[pair] = [row for row in shared if not wanted[row] <= there]
        return found

    def chosen(self, scores: PairScores) -> list[int]:
        """The block's images in the sample of the pairs."""
        wanted = set(self.data.sample(scores.images(self.plan)))
        return [index for index in self.unit.indices if index in wanted]

    def name(self, scores: PairScores) -> str:
        """Of the block's record of a pair."""
        return sample_block(self.unit.block, self.chosen(scores))
