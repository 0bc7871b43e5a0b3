"""All networks on one block of images: the maps, once each, and every score that is made of them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cxrlens.data.decoding import Batch
from cxrlens.data.ground_truth import annotated_objects, object_masks
from cxrlens.data.preprocessing import Preprocessing
from cxrlens.evaluation import baselines
from cxrlens.evaluation.similarity import ssim
from cxrlens.evaluation.subgroups import object_area, shape_type
from cxrlens.quality_model import affected_probability
from cxrlens.saliency.explain import Fusion, Row, RowMaps
from cxrlens.saliency.fusion import scale, smooth
from cxrlens.study.data import StudyData
from cxrlens.study.plan import StudyPlan
from cxrlens.study.records import Arrays, Records, key
from cxrlens.study.scoring import Truth, peak_scores, point_scores, whole_map_scores
from cxrlens.study.subjects import Models, Subject
from cxrlens.study.work import (
    DATA,
    MAPS,
    PAIRS,
    PLAIN,
    SMOOTHED,
    Missing,
    PlannedRow,
    Unit,
    explained_classes,
    pair_id,
    preprocessing_id,
    subjects_of,
    tolerance_names,
    tolerance_pixels,
)


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
    training_maps: dict[Preprocessing, Tensor | None]

    def run(self) -> None:
        subjects = subjects_of(self.subjects, self.unit.preprocessing)
        missing = Missing(self.plan, self.data, subjects, self.records, self.unit)
        device = torch.device(self.models.device)
        if not self.batch.items:
            self._nothing(missing, subjects)
            return
        truth = Truth.of(self.batch, self.unit.preprocessing, device)
        if missing.baselines:
            self._baselines(truth)
        pairs = missing.pairs
        kept: dict[str, dict[Row, Tensor]] = {}
        for subject in subjects:
            compared = {row for pair, rows in pairs.items() if subject in pair for row in rows}
            rows = missing.rows(subject)
            wanted = dict.fromkeys([*(each.row for each in rows), *sorted(compared)])
            if not wanted:
                continue
            result = self._explained(subject, list(wanted))
            self._scores(subject, rows, result, truth, missing.is_annotated)
            kept[subject.id] = {row: result.maps[row] for row in compared}
        chosen = set(missing.chosen)
        places = [place for place, image in enumerate(self.batch.images) if image.index in chosen]
        for pair, shared in pairs.items():
            first, second = (kept.get(subject.id, {}) for subject in pair)
            arrays = {
                key(row.method, row.layers, "ssim"): ssim(first[row][places], second[row][places]).cpu().numpy()
                for row in shared
            }
            if arrays:
                self.records.add(PAIRS, pair_id(pair), missing.block_name, arrays)

    def _nothing(self, missing: Missing, subjects: Sequence[Subject]) -> None:
        """A block of unreadable files leaves empty records, so that it is not tried again and again."""
        empty = np.empty(0)
        names = [key("random", share) for share in tolerance_names(self.plan)]
        data = dict.fromkeys((*names, "index"), empty)
        self.records.add(DATA, preprocessing_id(self.unit.preprocessing), self.unit.block, data)
        for subject in subjects:
            arrays = {key(each.key, PLAIN, "distance"): empty for each in missing.rows(subject)}
            self.records.add(MAPS, subject.id, self.unit.block, arrays)

    def _explained(self, subject: Subject, rows: list[Row]) -> RowMaps:
        model = self.models[subject]
        target = explained_classes(self.plan, self.batch.items)
        return model.explain_rows(
            self.batch.grey, rows, target=target, fusion=Fusion(self.plan.combination), seed=self.plan.seed
        )

    def _scores(
        self, subject: Subject, rows: Sequence[PlannedRow], result: RowMaps, truth: Truth, annotated: bool
    ) -> None:
        arrays: Arrays = {"probability": affected_probability(result.logits).cpu().numpy()}
        for planned in rows:
            arrays |= self._of_row(planned, result, truth, annotated)
        self.records.add(MAPS, subject.id, self.unit.block, arrays)

    def _of_row(self, planned: PlannedRow, result: RowMaps, truth: Truth, annotated: bool) -> Arrays:
        """All scores of a row, by their key in the records."""
        maps, flat, seeds = result.maps[planned.row], result.flat[planned.row], self._seeds(planned.key)
        plain = peak_scores(maps, flat, truth, seeds)
        soft: Arrays = {}
        if not planned.each:
            plain |= point_scores(maps, truth)
            if annotated:
                plain |= whole_map_scores(maps, truth)
                if self.plan.smoothing is not None:
                    smoothed, smoothed_flat = scale(smooth(maps, self.plan.smoothing))
                    soft = peak_scores(smoothed, flat | smoothed_flat, truth, seeds)
        of_variant = ((PLAIN, plain), (SMOOTHED, soft))
        return {key(planned.key, variant, name): found for variant, all_ in of_variant for name, found in all_.items()}

    def _seeds(self, row: str) -> list[tuple[int, ...]]:
        """A tie falls the same whatever else is asked for."""
        code = zlib.crc32(row.encode())
        return [(self.plan.seed, image.index, code) for image in self.batch.images]

    def _baselines(self, truth: Truth) -> None:
        """What can be said of the images without a network, and the scores of the points that know none."""
        grey = self.batch.grey[:, 0]
        height, width = grey.shape[1:]
        areas = [object_area(mask) for mask in truth.masks.cpu().numpy()]
        arrays: Arrays = {
            "index": np.array([image.index for image in self.batch.images]),
            "area": np.array(areas),
            "shape": np.array([shape_type(annotated_objects(item)) for item in self.batch.items]),
        }
        for name in tolerance_names(self.plan):
            tolerance = tolerance_pixels(float(name), self.unit.preprocessing)
            chance = [baselines.random_hit_probability(distances, tolerance) for distances in truth.distances]
            arrays[key("random", name)] = np.array(chance)
        maps = {
            "centre": torch.from_numpy(baselines.centre_map(height, width)).expand(len(grey), -1, -1),
            "brightest": torch.stack([torch.from_numpy(baselines.brightest_map(image.numpy())) for image in grey]),
        }
        mean = self._mean_annotation()
        if mean is not None:
            maps["mean_annotation"] = mean.expand(len(grey), -1, -1)
        for name, values in maps.items():
            scaled, flat = scale(values.float().contiguous().to(truth.masks.device))
            scores = peak_scores(scaled, flat, truth, self._seeds(name)) | whole_map_scores(scaled, truth)
            arrays |= {key(name, "", PLAIN, score): found for score, found in scores.items()}
        self.records.add(DATA, preprocessing_id(self.unit.preprocessing), self.unit.block, arrays)

    def _mean_annotation(self) -> Tensor | None:
        chosen = self.unit.preprocessing
        if chosen not in self.training_maps:
            found = baselines.mean_annotation_map(object_masks(self.data.train, chosen))
            self.training_maps[chosen] = None if found is None else torch.from_numpy(found)
        return self.training_maps[chosen]
