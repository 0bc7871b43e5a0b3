"""Published scores on Object-CXR beside the study's, where its images are those of a published split."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from cxrlens.evaluation.bootstrap import row_means
from cxrlens.evaluation.classification import classification_scores
from cxrlens.evaluation.published import PUBLISHED, Published
from cxrlens.inputs.dataset.object_cxr import published_split
from cxrlens.report.tables import Cell, Column, Score, Table
from cxrlens.saliency.explain import Row
from cxrlens.study.cells import row_words, score_cells
from cxrlens.study.experiments.base import Experiment
from cxrlens.study.experiments.froc import froc_cells
from cxrlens.study.results import Group, Results

_SCORES = {"auc": "AUC", "froc": "FROC, mean sensitivity", "pointing_game": "Pointing Game"}


def _split(results: Results) -> str | None:
    return published_split([item.name for item in (*results.data.annotated, *results.data.normal)])


def _applies(results: Results) -> bool:
    return bool(results.trained) and _split(results) is not None


def _tables(results: Results) -> Iterator[Table]:
    rows = {group: _best_norm_grad(results, group) for group in results.trained}
    body: list[list[Cell]] = []
    for each in PUBLISHED:
        here = [_here(results, group, rows[group], each) for group in results.trained]
        if any(cell is not None for cell in here):
            body.append([_SCORES[each.kind], each.value, each.by, each.protocol, each.source, *here])
    said = "; ".join(f"{group.architecture}: {row_words(row)}" for group, row in rows.items() if row)
    sizes = ", ".join(f"{group.architecture} at {group.subjects[0].preprocessing.size}" for group in results.trained)
    yield Table(
        "published",
        "Published scores on Object-CXR, and this study's",
        (
            Column("score", "Score"),
            Column("published", "Published", "number"),
            Column("by", "By"),
            Column("protocol", "Protocol"),
            Column("source", "Source"),
            *(Column(group.architecture, f"Here: {group.architecture}", "score") for group in results.trained),
        ),
        body,
        note=f"Here: the published {_split(results)} images, {sizes}, trained on image labels; maps of the best "
        f"NormGrad row ({said or 'none in this plan'}), at the tolerance of the published score. Only scores on the "
        "same images, at the same size and tolerance can be compared.",
    )


def _here(results: Results, group: Group, row: Row | None, each: Published) -> Score | None:
    """The study's score of the same kind; None where it has none."""
    if each.kind == "auc":
        return _auc(results, group) if results.plan.normal_images else None
    if row is None:
        return None
    if each.kind == "froc":
        everywhere = list(range(len(results.all_indices)))
        return froc_cells(results, group, row, everywhere)[0] if results.plan.normal_images else None
    if each.tolerance is None:
        return None
    return score_cells(results, results.hits(group, [row], share=each.tolerance), is_outcome=True)[0]


def _auc(results: Results, group: Group) -> Score:
    """The mean over seeds, with an interval where there is but one."""
    annotated = len(results.data.annotated)
    labels = np.array([int(index < annotated) for index in results.all_indices])
    found = [
        classification_scores(labels, results.all_probabilities(subject), seed=results.plan.seed)
        for subject in group.subjects
    ]
    low, high = (found[0].auc_interval.low, found[0].auc_interval.high) if len(found) == 1 else (math.nan, math.nan)
    return Score(float(np.mean([each.auc for each in found])), low, high, len(labels))


def _best_norm_grad(results: Results, group: Group) -> Row | None:
    rows = [row for row in results.rows(group) if row.method.startswith("normgrad_")]
    return rows[int(np.argmax(row_means(results.hits(group, rows))))] if rows else None


EXPERIMENT = Experiment(
    name="published",
    title="Published scores",
    text="What others have published on the same data set, with its protocol, beside what was found here.",
    needs=_applies,
    tables=_tables,
)
