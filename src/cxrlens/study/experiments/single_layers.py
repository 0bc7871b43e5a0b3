"""The Pointing Game layer by layer: the score of each of the combined layers alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cxrlens.evaluation.bootstrap import row_means
from cxrlens.report.curves import Curve, curve_figure
from cxrlens.report.tables import Cell, Column, Table
from cxrlens.saliency.explain import Row
from cxrlens.saliency.methods import find_method
from cxrlens.study.cells import ROW_COLUMNS, baseline_levels, conditions, intervals, row_names, score_cells
from cxrlens.study.experiments.base import Drawn, Experiment
from cxrlens.study.results import Group, Results
from cxrlens.study.rows import layer_grids, planned_rows


def _single(results: Results, group: Group) -> list[Row]:
    return [planned.row for planned in planned_rows(results.plan, group.architecture) if planned.each]


def _tables(results: Results, group: Group) -> Iterator[Table]:
    rows = _single(results, group)
    if not rows:
        return
    grids = layer_grids(group.architecture, group.subjects[0].preprocessing)
    cells = score_cells(results, results.hits(group, rows), results.baselines("hit"), is_outcome=True)
    body: list[list[Cell]] = [
        [*row_names(row), f"{grids[row.layers][0]} x {grids[row.layers][1]}", cell]
        for row, cell in zip(rows, cells, strict=True)
    ]
    yield Table(
        f"layers-{group.file_name}",
        f"Pointing Game layer by layer, {group.architecture}",
        (*ROW_COLUMNS, Column("grid", "Grid of the layer"), Column("score", "Pointing Game", "score")),
        body,
        note=conditions(results),
    )


def _figures(results: Results) -> Iterator[Drawn]:
    for group in results.trained:
        rows = _single(results, group)
        if rows:
            yield from _of_group(results, group, list(dict.fromkeys(row.method for row in rows)))


def _of_group(results: Results, group: Group, methods: list[str]) -> Iterator[Drawn]:
    """Layer by layer, and the same scores over the size of the layers' grids."""
    grids = layer_grids(group.architecture, group.subjects[0].preprocessing)
    layers = list(grids)
    sizes = sorted({grid[0] for grid in grids.values()})
    by_layer, by_grid = [], []
    for method in methods:
        hits = results.hits(group, [Row(method, layer) for layer in layers])
        means = row_means(hits)
        lows, highs = intervals(results, hits, is_outcome=True)
        label = find_method(method).title
        by_layer.append(Curve(label, means.tolist(), lows.tolist(), highs.tolist()))
        of_size = [
            float(np.mean([mean for mean, layer in zip(means, layers, strict=True) if grids[layer][0] == size]))
            for size in sizes
        ]
        by_grid.append(Curve(label, of_size))
    title = f"Pointing Game layer by layer, {group.architecture}"
    names = [f"{layer}\n{grids[layer][0]} x {grids[layer][1]}" for layer in layers]
    figure = curve_figure(names, by_layer, title=title, x_name="layer and its grid, from the input to the head",
                          y_name="Pointing Game", references=baseline_levels(results))  # fmt: skip
    alt = "Curves by method over the layers; the table gives the numbers."
    yield Drawn(f"layers-{group.file_name}", title, alt, figure)
    title = f"Pointing Game by grid size, {group.architecture}"
    figure = curve_figure([float(size) for size in sizes], by_grid, title=title, x_name="rows of the layer's grid",
                          y_name="Pointing Game, mean over its layers",
                          references=baseline_levels(results))  # fmt: skip
    alt = "Curves by method over the size of the layer's grid."
    yield Drawn(f"grids-{group.file_name}", title, alt, figure)


EXPERIMENT = Experiment(
    name="layers",
    title="Layers",
    text="What each layer gives alone, and what combining them adds.",
    group_tables=_tables,
    figures=_figures,
)
