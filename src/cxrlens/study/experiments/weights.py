"""Experiment 2 of the paper: do maps of untrained networks find the objects too?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cxrlens.evaluation.comparison import beats_best_baseline
from cxrlens.report.tables import Column, Table
from cxrlens.study.cells import row_words
from cxrlens.study.experiments.base import Drawn, Experiment
from cxrlens.study.experiments.pointing_game import hit_bars, hit_table
from cxrlens.study.results import Group, Results


def _tables(results: Results) -> Iterator[Table]:
    columns = [Column(group.name, group.title, "score") for group in results.groups]
    yield hit_table(results, results.groups, "weights", "Random against trained weights", columns)


def _figures(results: Results) -> Iterator[Drawn]:
    yield hit_bars(results, results.groups, "weights", "Pointing Game, random and trained weights")


def _findings(results: Results, group: Group) -> Iterator[str]:
    """Rows that find the objects in a network that never saw the task show the image more than the network."""
    rows = results.rows(group)
    baselines = np.stack(list(results.baselines("hit").values()))
    found = beats_best_baseline(results.hits(group, rows), baselines, seed=results.plan.seed)
    beating = [row_words(row) for row, each in zip(rows, found, strict=True) if each.beats]
    if beating:
        yield f"{', '.join(beating)} beat the best baseline without any training, so they show the image itself."
    else:
        yield "no row beats the best baseline."


EXPERIMENT = Experiment(
    name="weights",
    title="Random weights",
    text="The paper's second experiment: a map that finds objects without training shows the image, not the network.",
    needs=lambda results: len(results.groups) > len(results.trained),
    tables=_tables,
    figures=_figures,
    findings=_findings,
    findings_on="untrained",
)
