"""Repeatability over seeds and reproducibility over architectures: similarity of maps, agreement of hits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from cxrlens.evaluation.bootstrap import row_means
from cxrlens.evaluation.similarity import hit_agreement, map_likeness
from cxrlens.report.tables import Cell, Column, Table
from cxrlens.saliency.explain import Row
from cxrlens.study.cells import ROW_COLUMNS, conditions, flat_note, row_names, rows_of, score_cells
from cxrlens.study.experiments.base import Drawn, Experiment
from cxrlens.study.plots import heat_map_figure
from cxrlens.study.records import PAIRS, Arrays, key
from cxrlens.study.results import Results
from cxrlens.study.scores import PairScores
from cxrlens.study.subjects import Subject, pairs_of


def _score(first: Tensor, second: Tensor) -> Arrays:
    return {"ssim": map_likeness(first, second).cpu().numpy()}


SCORES = PairScores(PAIRS, lambda plan: plan.consistency.images, ("ssim",), _score)


def _tables(results: Results) -> Iterator[Table]:
    kinds: dict[str, list[tuple[Subject, Subject]]] = {}
    for pair in pairs_of(results.subjects):
        same = pair[0].architecture == pair[1].architecture
        name = f"seeds of {pair[0].architecture}" if same else f"{pair[0].architecture} and {pair[1].architecture}"
        kinds.setdefault(name, []).append(pair)
    compared = [found for pair in pairs_of(results.subjects) for found in results.of_pair(SCORES, pair).values()]
    columns: list[Column] = [*ROW_COLUMNS]
    rows = rows_of(results, results.trained)
    body: list[list[Cell]] = [[*row_names(row)] for row in rows]
    for number, (name, pairs) in enumerate(kinds.items()):
        columns += [
            Column(f"ssim_{number}", f"SSIM, {name}", "score"),
            Column(f"kappa_{number}", "Agreement of hits (kappa)", "number"),
        ]
        for line, row in zip(body, rows, strict=True):
            line += _cells(results, row, pairs)
    yield Table(
        "consistency",
        "Repeatability over seeds, reproducibility over architectures",
        columns,
        body,
        note=f"{conditions(results)} SSIM: mean structural similarity of the two networks' maps of one image."
        f"{flat_note(np.concatenate(compared) if compared else np.empty(0))}",
    )


def _cells(results: Results, row: Row, pairs: Sequence[tuple[Subject, Subject]]) -> list[Cell]:
    similarities, kappas = [], []
    for pair in pairs:
        found = results.of_pair(SCORES, pair).get(key(row.method, row.layers, "ssim"))
        if found is not None:
            similarities.append(found)
        groups = [next(group for group in results.trained if subject in group.subjects) for subject in pair]
        if all(row in results.rows(group) for group in groups):
            hits = [
                np.where(np.isinf(distances), np.nan, hits)[0, group.subjects.index(subject)]
                for group, subject, hits, distances in (
                    (group, subject, results.hits(group, [row]), results.scores(group, [row], "distance"))
                    for group, subject in zip(groups, pair, strict=True)
                )
            ]
            kappas.append(hit_agreement(*hits))  # NaN, of images on which a map is flat, are left out
    if not similarities:
        return [None, float(row_means(np.array([kappas]))[0]) if kappas else None]
    values = row_means(np.array(similarities).T)[None]  # of an image over pairs, which share networks
    (cell,) = score_cells(results, values)
    return [cell, float(row_means(np.array([kappas]))[0])]


def _figures(results: Results) -> Iterator[Drawn]:
    """Mean similarity of every two trained networks, over the rows that both have."""
    trained = [subject for group in results.trained for subject in group.subjects]
    matrix = np.full((len(trained), len(trained)), np.nan)
    np.fill_diagonal(matrix, 1.0)
    for first, second in pairs_of(results.subjects):
        found = list(results.of_pair(SCORES, (first, second)).values())
        values = row_means(np.array(found)) if found else np.empty(0)
        values = values[~np.isnan(values)]
        a, b = trained.index(first), trained.index(second)
        matrix[a, b] = matrix[b, a] = float(np.mean(values)) if values.size else np.nan
    title = "Similarity of maps between networks, mean over all rows"
    figure = heat_map_figure([subject.title for subject in trained], matrix, title=title, value_name="SSIM")
    yield Drawn("consistency", title, "Mean SSIM of the maps of every two networks.", figure)


EXPERIMENT = Experiment(
    name="consistency",
    title="Repeatability and reproducibility",
    text="Do two trainings, or two architectures, give one map?",
    pair_scores=SCORES,
    tables=_tables,
    figures=_figures,
)
