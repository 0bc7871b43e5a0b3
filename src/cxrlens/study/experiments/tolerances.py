"""The Pointing Game at several tolerances."""

from __future__ import annotations

from collections.abc import Iterator

from cxrlens.evaluation.bootstrap import row_means
from cxrlens.report.curves import Curve, curve_figure
from cxrlens.report.row_titles import row_title
from cxrlens.report.tables import Cell, Column, Table
from cxrlens.study.cells import (
    ROW_COLUMNS,
    baseline_cells,
    baseline_lines,
    fusion_note,
    hit_cells,
    intervals,
    row_names,
)
from cxrlens.study.experiments.base import Drawn, Experiment
from cxrlens.study.results import Group, Results

_CURVES = 8


def _tables(results: Results, group: Group) -> Iterator[Table]:
    names, side = results.plan.tolerance_names, group.side
    by_share = [hit_cells(results, group, share=float(name)) for name in names]
    body: list[list[Cell]] = [[*row_names(row), *(cells[row] for cells in by_share)] for row in results.rows(group)]
    body += baseline_lines(
        baseline_cells(results, results.baselines("hit", float(name)), is_outcome=True) for name in names
    )
    headings = [
        Column(f"share_{name}", "on the object" if float(name) == 0 else
               f"{100 * float(name):.3g} % ({float(name) * side:.3g} px)", "score")
        for name in names
    ]  # fmt: skip
    yield Table(
        f"tolerances-{group.file_name}",
        f"Pointing Game by tolerance, {group.architecture}",
        (*ROW_COLUMNS, *headings),
        body,
        note=f"{fusion_note(results)} Tolerances as a share of the longer side, here {side} px.",
    )


def _figures(results: Results) -> Iterator[Drawn]:
    for group in results.trained:
        yield _figure(results, group)


def _figure(results: Results, group: Group) -> Drawn:
    names = results.plan.tolerance_names
    rows = results.rows(group)
    by_share = [results.hits(group, rows, share=float(name)) for name in names]
    ends = [intervals(results, hits, is_outcome=True) for hits in by_share]
    means = [row_means(hits) for hits in by_share]
    chosen = sorted(range(len(rows)), key=lambda place: -means[-1][place])[:_CURVES]
    curves = [
        Curve(
            row_title(rows[place]),
            [float(values[place]) for values in means],
            [float(low[place]) for low, _ in ends],
            [float(high[place]) for _, high in ends],
        )
        for place in sorted(chosen)
    ]
    title = f"Pointing Game by tolerance, {group.architecture}"
    figure = curve_figure(
        [100 * float(name) for name in names],
        curves,
        title=title,
        x_name="tolerance, % of the longer side",
        y_name="Pointing Game",
    )
    alt = "Curves of the eight best rows; the score rises with the tolerance."
    return Drawn(f"tolerances-{group.file_name}", title, alt, figure)


EXPERIMENT = Experiment(
    name="tolerances",
    title="Tolerances",
    text="The score means little without its tolerance.",
    group_tables=_tables,
    figures=_figures,
)
