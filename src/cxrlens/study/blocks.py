"""All networks on one block of images: the maps, once each, and every score that is made of them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxrlens.errors import UsageError
from cxrlens.evaluation import baselines
from cxrlens.evaluation.subgroups import object_area, shape_type
from cxrlens.inputs.annotations.ground_truth import annotated_objects, object_masks
from cxrlens.inputs.decoding import Batch
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import affected_probability
from cxrlens.saliency.explain import Row, RowMaps
from cxrlens.saliency.fusion import Fusion, scale
from cxrlens.study.data import StudyData
from cxrlens.study.image_groups import ImageGroup, Truth, groups_of, in_block_order
from cxrlens.study.plan import StudyPlan, tolerance_pixels
from cxrlens.study.records import DATA, MAPS, Arrays, Records, key, preprocessing_id
from cxrlens.study.rows import PlannedRow
from cxrlens.study.scores import GroupMaps, PairScores, SampleBlock, VariantScores
from cxrlens.study.subjects import (
    Models,
    Subject,
    explained,
    explained_classes,
    explained_in_turn,
    pair_id,
    subjects_of,
)
from cxrlens.study.work import MARKER, Missing, Unit, all_map_scores, all_pair_scores, all_variant_scores, rows_missing

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass
class BlockRun:
    """All networks on one block."""

    plan: StudyPlan
    data: StudyData
    subjects: Sequence[Subject]
    records: Records
    models: Models
    unit: Unit
    batch: Batch
    training_maps: dict[Preprocessing, baselines.FloatMap | None]

    def run(self) -> None:
        """Make the scores of maps that the records of the block lack."""
        subjects = subjects_of(self.subjects, self.unit.preprocessing)
        missing = Missing(self.plan, self.data, subjects, self.records, self.unit)
        device = torch.device(self.models.device)
        if not self.batch.items:
            self._nothing(missing, subjects)
            return
        groups = groups_of(self.batch.images, self.unit.preprocessing)
        truths = [Truth.of(group, self.batch, self.unit.preprocessing, device) for group in groups]
        if missing.baselines:
            self._baselines(truths)
        pairs = {scores: missing.pairs(scores) for scores in all_pair_scores()}
        kept: dict[str, dict[Row, list[Tensor]]] = {}
        for subject in subjects:
            compared = {
                row for found in pairs.values() for pair, rows in found.items() if subject in pair for row in rows
            }
            rows = missing.rows(subject)
            wanted = dict.fromkeys([*(each.row for each in rows), *sorted(compared)])
            if not wanted:
                continue
            kept[subject.id] = self._of_subject(subject, rows, list(wanted), compared, truths, missing)
        for scores, found in pairs.items():
            chosen = np.isin([image.index for image in self.batch.images], missing.chosen(scores))
            for pair, shared in found.items():
                first, second = (kept.get(subject.id, {}) for subject in pair)
                arrays: Arrays = {}
                for row in shared:
                    values = _of_pair(scores, groups, first[row], second[row], chosen)
                    arrays |= {key(row.method, row.layers, name): each for name, each in values.items()}
                if arrays:
                    self.records.add(scores.part, pair_id(pair), missing.name(scores), arrays)

    def _nothing(self, missing: Missing, subjects: Sequence[Subject]) -> None:
        """A block of unreadable files leaves empty records, so that it is not tried again and again."""
        empty = np.empty(0)
        names = [key("random", share) for share in self.plan.tolerance_names]
        data = dict.fromkeys((*names, "index"), empty)
        self.records.add(DATA, preprocessing_id(self.unit.preprocessing), self.unit.block, data)
        for subject in subjects:
            arrays = {key(each.key, MARKER): empty for each in missing.rows(subject)}
            self.records.add(MAPS, subject.id, self.unit.block, arrays)

    def _of_subject(
        self,
        subject: Subject,
        rows: Sequence[PlannedRow],
        wanted: Sequence[Row],
        compared: Iterable[Row],
        truths: Sequence[Truth],
        missing: Missing,
    ) -> dict[Row, list[Tensor]]:
        """Put a network's scores into its record; returns the maps of the compared rows by group of images."""
        variants = self._variants(subject)
        whole = [each for each in rows if not each.each]
        fusions = [(self.plan.fusion, wanted), *((fusion, [each.row for each in whole]) for _, _, fusion in variants)]
        target = explained_classes(self.plan, self.batch.items)
        results = explained_in_turn(self.plan, self.models[subject], self.batch.grey, fusions, target)
        result = next(results)
        self._check(subject, result)
        groups = [truth.group for truth in truths]
        kept = {row: [group.maps(result.maps[row], result.flat[row])[0] for group in groups] for row in compared}
        arrays: Arrays = {"probability": affected_probability(result.logits).cpu().numpy()}
        arrays |= self._scores(rows, result, truths, partial(self._map_scores, annotated=missing.is_annotated))
        del result
        for scores, name, _ in variants if whole else ():
            arrays |= self._scores(whole, next(results), truths, partial(_variant_scores, scores=scores, name=name))
        self.records.add(MAPS, subject.id, self.unit.block, arrays)
        return kept

    def _variants(self, subject: Subject) -> list[tuple[VariantScores, str, Fusion]]:
        if subject.weights != "trained":
            return []
        return [(scores, *each) for scores in all_variant_scores() for each in scores.fusions(self.plan).items()]

    def _check(self, subject: Subject, result: RowMaps) -> None:
        sound = result.logits.isfinite().all(1).tolist()
        if not all(sound):
            item = self.batch.items[sound.index(False)]
            raise UsageError(
                f"{item.origin}: {subject.title}, gives no number for this image; leave out the image or the model "
                "(see 'cxrlens doctor --model')"
            )

    def _scores(
        self,
        rows: Sequence[PlannedRow],
        result: RowMaps,
        truths: Sequence[Truth],
        score: Callable[[PlannedRow, GroupMaps], Arrays],
    ) -> Arrays:
        """The scores of all rows, by their key in the records."""
        groups = [truth.group for truth in truths]

        def of_row(planned: PlannedRow) -> Arrays:
            parts = [score(planned, self._maps(planned, result, truth)) for truth in truths]
            return {key(planned.key, name): found for name, found in in_block_order(groups, parts).items()}

        arrays: Arrays = {}
        for found in _in_threads(of_row, rows, result.logits.device):
            arrays |= found
        return arrays

    def _maps(self, planned: PlannedRow, result: RowMaps, truth: Truth) -> GroupMaps:
        """A row's maps of a group of images."""
        whole, flat = result.maps[planned.row], result.flat[planned.row]
        group = truth.group
        return GroupMaps(self.plan, *group.maps(whole, flat), group.of(whole), group.of(flat), truth,
                         self._seeds(planned.key, group))  # fmt: skip

    def _map_scores(self, planned: PlannedRow, maps: GroupMaps, *, annotated: bool) -> Arrays:
        arrays: Arrays = {}
        for scores in all_map_scores():
            if scores.are_made(self.plan, planned, annotated=annotated):
                arrays |= scores.score(maps)
        return arrays

    def _seeds(self, row: str, group: ImageGroup) -> list[tuple[int, ...]]:
        """A tie falls the same whatever else is asked for."""
        code = zlib.crc32(row.encode())
        return [(self.plan.seed, self.batch.images[place].index, code) for place in group.places]

    def _baselines(self, truths: Sequence[Truth]) -> None:
        """The facts of the images that need no network, and the scores of the points that know none."""
        arrays = in_block_order([truth.group for truth in truths], [self._baselines_of(truth) for truth in truths])
        self.records.add(DATA, preprocessing_id(self.unit.preprocessing), self.unit.block, arrays)

    def _baselines_of(self, truth: Truth) -> Arrays:
        group = truth.group
        grey = group.cut(self.batch.grey[:, 0])
        height, width = grey.shape[1:]
        arrays: Arrays = {
            "index": np.array([self.batch.images[place].index for place in group.places]),
            "area": np.array([object_area(mask) for mask in truth.masks.cpu().numpy()]),
            "shape": np.array([shape_type(annotated_objects(self.batch.items[place])) for place in group.places]),
        }
        for name in self.plan.tolerance_names:
            tolerance = tolerance_pixels(float(name), self.unit.preprocessing)
            chance = [baselines.random_hit_probability(distances, tolerance) for distances in truth.distances]
            arrays[key("random", name)] = np.array(chance)
        maps = {
            "centre": torch.from_numpy(baselines.centre_map(height, width)).expand(len(grey), -1, -1),
            "brightest": torch.stack([torch.from_numpy(baselines.brightest_map(image.numpy())) for image in grey]),
        }
        mean = self._mean_annotation()
        if mean is not None:
            maps["mean_annotation"] = torch.from_numpy(baselines.fitted(mean, height, width)).expand(len(grey), -1, -1)
        for name, values in maps.items():
            scaled, flat = scale(values.float().contiguous().to(truth.masks.device))
            found = GroupMaps(self.plan, scaled, flat, scaled, flat, truth, self._seeds(name, group))
            for scores in all_map_scores():
                if scores.baselines:
                    arrays |= {key(name, "", array): each for array, each in scores.score(found).items()}
        return arrays

    def _mean_annotation(self) -> baselines.FloatMap | None:
        chosen = self.unit.preprocessing
        if chosen not in self.training_maps:
            self.training_maps[chosen] = baselines.mean_annotation_map(object_masks(self.data.train, chosen))
        return self.training_maps[chosen]


