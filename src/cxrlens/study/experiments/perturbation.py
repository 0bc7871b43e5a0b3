"""Stability of the maps under small changes of the image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from cxrlens.evaluation.bootstrap import row_means
from cxrlens.evaluation.perturbation import PERTURBATIONS, Perturbation, stability
from cxrlens.report.tables import Cell, Column, Table
from cxrlens.saliency.explain import Row, RowMaps
from cxrlens.study.cells import ROW_COLUMNS, flat_note, fusion_note, row_names, score_cells
from cxrlens.study.experiments.base import Experiment
from cxrlens.study.records import Arrays, key
from cxrlens.study.results import Group, Results
from cxrlens.study.scores import SampleBlock, SampleScores


def _score(block: SampleBlock) -> Arrays:
    """Of all changes; the maps explain the unchanged image's class."""
    arrays: Arrays = {}
    seeds = [[block.batch.images[place].index for place in group.places] for group in block.groups]
    for perturbation in PERTURBATIONS.values():
        changed = torch.empty_like(block.batch.grey)
        for group, own in zip(block.groups, seeds, strict=True):
            changed[group.places] = group.pad(perturbation(group.cut(block.batch.grey), seeds=own))
        after = block.explained(changed)

        def change(row: Row, number: int, after: RowMaps = after, perturbation: Perturbation = perturbation) -> Arrays:
            restored, valid = perturbation.restored(block.maps(after, row, number))
            found = stability(block.maps(block.before, row, number), restored, valid, seeds=seeds[number])
            return {
                key(perturbation.name, "ssim"): found.ssim.cpu().numpy(),
                key(perturbation.name, "peak_distance"): found.peak_distance.cpu().numpy(),
            }

        arrays |= block.by_row(change)
    return arrays


SCORES = SampleScores("perturbation", lambda plan: plan.perturbation.images, _score)


def _tables(results: Results, group: Group) -> Iterator[Table]:
    rows, names = results.rows(group), list(PERTURBATIONS)
    similarity, moved = (
        results.sample_scores(SCORES, group, rows, *(key(name, score) for name in names))
        for score in ("ssim", "peak_distance")
    )
    if similarity is None or moved is None:
        return
    stays = np.where(np.isnan(moved), np.nan, moved < results.plan.tolerance * group.side)
    body: list[list[Cell]] = [
        [*row_names(row), *score_cells(results, values), float(row_means(row_means(staying)[None])[0])]
        for row, values, staying in zip(rows, similarity, stays, strict=True)
    ]
    yield Table(
        f"perturbation-{group.file_name}",
        f"Stability under changes of the image, {group.architecture}",
        (
            *ROW_COLUMNS,
            *(Column(name, name.replace("_", " "), "score") for name in names),
            Column("stays", "Peak stays", "number"),
        ),
        body,
        note=f"{fusion_note(results)} "
        "Structural similarity of the maps before and after, brought back to the same pixels. Peak stays: share "
        f"of peaks that move less than the tolerance, over all changes.{flat_note(similarity)}",
    )


EXPERIMENT = Experiment(
    name="perturbation",
    title="Stability",
    text="Small changes of the image should leave a map as it is.",
    sample_scores=SCORES,
    group_tables=_tables,
)
