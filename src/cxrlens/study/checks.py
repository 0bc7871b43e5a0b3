"""The checks that are made on a sample of the images: perturbation, randomisation, faithfulness."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from cxrlens.evaluation.faithfulness import faithfulness
from cxrlens.evaluation.perturbation import PERTURBATIONS, stability
from cxrlens.evaluation.randomisation import cascade
from cxrlens.evaluation.similarity import pixel_ranks, rank_correlation, ssim
from cxrlens.inputs.dataset.layouts import AFFECTED
from cxrlens.inputs.decoding import Batch
from cxrlens.inspection.quality_model import QualityModel, affected_probability
from cxrlens.saliency.explain import Fusion, Row, RowMaps
from cxrlens.study.pictures import Pictures, in_block_order, pictures_of
from cxrlens.study.plan import StudyPlan
from cxrlens.study.records import Arrays, Records, key
from cxrlens.study.subjects import Models
from cxrlens.study.work import (
    FAITHFULNESS,
    PERTURBATION,
    RANDOMISATION,
    TRAINED_PAIRS,
    Unit,
    explained_classes,
    rows_missing,
    sampled_block,
)


def _sampled_maps(plan: StudyPlan, records: Records, models: Models, unit: Unit, batch: Batch) -> RowMaps:
    """The maps of the rows that a sampled part's record lacks."""
    assert unit.subject is not None
    return models[unit.subject].explain_rows(
        batch.grey,
        rows_missing(plan, records, unit),
        target=explained_classes(plan, batch.items),
        fusion=Fusion(plan.combination),
        seed=plan.seed,
    )


def _add_sampled(plan: StudyPlan, records: Records, unit: Unit, arrays: Arrays) -> None:
    assert unit.subject is not None
    records.add(unit.part, unit.subject.id, sampled_block(plan, unit.part, unit.indices, unit.block), arrays)


def _maps(group: Pictures, result: RowMaps, row: Row) -> Tensor:
    """A row's maps [n, h, w] of a group's pictures."""
    return group.maps(result.maps[row], result.flat[row])[0]


def _unrelated(groups: Sequence[Pictures], maps: Sequence[Tensor]) -> npt.NDArray[np.float64]:
    """Similarity of each map of a block to that of the image before, stretched to its size; NaN for one image alone."""
    single = {
        place: map_ for group, some in zip(groups, maps, strict=True)
        for place, map_ in zip(group.places, some, strict=True)
    }  # fmt: skip
    if len(single) == 1:
        return np.full(1, np.nan)
    values = np.empty(len(single))
    for place, map_ in single.items():
        other = single[(place - 1) % len(single)][None, None]
        if other.shape[2:] != map_.shape:
            other = functional.interpolate(other, map_.shape, mode="bilinear", antialias=True)
        values[place] = float(ssim(map_[None], other[0])[0])
    return values


def _perturb(plan: StudyPlan, records: Records, models: Models, unit: Unit, batch: Batch) -> None:
    """Stability of the maps under small changes of the image, all of whose maps explain the unchanged image's class."""
    assert unit.subject is not None
    before = _sampled_maps(plan, records, models, unit, batch)
    target = explained_classes(plan, batch.items)
    target = before.logits.argmax(1) if target == "predicted" else target
    groups = pictures_of(batch.images, unit.preprocessing)
    arrays: Arrays = {}
    seeds = [[batch.images[place].index for place in group.places] for group in groups]
    for perturbation in PERTURBATIONS.values():
        changed = torch.empty_like(batch.grey)
        for group, own in zip(groups, seeds, strict=True):
            changed[group.places] = group.pad(perturbation(group.cut(batch.grey), seeds=own))
        after = models[unit.subject].explain_rows(
            changed,
            list(before.maps),
            target=target,
            fusion=Fusion(plan.combination),
            seed=plan.seed,
        )
        for row in before.maps:
            parts = []
            for group, own in zip(groups, seeds, strict=True):
                restored, valid = perturbation.restored(_maps(group, after, row))
                found = stability(_maps(group, before, row), restored, valid, seeds=own)
                parts.append({
                    key(row.method, row.layers, perturbation.name, name): values.cpu().numpy()
                    for name, values in (("ssim", found.ssim), ("peak_distance", found.peak_distance))
                })  # fmt: skip
            arrays |= in_block_order(groups, parts)
    _add_sampled(plan, records, unit, arrays)


def _randomise(plan: StudyPlan, records: Records, models: Models, unit: Unit, batch: Batch) -> None:
    """Similarity of the maps to those of the network drawn anew, stage by stage, and of unrelated maps."""
    assert unit.subject is not None
    trained = _sampled_maps(plan, records, models, unit, batch)
    groups = pictures_of(batch.images, unit.preprocessing)
    maps = {row: [_maps(group, trained, row) for group in groups] for row in trained.maps}
    ranks = {row: [pixel_ranks(some) for some in by_group] for row, by_group in maps.items()}
    arrays: Arrays = {
        key(row.method, row.layers, TRAINED_PAIRS, "ssim"): _unrelated(groups, by_group)
        for row, by_group in maps.items()
    }
    model = models[unit.subject]
    target = explained_classes(plan, batch.items)
    target = trained.logits.argmax(1) if target == "predicted" else target
    for stage, network in cascade(model.network, unit.subject.architecture, seed=plan.seed):
        changed = QualityModel(network, model.card, model.device).explain_rows(
            batch.grey, list(trained.maps), target=target, fusion=Fusion(plan.combination), seed=plan.seed
        )
        for row, by_group in maps.items():
            parts = []
            for group, before, before_ranks in zip(groups, by_group, ranks[row], strict=True):
                after = _maps(group, changed, row)
                parts.append({
                    key(row.method, row.layers, stage, "ssim"): ssim(before, after).cpu().numpy(),
                    key(row.method, row.layers, stage, "spearman"):
                        rank_correlation(before_ranks, pixel_ranks(after)).numpy(),
                })  # fmt: skip
            arrays |= in_block_order(groups, parts)
    _add_sampled(plan, records, unit, arrays)


def _faithful(plan: StudyPlan, records: Records, models: Models, unit: Unit, batch: Batch) -> None:
    """Insertion, deletion, average drop and increase of the explained class's probability."""
    assert unit.subject is not None
    model = models[unit.subject]
    result = _sampled_maps(plan, records, models, unit, batch)
    target = explained_classes(plan, batch.items)
    classes = result.logits.argmax(1) if target == "predicted" else target
    is_affected = classes.cpu() == AFFECTED if isinstance(classes, Tensor) else torch.ones(len(batch.items)) > 0

    def score_of(group: Pictures) -> Callable[[Tensor], Tensor]:
        def score(pictures: Tensor) -> Tensor:
            probability = affected_probability(model.logits(group.pad(pictures)))
            return torch.where(group.of(is_affected), probability, 1 - probability)

        return score

    groups = pictures_of(batch.images, unit.preprocessing)
    arrays: Arrays = {}
    for row in result.maps:
        parts = []
        for group in groups:
            maps = _maps(group, result, row).cpu()
            found = faithfulness(score_of(group), group.cut(batch.grey), maps, steps=plan.faithfulness.steps)
            parts.append({
                key(row.method, row.layers, name): getattr(found, name).cpu().numpy()
                for name in ("insertion", "deletion", "drop", "increase")
            })  # fmt: skip
        arrays |= in_block_order(groups, parts)
    _add_sampled(plan, records, unit, arrays)


CHECKS = {PERTURBATION: _perturb, RANDOMISATION: _randomise, FAITHFULNESS: _faithful}
