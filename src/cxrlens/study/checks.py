"""The checks that are made on a sample of the images: perturbation, randomisation, faithfulness."""

from __future__ import annotations

import torch
from torch import Tensor

from cxrlens.data.decoding import Batch
from cxrlens.data.layouts import AFFECTED
from cxrlens.evaluation.faithfulness import faithfulness
from cxrlens.evaluation.perturbation import PERTURBATIONS, stability
from cxrlens.evaluation.randomisation import cascade
from cxrlens.evaluation.similarity import pixel_ranks, rank_correlation, ssim
from cxrlens.quality_model import QualityModel, affected_probability
from cxrlens.saliency.explain import Fusion, RowMaps
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


def _perturb(plan: StudyPlan, records: Records, models: Models, unit: Unit, batch: Batch) -> None:
    """Stability of the maps under small changes of the image, all of whose maps explain the unchanged image's class."""
    assert unit.subject is not None
    before = _sampled_maps(plan, records, models, unit, batch)
    target = explained_classes(plan, batch.items)
    target = before.logits.argmax(1) if target == "predicted" else target
    arrays: Arrays = {}
    seeds = [image.index for image in batch.images]
    for perturbation in PERTURBATIONS.values():
        after = models[unit.subject].explain_rows(
            perturbation(batch.grey, seeds=seeds),
            list(before.maps),
            target=target,
            fusion=Fusion(plan.combination),
            seed=plan.seed,
        )
        for row, maps in before.maps.items():
            restored, valid = perturbation.restored(after.maps[row])
            found = stability(maps, restored, valid, seeds=seeds)
            arrays[key(row.method, row.layers, perturbation.name, "ssim")] = found.ssim.cpu().numpy()
            arrays[key(row.method, row.layers, perturbation.name, "peak_distance")] = found.peak_distance.cpu().numpy()
    _add_sampled(plan, records, unit, arrays)


def _randomise(plan: StudyPlan, records: Records, models: Models, unit: Unit, batch: Batch) -> None:
    """Similarity of the maps to those of the network drawn anew, stage by stage, and of unrelated maps."""
    assert unit.subject is not None
    trained = _sampled_maps(plan, records, models, unit, batch)
    ranks = {row: pixel_ranks(maps) for row, maps in trained.maps.items()}
    arrays: Arrays = {}
    for row, maps in trained.maps.items():
        other = ssim(maps, maps.roll(1, 0)) if len(maps) > 1 else torch.full((1,), torch.nan)
        arrays[key(row.method, row.layers, TRAINED_PAIRS, "ssim")] = other.cpu().numpy()
    model = models[unit.subject]
    target = explained_classes(plan, batch.items)
    target = trained.logits.argmax(1) if target == "predicted" else target
    for stage, network in cascade(model.network, unit.subject.architecture, seed=plan.seed):
        changed = QualityModel(network, model.card, model.device).explain_rows(
            batch.grey, list(trained.maps), target=target, fusion=Fusion(plan.combination), seed=plan.seed
        )
        for row, maps in trained.maps.items():
            arrays[key(row.method, row.layers, stage, "ssim")] = ssim(maps, changed.maps[row]).cpu().numpy()
            arrays[key(row.method, row.layers, stage, "spearman")] = rank_correlation(
                ranks[row], pixel_ranks(changed.maps[row])
            ).numpy()
    _add_sampled(plan, records, unit, arrays)


def _faithful(plan: StudyPlan, records: Records, models: Models, unit: Unit, batch: Batch) -> None:
    """Insertion, deletion, average drop and increase of the explained class's probability."""
    assert unit.subject is not None
    model = models[unit.subject]
    result = _sampled_maps(plan, records, models, unit, batch)
    target = explained_classes(plan, batch.items)
    classes = result.logits.argmax(1) if target == "predicted" else target
    is_affected = classes.cpu() == AFFECTED if isinstance(classes, Tensor) else torch.ones(len(batch.items)) > 0

    def score(grey: Tensor) -> Tensor:
        probability = affected_probability(model.logits(grey))
        return torch.where(is_affected, probability, 1 - probability)

    arrays: Arrays = {}
    for row, maps in result.maps.items():
        found = faithfulness(score, batch.grey, maps.cpu(), steps=plan.faithfulness.steps)
        for name in ("insertion", "deletion", "drop", "increase"):
            arrays[key(row.method, row.layers, name)] = getattr(found, name).cpu().numpy()
    _add_sampled(plan, records, unit, arrays)


CHECKS = {PERTURBATION: _perturb, RANDOMISATION: _randomise, FAITHFULNESS: _faithful}
