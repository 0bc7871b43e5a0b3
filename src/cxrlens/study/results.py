"""The records of a study as arrays: by group of networks, row and score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cxrlens.evaluation.bootstrap import Floats
from cxrlens.evaluation.froc import Prediction
from cxrlens.evaluation.subgroups import size_terciles
from cxrlens.inputs.annotations.ground_truth import annotated_objects
from cxrlens.inputs.annotations.masks import AnnotatedObject
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.saliency.explain import Row
from cxrlens.study.data import StudyData
from cxrlens.study.plan import StudyPlan
from cxrlens.study.records import Arrays, Records, joined, key
from cxrlens.study.subjects import Subject, Weights
from cxrlens.study.work import (
    DATA,
    MAPS,
    PAIRS,
    PLAIN,
    chunks,
    compared_rows,
    pair_id,
    preprocessing_id,
    sample,
    sampled_block,
    tolerance_pixels,
)

BASELINE_NAMES = ("centre", "mean_annotation", "random", "brightest")


@dataclass(frozen=True)
class Group:
    """Networks that differ in their seed alone; their scores are averaged over seeds."""

    architecture: str
    weights: Weights
    subjects: tuple[Subject, ...]

    @property
    def name(self) -> str:
        return self.architecture if self.weights == "trained" else f"{self.architecture}-{self.weights}"


class Results:
    """Everything that the tables of a study are made of.

    Scores of a group are float64 [rows, seeds, n] over the annotated images that could be read.
    """

    def __init__(self, plan: StudyPlan, data: StudyData, subjects: Sequence[Subject], records: Records) -> None:
        self.plan = plan
        self.data = data
        self.subjects = list(subjects)
        self._records = records
        self._arrays: dict[str, Arrays] = {}
        self._points: dict[str, Arrays] = {}

    @cached_property
    def groups(self) -> list[Group]:
        names = dict.fromkeys((subject.architecture, subject.weights) for subject in self.subjects)
        return [Group(a, w, tuple(s for s in self.subjects if (s.architecture, s.weights) == (a, w))) for a, w in names]

    @property
    def trained(self) -> list[Group]:
        return [group for group in self.groups if group.weights == "trained"]

    def rows(self, group: Group) -> list[Row]:
        """All but the single layers of the curves."""
        return compared_rows(self.plan, group.architecture)

    @cached_property
    def indices(self) -> list[int]:
        """Of the annotated images that could be read, among the study's."""
        return [int(index) for index in self._data["index"] if index < len(self.data.annotated)]

    @property
    def names(self) -> list[str]:
        return [self.data.name(self.data.annotated[index]) for index in self.indices]

    @property
    def n(self) -> int:
        return len(self.indices)

    def hits(self, group: Group, rows: Sequence[Row], *, share: float | None = None, variant: str = PLAIN) -> Floats:
        """1 for a hit, 0 for a miss; ``share`` is the tolerance, the plan's main one when None, 0 = on the object."""
        limit = tolerance_pixels(self.plan.tolerance if share is None else share, group.subjects[0].preprocessing)
        return (self.scores(group, rows, "distance", variant=variant) < limit).astype(np.float64)

    def scores(self, group: Group, rows: Sequence[Row], score: str, *, variant: str = PLAIN) -> Floats:
        """Any score of `scoring`, such as "energy"."""
        names = [key(row.method, row.layers, variant, score) for row in rows]
        return np.array([[self._of(subject)[name] for subject in group.subjects] for name in names], dtype=np.float64)

    def probability(self, group: Group) -> Floats:
        """Of affected, [seeds, n]."""
        return np.array([self._of(subject)["probability"] for subject in group.subjects], dtype=np.float64)

    def all_probabilities(self, subject: Subject) -> Floats:
        """Of affected, for all images that could be read, those with objects first: [all]."""
        return np.asarray(self._all(subject)["probability"], dtype=np.float64)

    @cached_property
    def all_indices(self) -> list[int]:
        """Of all images that could be read."""
        return [int(index) for index in self._data["index"]]

    @cached_property
    def annotations(self) -> list[tuple[AnnotatedObject, ...]]:
        """The objects of all images that could be read, in their stored pixels."""
        items = self.data.items(self.plan)
        return [annotated_objects(items[index]) for index in self.all_indices]

    def predictions(self, subject: Subject, row: Row) -> list[list[Prediction]]:
        """The points of all images, each with the confidence probability x value of the map."""
        points = self._all(subject)[key(row.method, row.layers, PLAIN, "points")].astype(np.float64)
        found = []
        for probability, image in zip(self.all_probabilities(subject), points, strict=True):
            present = image[~np.isnan(image[:, 2])]
            found.append([Prediction(x, y, value * probability) for x, y, value in present.tolist()])
        return found

    def baseline(self, name: str, score: str, share: float | None = None) -> Floats | None:
        """Values [n] of a baseline; None where it has none. ``score`` is "hit" or one of `scoring`."""
        if name == "random":
            if score == "hit":
                chosen = f"{self.plan.tolerance if share is None else share:.6g}"
                return self._annotated_data[key("random", chosen)]
            return self._annotated_data["area"] if score in ("energy", "average_precision") else None
        if score == "hit":
            distances = self._annotated_data.get(key(name, "", PLAIN, "distance"))
            if distances is None:
                return None
            limit = tolerance_pixels(self.plan.tolerance if share is None else share, self._preprocessing)
            return (distances < limit).astype(np.float64)
        return self._annotated_data.get(key(name, "", PLAIN, score))

    def baselines(self, score: str, share: float | None = None) -> dict[str, Floats]:
        """Those that have values."""
        found = {name: self.baseline(name, score, share) for name in BASELINE_NAMES}
        return {name: values for name, values in found.items() if values is not None}

    def size_groups(self) -> dict[str, Floats]:
        """Per third of object area, True for its images."""
        sizes = size_terciles(self._annotated_data["area"])
        return {name: sizes == name for name in ("small", "medium", "large")}

    def shape_groups(self) -> dict[str, Floats]:
        """Per kind of annotated shape, True for its images."""
        kinds = self._annotated_data["shape"]
        return {str(name): kinds == name for name in np.unique(kinds)}

    def pair(self, pair: tuple[Subject, Subject]) -> Arrays:
        """Map similarity of two networks, "METHOD|LAYERS|ssim" -> [images of the consistency sample]."""
        chosen = set(sample(self.plan, self.data, self.plan.consistency.images))
        found = []
        for block, indices in enumerate(chunks(range(len(self._items)), self.plan.batch_size)):
            some = [index for index in indices if index in chosen]
            if some:
                found.append(self._records.read(PAIRS, pair_id(pair), sampled_block(self.plan, PAIRS, some, block)))
        return joined(found)

    def check(self, part: str, subject: Subject, images: int) -> Arrays:
        """The arrays of a sampled part."""
        return joined(
            self._records.read(part, subject.id, sampled_block(self.plan, part, indices, block))
            for block, indices in enumerate(chunks(sample(self.plan, self.data, images), self.plan.batch_size))
        )

    @property
    def _items(self) -> Sequence[object]:
        return self.data.items(self.plan)

    @property
    def _preprocessing(self) -> Preprocessing:
        """Of the baselines, which see the images as the first network does."""
        return self.subjects[0].preprocessing

    @cached_property
    def _data(self) -> Arrays:
        """What the records say of all images without a network, as the first network sees them."""
        name = preprocessing_id(self._preprocessing)
        blocks = range(len(chunks(range(len(self._items)), self.plan.batch_size)))
        return joined(self._records.read(DATA, name, block) for block in blocks)

    @cached_property
    def _annotated_data(self) -> Arrays:
        chosen = self._data["index"] < len(self.data.annotated)
        return {name: values[chosen] for name, values in self._data.items()}

    def _of(self, subject: Subject) -> Arrays:
        """The scores of a network on the annotated images."""
        if subject.id not in self._arrays:
            count = -(-len(self.data.annotated) // self.plan.batch_size)  # blocks that hold annotated images
            arrays = joined(self._records.read(MAPS, subject.id, block) for block in range(count))
            self._arrays[subject.id] = {name: values[: self.n] for name, values in arrays.items()}
        return self._arrays[subject.id]

    def _all(self, subject: Subject) -> Arrays:
        """What is known of a network on all images."""
        if subject.id not in self._points:
            count = len(chunks(range(len(self._items)), self.plan.batch_size))
            self._points[subject.id] = joined(self._records.read(MAPS, subject.id, block) for block in range(count))
        return self._points[subject.id]
