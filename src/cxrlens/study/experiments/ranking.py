"""Rows ranked within each image by the distance from their peak to the nearest object; a flat map is last."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from cxrlens.evaluation.ranking import Ranking, rank_rows
from cxrlens.report.row_titles import row_title
from cxrlens.report.tables import Cell, Column, Table
from cxrlens.study.cells import ROW_COLUMNS, fusion_note, row_names
from cxrlens.study.experiments.base import Drawn, Experiment
from cxrlens.study.plots import critical_difference_figure
from cxrlens.study.results import Group, Results


def _ranking(results: Results, group: Group) -> Ranking:
    distances = results.scores(group, results.rows(group), "distance")
    furthest = math.hypot(group.subjects[0].preprocessing.height, group.subjects[0].preprocessing.width)
    return rank_rows(np.minimum(distances, furthest), higher_is_better=False)


def _tables(results: Results, group: Group) -> Iterator[Table]:
    rows = results.rows(group)
    if len(rows) < 2:
        return
    ranking = _ranking(results, group)
    order = np.argsort(ranking.average_ranks, kind="stable")
    body: list[list[Cell]] = [[*row_names(rows[place]), ranking.average_ranks[place]] for place in order]
    friedman = "" if math.isnan(ranking.p_value) else f"Friedman's p {ranking.p_value:.2g}; "  # it takes three rows
    yield Table(
        f"ranking-{group.file_name}",
        f"Average ranks, {group.architecture}",
        (*ROW_COLUMNS, Column("rank", "Average rank", "number", 2)),
        body,
        note=f"{fusion_note(results)} "
        "Ranks within an image by the distance from peak to object. Two rows differ when their ranks are "
        f"{ranking.critical_difference:.2f} apart (Nemenyi, 5 %); {friedman}{ranking.n} images.",
    )


def _figures(results: Results) -> Iterator[Drawn]:
    for group in results.trained:
        rows = results.rows(group)
        if len(rows) < 2:
            continue
        ranking = _ranking(results, group)
        title = f"Average ranks by distance from peak to object, {group.architecture}"
        figure = critical_difference_figure(
            [row_title(row) for row in rows],
            list(ranking.average_ranks),
            [list(joined) for joined in ranking.groups],
            critical_difference=ranking.critical_difference,
            title=title,
        )
        alt = "Rows on an axis of average ranks; bars join rows not told apart."
        yield Drawn(f"ranking-{group.file_name}", title, alt, figure)


EXPERIMENT = Experiment(
    name="ranking",
    title="Ranking",
    text="Rows that cannot be told apart share a bar.",
    group_tables=_tables,
    figures=_figures,
)
