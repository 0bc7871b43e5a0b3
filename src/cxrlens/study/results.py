"""The records of a study as arrays: by group of networks, row and score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrlens.evaluation.bootstrap import Floats
from cxrlens.evaluation.froc import Prediction
from cxrlens.inputs.annotations.ground_truth import annotated_objects
from cxrlens.inputs.annotations.masks import AnnotatedObject
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.registry import file_name_of
from cxrlens.saliency.explain import Row
from cxrlens.study.data import StudyData
from cxrlens.study.plan import StudyPlan, tolerance_pixels
from cxrlens.study.records import (
    DATA,
    MAPS,
    PLAIN,
    Arrays,
    Records,
    chunks,
    joined,
    key,
    preprocessing_id,
    sample_block,
)
from cxrlens.study.rows import compared_rows
from cxrlens.study.scores import PairScores, SampleScores
from cxrlens.study.subjects import WEIGHTS_TITLES, Subject, Weights, pair_id

BASELINE_NAMES = ("centre", "mean_annotation", "random", "brightest")


@dataclass(frozen=True)
class Group:
    """Networks that differ in their seed alone; their scores are averaged over seeds."""

    architecture: str
    weights: Weights
    subjects: tuple[Subject, ...]

    @property
    def name(self) -> str:
        """In the keys of columns."""
        return self.architecture if self.weights == "trained" else f"{self.architecture}-{self.weights}"

    @property
    def file_name(self) -> str:
        """The architecture in the names of files."""
        return file_name_of(self.architecture)

    @property
    def title(self) -> str:
        return f"{self.architecture}, {WEIGHTS_TITLES[self.weights]}"

    @property
    def side(self) -> int:
        """Pixels of the longer side of its networks' input."""
        preprocessing = self.subjects[0].preprocessing
        return max(preprocessing.height, preprocessing.width)


class Results:
    """The records of a study as the experiments' tables, figures and findings take them.

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
        """Any of the scores that the records hold of every map, such as "energy"."""
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

    def predictions(self, subject: Subject, row: Row, *, variant: str = PLAIN) -> list[list[Prediction]]:
        """The points of all images, each with the confidence probability x value of the map."""
        points = self._all(subject)[key(row.method, row.layers, variant, "points")].astype(np.float64)
        found = []
        for probability, image in zip(self.all_probabilities(subject), points, strict=True):
            present = image[~np.isnan(image[:, 2])]
            found.append([Prediction(x, y, value * probability) for x, y, value in present.tolist()])
        return found

    def baseline(self, name: str, score: str, share: float | None = None) -> Floats | None:
        """Values [n] of a baseline; None where it has none. ``score``: "hit", or as in `scores`."""
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

    def facts(self, name: str) -> npt.NDArray[Any]:
        """Of each image [n]: "area", the share of it that objects cover, or "shape", the kind of its annotation."""
        return self._annotated_data[name]

    @cached_property
    def kinds(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Per kind of object, by name, True for the images [n] that show one; empty where no table names kinds."""
        if not self.data.kinds:
            return {}
        shown = [self.data.kinds[index] for index in self.indices]
        return {kind: np.array([kind in each for each in shown]) for kind in sorted(frozenset().union(*shown))}

    def of_pair(self, scores: PairScores, pair: tuple[Subject, Subject]) -> Arrays:
        """Of two networks' maps, "METHOD|LAYERS|NAME" -> [images of the sample]."""
        chosen = set(self.data.sample(scores.images(self.plan)))
        found = []
        for block, indices in enumerate(chunks(range(len(self._items)), self.plan.batch_size)):
            some = [index for index in indices if index in chosen]
            if some:
                found.append(self._records.read(scores.part, pair_id(pair), sample_block(block, some)))
        return joined(found)

    def of_sample(self, scores: SampleScores, subject: Subject) -> Arrays:
        """Of a network's maps, "METHOD|LAYERS|NAME" -> [images of the sample]; none where no image can be read."""
        settings = scores.settings(self.plan)
        blocks = chunks(self.data.sample(scores.images(self.plan)), self.plan.batch_size)
        names = [sample_block(block, indices, settings) for block, indices in enumerate(blocks)]
        return joined(self._records.read(scores.part, subject.id, name) for name in names)

    def sample_scores(self, scores: SampleScores, group: Group, rows: Sequence[Row], *names: str) -> Floats | None:
        """The arrays of those names, [rows, names, seeds, n]; None where no image of the sample can be read."""
        arrays = [self.of_sample(scores, subject) for subject in group.subjects]
        if not all(arrays):
            return None
        return np.array([
            [[each[key(row.method, row.layers, name)] for each in arrays] for name in names] for row in rows
        ])  # fmt: skip

    @property
    def _items(self) -> Sequence[object]:
        return self.data.items(self.plan)

    @property
    def _preprocessing(self) -> Preprocessing:
        """Of the baselines, which see the images as the first network does."""
        return self.subjects[0].preprocessing

    @cached_property
    def _data(self) -> Arrays:
        """The facts and baselines of all images, as the first network sees them."""
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
        """The scores of a network on all images."""
        if subject.id not in self._points:
            count = len(chunks(range(len(self._items)), self.plan.batch_size))
            self._points[subject.id] = joined(self._records.read(MAPS, subject.id, block) for block in range(count))
        return self._points[subject.id]
