"""Experiment 1 of the paper: maps as they are against maps under a Gaussian, ties broken at random in both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cxrlens.evaluation.comparison import Comparison, compare_rows
from cxrlens.report.tables import Cell, Column, Table
from cxrlens.saliency.explain import Row
from cxrlens.saliency.fusion import scale
from cxrlens.saliency.gaussian import smooth
from cxrlens.study.cells import (
    ROW_COLUMNS,
    conditions,
    difference_cell,
    flat_maps_note,
    row_names,
    row_words,
    rows_of,
    score_cells,
)
from cxrlens.study.experiments.base import Experiment
from cxrlens.study.experiments.pointing_game import peak_scores
from cxrlens.study.image_groups import cut_to_image
from cxrlens.study.records import PLAIN, SMOOTHED, Arrays, key
from cxrlens.study.results import Group, Results
from cxrlens.study.scores import GroupMaps, MapScores


def _score(maps: GroupMaps) -> Arrays:
    """Smoothed with the padding, as the network's maps are, and cut after that."""
    assert maps.plan.smoothing is not None
    smoothed, smoothed_flat = scale(smooth(maps.whole, maps.plan.smoothing))
    flat = maps.whole_flat | smoothed_flat
    cut = cut_to_image(smoothed, flat, maps.truth.group.geometries[0])
    return peak_scores(*cut, maps.truth, maps.seeds, SMOOTHED)


def _compared(results: Results, group: Group, rows: Sequence[Row], repeats: int) -> list[Comparison]:
    """Each row smoothed against itself unsmoothed."""
    plain, smooth_ = (results.hits(group, rows, variant=variant) for variant in (PLAIN, SMOOTHED))
    pairs = [(place, len(rows) + place) for place in range(len(rows))]
    return compare_rows(np.concatenate([smooth_, plain]), repeats=repeats, seed=results.plan.seed, pairs=pairs)


def _tables(results: Results) -> Iterator[Table]:
    columns: list[Column] = [*ROW_COLUMNS]
    parts: list[dict[Row, list[Cell]]] = []
    for group in results.trained:
        rows = results.rows(group)
        plain, smoothed = (
            score_cells(results, results.hits(group, rows, variant=variant), is_outcome=True)
            for variant in (PLAIN, SMOOTHED)
        )
        compared = _compared(results, group, rows, results.plan.repeats)
        tied = (results.scores(group, rows, "tied") > 1).mean(axis=(1, 2))
        parts.append({
            row: [a, b, difference_cell(c, results.n), c.adjusted, float(share)]
            for row, a, b, c, share in zip(rows, plain, smoothed, compared, tied, strict=True)
        })  # fmt: skip
        name = group.architecture
        columns += [
            Column(f"{name}_plain", f"{name}, unsmoothed", "score"),
            Column(f"{name}_smoothed", f"{name}, smoothed", "score"),
            Column(f"{name}_difference", "Difference", "score"),
            Column(f"{name}_p", "p (Holm)", "number"),
            Column(f"{name}_tied", "Tied peaks", "number"),
        ]
    body = [
        [*row_names(row), *(cell for part in parts for cell in part.get(row, [None] * 5))]
        for row in rows_of(results, results.trained)
    ]
    note = (
        f"{conditions(results)} Smoothed by a Gaussian of sigma {results.plan.smoothing:g} px. Tied peaks: share of "
        f"unsmoothed maps whose highest value several pixels share; a seeded draw decides among them."
        f"{flat_maps_note(results, results.trained)}"
    )
    yield Table("smoothing", "Smoothed against unsmoothed maps", columns, body, note=note)


def _findings(results: Results, group: Group) -> Iterator[str]:
    distances = results.scores(group, results.rows(group), "distance")
    rows = [row for row, own in zip(results.rows(group), distances, strict=True) if not np.isinf(own).all()]
    if not rows:
        yield "smoothing has nothing to change, as all maps are flat."
        return
    found = _compared(results, group, rows, 10_000)
    changed = [row for row, each in zip(rows, found, strict=True) if each.differs]
    largest = max(found, key=lambda each: abs(each.difference))
    size = f"the largest change of the Pointing Game is {largest.difference:+.3f} ({row_words(rows[largest.first])})"
    if changed:
        yield f"smoothing changes {', '.join(map(row_words, changed))}; {size}."
    else:
        yield f"smoothing helps no row once ties are drawn fairly; {size}."


EXPERIMENT = Experiment(
    name="smoothing",
    title="Smoothing",
    text="The paper's first experiment, with ties drawn fairly.",
    map_scores=MapScores(
        (key(SMOOTHED, "distance"), key(SMOOTHED, "tied")), _score, wanted=lambda plan: plan.smoothing is not None
    ),
    tables=_tables,
    findings=_findings,
    findings_place=1,
)
