"""All networks on one block of images: the maps, once each, and every score that is made of them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxrlens.evaluation import baselines
from cxrlens.evaluation.similarity import ssim
from cxrlens.evaluation.subgroups import object_area, shape_type
from cxrlens.inputs.annotations.ground_truth import annotated_objects, object_masks
from cxrlens.inputs.decoding import Batch
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import affected_probability, cut_to_picture
from cxrlens.saliency.explain import Fusion, Row, RowMaps
from cxrlens.saliency.fusion import scale
from cxrlens.saliency.gaussian import smooth
from cxrlens.study.data import StudyData
from cxrlens.study.pictures import Pictures, in_block_order, pictures_of
from cxrlens.study.plan import StudyPlan
from cxrlens.study.records import Arrays, Records, key
from cxrlens.study.scoring import Truth, peak_scores, point_scores, whole_map_scores
from cxrlens.study.subjects import Models, Subject
from cxrlens.study.threads import in_threads
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
    training_maps: dict[Preprocessing, baselines.FloatMap | None]

    def run(self) -> None:
        subjects = subjects_of(self.subjects, self.unit.preprocessing)
        missing = Missing(self.plan, self.data, subjects, self.records, self.unit)
        device = torch.device(self.models.device)
        if not self.batch.items:
            self._nothing(missing, subjects)
            return
        groups = pictures_of(self.batch.images, self.unit.preprocessing)
        truths = [Truth.of(group, self.batch, self.unit.preprocessing, device) for group in groups]
        if missing.baselines:
            self._baselines(truths)
        pairs = missing.pairs
        kept: dict[str, dict[Row, list[Tensor]]] = {}
        for subject in subjects:
            compared = {row for pair, rows in pairs.items() if subject in pair for row in rows}
            rows = missing.rows(subject)
            wanted = dict.fromkeys([*(each.row for each in rows), *sorted(compared)])
            if not wanted:
                continue
            result = self._explained(subject, list(wanted))
            self._scores(subject, rows, result, truths, missing.is_annotated)
            kept[subject.id] = {
                row: [group.maps(result.maps[row], result.flat[row])[0] for group in groups] for row in compared
            }
        chosen = np.isin([image.index for image in self.batch.images], missing.chosen)
        for pair, shared in pairs.items():
            first, second = (kept.get(subject.id, {}) for subject in pair)
            arrays = {
                key(row.method, row.layers, "ssim"): self._similarity(groups, first[row], second[row], chosen)
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

    def _similarity(
        self,
        groups: Sequence[Pictures],
        first: Sequence[Tensor],
        second: Sequence[Tensor],
        chosen: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.float64]:
        """Of two networks' maps, which are given by group, for the chosen images of the block."""

        def of_group(place: int) -> Arrays:
            values = np.full(len(groups[place].places), np.nan)
            wanted = chosen[groups[place].places]
            values[wanted] = ssim(first[place][wanted], second[place][wanted]).cpu().numpy()
            return {"ssim": values}

        return in_block_order(groups, [of_group(place) for place in range(len(groups))])["ssim"][chosen]

    def _scores(
        self, subject: Subject, rows: Sequence[PlannedRow], result: RowMaps, truths: Sequence[Truth], annotated: bool
    ) -> None:
        arrays: Arrays = {"probability": affected_probability(result.logits).cpu().numpy()}
        groups = [truth.pictures for truth in truths]

        def of_row(planned: PlannedRow) -> Arrays:
            return in_block_order(groups, [self._of_row(planned, result, truth, annotated) for truth in truths])

        for found in in_threads(of_row, rows, result.logits.device):
            arrays |= found
        self.records.add(MAPS, subject.id, self.unit.block, arrays)

    def _of_row(self, planned: PlannedRow, result: RowMaps, truth: Truth, annotated: bool) -> Arrays:
        """All scores of a row on a group of pictures, by their key in the records."""
        whole, whole_flat = result.maps[planned.row], result.flat[planned.row]
        seeds = self._seeds(planned.key, truth.pictures)
        maps, flat = truth.pictures.maps(whole, whole_flat)
        plain = peak_scores(maps, flat, truth, seeds)
        soft: Arrays = {}
        if not planned.each:
            plain |= point_scores(maps, truth)
            if annotated:
                plain |= whole_map_scores(maps, truth)
                if self.plan.smoothing is not None:
                    smoothed, smoothed_flat = scale(smooth(truth.pictures.of(whole), self.plan.smoothing))
                    flat = truth.pictures.of(whole_flat) | smoothed_flat
                    soft = peak_scores(*cut_to_picture(smoothed, flat, truth.pictures.geometries[0]), truth, seeds)
        of_variant = ((PLAIN, plain), (SMOOTHED, soft))
        return {key(planned.key, variant, name): found for variant, all_ in of_variant for name, found in all_.items()}

    def _seeds(self, row: str, pictures: Pictures) -> list[tuple[int, ...]]:
        """A tie falls the same whatever else is asked for."""
        code = zlib.crc32(row.encode())
        return [(self.plan.seed, self.batch.images[place].index, code) for place in pictures.places]

    def _baselines(self, truths: Sequence[Truth]) -> None:
        """What can be said of the images without a network, and the scores of the points that know none."""
        arrays = in_block_order([truth.pictures for truth in truths], [self._baselines_of(truth) for truth in truths])
        self.records.add(DATA, preprocessing_id(self.unit.preprocessing), self.unit.block, arrays)

    def _baselines_of(self, truth: Truth) -> Arrays:
        pictures = truth.pictures
        grey = pictures.cut(self.batch.grey[:, 0])
        height, width = grey.shape[1:]
        arrays: Arrays = {
            "index": np.array([self.batch.images[place].index for place in pictures.places]),
            "area": np.array([object_area(mask) for mask in truth.masks.cpu().numpy()]),
            "shape": np.array([shape_type(annotated_objects(self.batch.items[place])) for place in pictures.places]),
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
            maps["mean_annotation"] = torch.from_numpy(baselines.fitted(mean, height, width)).expand(len(grey), -1, -1)
        for name, values in maps.items():
            scaled, flat = scale(values.float().contiguous().to(truth.masks.device))
            scores = peak_scores(scaled, flat, truth, self._seeds(name, pictures)) | whole_map_scores(scaled, truth)
            arrays |= {key(name, "", PLAIN, score): found for score, found in scores.items()}
        return arrays

    def _mean_annotation(self) -> baselines.FloatMap | None:
        chosen = self.unit.preprocessing
        if chosen not in self.training_maps:
            self.training_maps[chosen] = baselines.mean_annotation_map(object_masks(self.data.train, chosen))
        return self.training_maps[chosen]
