"""The paper's main experiment: does the highest point of a map lie on an object?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from cxrlens.evaluation.bootstrap import row_means
from cxrlens.evaluation.pointing_game import find_peaks
from cxrlens.report.row_titles import row_title
from cxrlens.report.tables import Cell, Column, Table
from cxrlens.study.cells import (
    ROW_COLUMNS,
    baseline_levels,
    conditions,
    flat_maps_note,
    hit_cells,
    intervals,
    repeated_baseline_lines,
    row_names,
    row_words,
    rows_of,
)
from cxrlens.study.experiments.base import Drawn, Experiment
from cxrlens.study.image_groups import Truth
from cxrlens.study.plots import Bars, grouped_bar_figure
from cxrlens.study.records import PLAIN, Arrays, key
from cxrlens.study.results import Group, Results
from cxrlens.study.scores import GroupMaps, MapScores


def peak_scores(maps: Tensor, flat: Tensor, truth: Truth, seeds: Sequence[tuple[int, ...]], variant: str) -> Arrays:
    """The places of the peaks of maps [N, H, W].

    Returns:
        ``VARIANT|distance`` float64 [N]: pixels from the peak to the nearest object, infinite for a flat map, NaN
        without an object; a hit at a tolerance is a distance below it. ``VARIANT|tied`` int64 [N]: pixels that share
        the highest value.
    """
    peaks = find_peaks(maps, seeds=seeds)
    distances = np.array([d[p.row, p.column] for d, p in zip(truth.distances, peaks, strict=True)])
    has_object = np.array([count > 0 for count in truth.objects.counts])
    distances = np.where(flat.cpu().numpy(), np.inf, distances)
    return {
        key(variant, "distance"): np.where(has_object, distances, np.nan),
        key(variant, "tied"): np.array([peak.tied for peak in peaks], dtype=np.int64),
    }


def _score(maps: GroupMaps) -> Arrays:
    return peak_scores(maps.maps, maps.flat, maps.truth, maps.seeds, PLAIN)


def hit_table(results: Results, groups: Sequence[Group], name: str, title: str, columns: Sequence[Column]) -> Table:
    """The Pointing Game of all rows on each group of networks, a column each, and of the baselines."""
    cells = [hit_cells(results, group) for group in groups]
    body: list[list[Cell]] = [
        [*row_names(row), *(found.get(row) for found in cells)] for row in rows_of(results, groups)
    ]
    body += repeated_baseline_lines(results, len(groups))
    return Table(
        name, title, (*ROW_COLUMNS, *columns), body, note=f"{conditions(results)}{flat_maps_note(results, groups)}"
    )


def hit_bars(results: Results, groups: Sequence[Group], name: str, title: str) -> Drawn:
    """The same as bars."""
    rows = rows_of(results, groups)
    bars = []
    for group in groups:
        own = results.rows(group)
        hits = results.hits(group, own)
        lows, highs = intervals(results, hits, is_outcome=True)
        means = row_means(hits)
        places = [own.index(row) if row in own else None for row in rows]
        bars.append(Bars(
            group.title,
            *([float(values[place]) if place is not None else float("nan") for place in places]
              for values in (means, lows, highs)),
        ))  # fmt: skip
    score = f"Pointing Game at {100 * results.plan.tolerance:.3g} % of the side, n = {results.n}"
    figure = grouped_bar_figure(
        [row_title(row) for row in rows], bars, title=title, score_name=score, references=baseline_levels(results)
    )
    return Drawn(name, title, f"Bars of the {score} by method; the table gives the numbers.", figure)


def _tables(results: Results) -> Iterator[Table]:
    columns = [Column(group.architecture, group.architecture, "score") for group in results.trained]
    yield hit_table(results, results.trained, "pointing-game", "Pointing Game, trained networks", columns)


def _figures(results: Results) -> Iterator[Drawn]:
    yield hit_bars(results, results.trained, "pointing-game", "Pointing Game, trained networks")


def _findings(results: Results, group: Group) -> Iterator[str]:
    rows = results.rows(group)
    means = row_means(results.hits(group, rows))
    best = int(np.argmax(means))
    yield f"the best row is {row_words(rows[best])} with a Pointing Game score of {means[best]:.3f}."


EXPERIMENT = Experiment(
    name="pointing-game",
    title="Pointing Game",
    text="Does the highest point of a map lie on an object?",
    map_scores=MapScores(
        (key(PLAIN, "distance"), key(PLAIN, "tied")), _score, single_layers=True, normal_images=True, baselines=True
    ),
    tables=_tables,
    figures=_figures,
    findings=_findings,
)