def score_sample(plan: StudyPlan, records: Records, models: Models, unit: Unit, batch: Batch) -> None:
    """Make the scores of a sample's block that its record lacks."""
    assert unit.sample is not None
    assert unit.subject is not None
    model = models[unit.subject]
    target = explained_classes(plan, batch.items)
    before = explained(plan, model, batch.grey, rows_missing(plan, records, unit), target)
    target = before.logits.argmax(1) if target == "predicted" else target
    groups = groups_of(batch.images, unit.preprocessing)
    arrays = unit.sample.score(SampleBlock(plan, unit.subject, model, batch, groups, before, target))
    records.add(unit.sample.part, unit.subject.id, unit.name(plan), arrays)


def _variant_scores(_planned: PlannedRow, maps: GroupMaps, *, scores: VariantScores, name: str) -> Arrays:
    return scores.score(maps, name)


def _of_pair(
    scores: PairScores,
    groups: Sequence[ImageGroup],
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    chosen: npt.NDArray[np.bool_],
) -> Arrays:
    """Of two networks' maps, which are given by group, for the chosen images of the block."""

    def of_group(place: int) -> Arrays:
        wanted = chosen[groups[place].places]
        found = scores.score(first[place][wanted], second[place][wanted])
        values = {name: np.full(len(wanted), np.nan) for name in found}
        for name, each in found.items():
            values[name][wanted] = each
        return values

    arrays = in_block_order(groups, [of_group(place) for place in range(len(groups))])
    return {name: values[chosen] for name, values in arrays.items()}


def _in_threads(function: Callable[[Task], Result], tasks: Iterable[Task], device: torch.device) -> Iterator[Result]:
    """The function of each task, in order; on a CPU as many at once as torch has threads, elsewhere one by one.

    Much of the work of a score on a CPU runs on one core.
    """
    if device.type != "cpu":
        yield from map(function, tasks)
        return
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        yield from pool.map(function, tasks)
