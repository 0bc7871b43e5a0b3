"""Insertion, deletion, average drop and increase: do the pixels that a map names carry the decision?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from cxrlens.evaluation.faithfulness import faithfulness
from cxrlens.evaluation.similarity import is_flat
from cxrlens.inputs.dataset.layouts import AFFECTED
from cxrlens.inspection.quality_model import affected_probability
from cxrlens.report.tables import Cell, Column, Table
from cxrlens.saliency.explain import Row
from cxrlens.study.cells import ROW_COLUMNS, flat_note, fusion_note, row_names, score_cells
from cxrlens.study.experiments.base import Experiment
from cxrlens.study.image_groups import ImageGroup
from cxrlens.study.records import Arrays
from cxrlens.study.results import Group, Results
from cxrlens.study.scores import SampleBlock, SampleScores

_HEADINGS = {
    "insertion": "Insertion (high is good)",
    "deletion": "Deletion (low is good)",
    "drop": "Average drop (low is good)",
    "increase": "Increase (high is good)",
}


def _score(block: SampleBlock) -> Arrays:
    """Of the explained class's probability."""
    target = block.target
    is_affected = target.cpu() == AFFECTED if isinstance(target, Tensor) else torch.ones(len(block.batch.items)) > 0

    def probability_of(group: ImageGroup) -> Callable[[Tensor], Tensor]:
        def probability(images: Tensor) -> Tensor:
            affected = affected_probability(block.model.logits(group.pad(images)))
            return torch.where(group.of(is_affected), affected, 1 - affected)

        return probability

    def of_row(row: Row, number: int) -> Arrays:
        group, maps = block.groups[number], block.maps(block.before, row, number).cpu()
        found = faithfulness(
            probability_of(group), group.cut(block.batch.grey), maps, steps=block.plan.faithfulness.steps
        )
        flat = is_flat(maps)  # its pixels have no order
        return {name: getattr(found, name).cpu().masked_fill(flat, torch.nan).numpy() for name in _HEADINGS}

    return block.by_row(of_row)


SCORES = SampleScores(
    "faithfulness", lambda plan: plan.faithfulness.images, _score, settings=lambda plan: plan.faithfulness.steps
)


def _tables(results: Results, group: Group) -> Iterator[Table]:
    rows = results.rows(group)
    found = results.sample_scores(SCORES, group, rows, *_HEADINGS)
    if found is None:
        return
    body: list[list[Cell]] = [
        [*row_names(row), *score_cells(results, values[:-1]), *score_cells(results, values[-1:], is_outcome=True)]
        for row, values in zip(rows, found, strict=True)  # last is the increase, which an image has or has not
    ]
    yield Table(
        f"faithfulness-{group.file_name}",
        f"Faithfulness, {group.architecture}",
        (*ROW_COLUMNS, *(Column(name, heading, "score") for name, heading in _HEADINGS.items())),
        body,
        note=f"{fusion_note(results)} "
        f"{results.plan.faithfulness.steps} steps; removed pixels are replaced by a blurred picture."
        f"{flat_note(found)}",
    )


EXPERIMENT = Experiment(
    name="faithfulness",
    title="Faithfulness",
    text="Do the pixels that a map names carry the decision?",
    sample_scores=SCORES,
    group_tables=_tables,
)
