"""Classification: telling affected images from normal ones, for each network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cxrlens.evaluation.classification import classification_scores
from cxrlens.report.tables import Cell, Column, Score, Table
from cxrlens.study.experiments.base import Experiment
from cxrlens.study.results import Results
from cxrlens.study.subjects import WEIGHTS_TITLES


def _tables(results: Results) -> Iterator[Table]:
    annotated = len(results.data.annotated)
    labels = np.array([int(index < annotated) for index in results.all_indices])
    rows: list[list[Cell]] = []
    for subject in results.subjects:
        found = classification_scores(labels, results.all_probabilities(subject), seed=results.plan.seed)
        auc = Score(found.auc, found.auc_interval.low, found.auc_interval.high, found.n)
        rows.append([subject.architecture, WEIGHTS_TITLES[subject.weights], subject.seed, auc, found.accuracy,
                     found.sensitivity, found.specificity])  # fmt: skip
    yield Table(
        "classification",
        "Networks of the study",
        (
            Column("architecture", "Network"),
            Column("weights", "Weights"),
            Column("seed", "Seed"),
            Column("auc", "AUC", "score"),
            Column("accuracy", "Accuracy", "number"),
            Column("sensitivity", "Sensitivity", "number"),
            Column("specificity", "Specificity", "number"),
        ),
        rows,
        note="At a threshold of 0.5.",
    )


EXPERIMENT = Experiment(
    name="classification",
    title="Networks",
    text="How well each network tells affected images from normal ones.",
    tables=_tables,
)
