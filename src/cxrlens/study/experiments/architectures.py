"""Experiment 3 of the paper: the Difference of Means between two architectures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cxrlens.evaluation.bootstrap import row_means
from cxrlens.evaluation.proportions import bounded_where_alike
from cxrlens.evaluation.similarity import hit_agreement
from cxrlens.report.tables import Cell, Column, Score, Table
from cxrlens.study.cells import ROW_COLUMNS, conditions, intervals, row_names
from cxrlens.study.experiments.base import Experiment
from cxrlens.study.results import Results


def _tables(results: Results) -> Iterator[Table]:
    first, second = results.trained[:2]
    rows = [row for row in results.rows(first) if row in set(results.rows(second))]
    one, two = (results.hits(group, rows) for group in (first, second))
    means = [intervals(results, values, is_outcome=True) for values in (one, two)]
    found = [row_means(values) for values in (one, two)]
    body: list[list[Cell]] = []
    # A seed of one architecture has no partner in the other: images alone are resampled for the difference.
    apart = one.mean(axis=1) - two.mean(axis=1)
    lows, highs = bounded_where_alike(apart, intervals(results, apart, is_outcome=False))
    for place, row in enumerate(rows):
        kappas = [hit_agreement(a, b) for a in one[place] for b in two[place]]
        cells = [
            Score(float(means_[place]), float(ends[0][place]), float(ends[1][place]), results.n)
            for means_, ends in zip(found, means, strict=True)
        ]
        difference = float(apart[place].mean())
        body.append([
            *row_names(row), *cells, abs(difference), Score(difference, float(lows[place]), float(highs[place]),
            results.n), float(np.mean(kappas)),
        ])  # fmt: skip
    yield Table(
        "architectures",
        f"{first.architecture} against {second.architecture}",
        (
            *ROW_COLUMNS,
            Column(first.architecture, first.architecture, "score"),
            Column(second.architecture, second.architecture, "score"),
            Column("dom", "Difference of Means", "number"),
            Column("difference", "Signed difference", "score"),
            Column("kappa", "Agreement of hits (kappa)", "number"),
        ),
        body,
        note=f"{conditions(results)} A row that is equally bad on both has a small Difference of Means too. "
        "Published Difference of Means of NormGrad: 0.001 on Object-CXR.",
    )


EXPERIMENT = Experiment(
    name="architectures",
    title="Architectures",
    text="The paper's third experiment: the Difference of Means.",
    needs=lambda results: len(results.trained) > 1,
    tables=_tables,
)
