"""The figures of a study."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from cxrlens.evaluation.bootstrap import bootstrap_means, row_means
from cxrlens.evaluation.froc import froc
from cxrlens.saliency.explain import Row
from cxrlens.saliency.methods import find_method
from cxrlens.study.plots import (
    Bars,
    Curve,
    FrocCurve,
    critical_difference_figure,
    curve_figure,
    froc_figure,
    grouped_bar_figure,
    heat_map_figure,
)
from cxrlens.study.records import key
from cxrlens.study.results import Group, Results
from cxrlens.study.stages import cascade_stages, layer_grids
from cxrlens.study.subjects import WEIGHTS_TITLES
from cxrlens.study.tables import ranking_of
from cxrlens.study.work import RANDOMISATION, TRAINED_PAIRS, pairs_of, planned_rows, tolerance_names


@dataclass(frozen=True)
class Drawn:
    """A figure, the name of its files and of the section it belongs to, and what it shows in words."""

    name: str
    section: str
    title: str
    alt: str
    figure: Figure


def all_figures(results: Results) -> Iterator[Drawn]:
    """One after another, so that only one is in memory."""
    yield _bars(results, results.trained, "pointing-game", "Pointing Game, trained networks")
    if len(results.groups) > len(results.trained):
        yield _bars(results, results.groups, "weights", "Pointing Game, random and trained weights")
    for group in results.trained:
        yield _by_tolerance(results, group)
        if any(planned.each for planned in planned_rows(results.plan, group.architecture)):
            yield from _by_layer(results, group)
        if len(results.rows(group)) > 1:
            yield _ranks(results, group)
        if results.plan.normal_images:
            yield _froc(results, group)
        if results.plan.randomisation.images:
            yield _randomised(results, group)
    if results.plan.consistency.images and pairs_of(results.subjects):
        yield _similarity(results)


def _bars(results: Results, groups: list[Group], name: str, title: str) -> Drawn:
    rows = list(dict.fromkeys(row for group in groups for row in results.rows(group)))
    bars = []
    for group in groups:
        own = results.rows(group)
        hits = results.hits(group, own)
        lows, highs = bootstrap_means(hits, repeats=results.plan.repeats, seed=results.plan.seed)
        means = row_means(hits)
        places = [own.index(row) if row in own else None for row in rows]
        bars.append(Bars(
            f"{group.architecture}, {WEIGHTS_TITLES[group.weights]}",
            *([float(values[place]) if place is not None else float("nan") for place in places]
              for values in (means, lows, highs)),
        ))  # fmt: skip
    score = f"Pointing Game at {100 * results.plan.tolerance:.3g} % of the side, n = {results.n}"
    figure = grouped_bar_figure(
        [_title(row) for row in rows], bars, title=title, score_name=score, references=_levels(results)
    )
    return Drawn(name, name, title, f"Bars of the {score} by method; the table gives the numbers.", figure)


def _by_tolerance(results: Results, group: Group) -> Drawn:
    names = tolerance_names(results.plan)
    rows = results.rows(group)
    by_share = [results.hits(group, rows, share=float(name)) for name in names]
    ends = [bootstrap_means(hits, repeats=results.plan.repeats, seed=results.plan.seed) for hits in by_share]
    means = [row_means(hits) for hits in by_share]
    chosen = sorted(range(len(rows)), key=lambda place: -means[-1][place])[:8]
    curves = [
        Curve(
            _title(rows[place]),
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
    return Drawn(f"tolerances-{group.architecture}", f"tolerances-{group.architecture}", title,
                 "Curves of the eight best rows; the score rises with the tolerance.", figure)  # fmt: skip


def _by_layer(results: Results, group: Group) -> Iterator[Drawn]:
    """Layer by layer, and the same scores over the size of the layers' grids."""
    planned = [each.row for each in planned_rows(results.plan, group.architecture) if each.each]
    methods = list(dict.fromkeys(row.method for row in planned))
    grids = layer_grids(group.architecture, group.subjects[0].preprocessing)
    layers = list(grids)
    sizes = sorted({grid[0] for grid in grids.values()})
    by_layer, by_grid = [], []
    for method in methods:
        rows = [Row(method, layer) for layer in layers]
        hits = results.hits(group, rows)
        means = row_means(hits)
        lows, highs = bootstrap_means(hits, repeats=results.plan.repeats, seed=results.plan.seed)
        label = find_method(method).title
        by_layer.append(Curve(label, means.tolist(), lows.tolist(), highs.tolist()))
        of_size = [
            float(np.mean([mean for mean, layer in zip(means, layers, strict=True) if grids[layer][0] == size]))
            for size in sizes
        ]
        by_grid.append(Curve(label, of_size))
    section = f"layers-{group.architecture}"
    title = f"Pointing Game layer by layer, {group.architecture}"
    names = [f"{layer}\n{grids[layer][0]} x {grids[layer][1]}" for layer in layers]
    figure = curve_figure(names, by_layer, title=title, x_name="layer and its grid, from the input to the head",
                          y_name="Pointing Game", references=_levels(results))  # fmt: skip
    yield Drawn(section, section, title, "Curves by method over the layers; the table gives the numbers.", figure)
    title = f"Pointing Game by grid size, {group.architecture}"
    figure = curve_figure([float(size) for size in sizes], by_grid, title=title, x_name="rows of the layer's grid",
                          y_name="Pointing Game, mean over its layers", references=_levels(results))  # fmt: skip
    yield Drawn(f"grids-{group.architecture}", section, title,
                "Curves by method over the size of the layer's grid.", figure)  # fmt: skip


def _ranks(results: Results, group: Group) -> Drawn:
    rows, ranking = ranking_of(results, group)
    title = f"Average ranks by distance from peak to object, {group.architecture}"
    figure = critical_difference_figure(
        [_title(row) for row in rows],
        list(ranking.average_ranks),
        [list(group_) for group_ in ranking.groups],
        critical_difference=ranking.critical_difference,
        title=title,
    )
    section = f"ranking-{group.architecture}"
    return Drawn(section, section, title, "Rows on an axis of average ranks; bars join rows not told apart.", figure)


def _froc(results: Results, group: Group) -> Drawn:
    curves = []
    for row in results.rows(group):
        found = froc(results.predictions(group.subjects[0], row), results.annotations)
        curves.append(FrocCurve(_title(row), found.false_positives.tolist(), found.sensitivity.tolist(), found.mean))
    title = f"FROC of map peaks, {group.architecture}, seed {group.subjects[0].seed}"
    section = f"froc-{group.architecture}"
    return Drawn(section, section, title, "Sensitivity over false positives per image by method.",
                 froc_figure(curves, title=title))  # fmt: skip


def _randomised(results: Results, group: Group) -> Drawn:
    arrays = [results.check(RANDOMISATION, s, results.plan.randomisation.images) for s in group.subjects]
    rows = results.rows(group)
    stages = cascade_stages(group.architecture)
    curves = []
    for row in rows:
        values = np.array([[a[key(row.method, row.layers, stage, "ssim")] for a in arrays] for stage in stages])
        curves.append(Curve(_title(row), row_means(values).tolist()))
    unrelated = np.mean([
        np.nanmean(a[key(row.method, row.layers, TRAINED_PAIRS, "ssim")]) for a in arrays for row in rows
    ])  # fmt: skip
    title = f"Cascading randomisation, {group.architecture}"
    figure = curve_figure(stages, curves, title=title, x_name="weights drawn anew from the head down to",
                          y_name="SSIM to the trained network's map",
                          references={"unrelated maps, mean over methods": float(unrelated)})  # fmt: skip
    section = f"randomisation-{group.architecture}"
    return Drawn(section, section, title, "Similarity to the trained network's maps falls stage by stage.", figure)


def _similarity(results: Results) -> Drawn:
    """Mean similarity of every two trained networks, over the rows that both have."""
    trained = [subject for group in results.trained for subject in group.subjects]
    matrix = np.full((len(trained), len(trained)), np.nan)
    np.fill_diagonal(matrix, 1.0)
    for first, second in pairs_of(results.subjects):
        values = [np.nanmean(found) for found in results.pair((first, second)).values()]
        a, b = trained.index(first), trained.index(second)
        matrix[a, b] = matrix[b, a] = float(np.mean(values)) if values else np.nan
    title = "Similarity of maps between networks, mean over all rows"
    figure = heat_map_figure([subject.title for subject in trained], matrix, title=title, value_name="SSIM")
    return Drawn("consistency", "consistency", title, "Mean SSIM of the maps of every two networks.", figure)


def _levels(results: Results) -> dict[str, float]:
    return {name.replace("_", " "): float(np.mean(values)) for name, values in results.baselines("hit").items()}


def _title(row: Row) -> str:
    return f"{find_method(row.method).title}, {row.layers}"
