"""Differences between rows: every two of them, and NormGrad against what it has to beat."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cxrlens.evaluation.bootstrap import Floats, row_means
from cxrlens.evaluation.comparison import Comparison, beats_best_baseline, compare_rows
from cxrlens.report.tables import Cell, Column, Table
from cxrlens.saliency.explain import Row
from cxrlens.study.cells import conditions, difference_cell, flat_maps_note, row_words
from cxrlens.study.experiments.base import Experiment
from cxrlens.study.results import Group, Results

_NORMGRAD = "normgrad"
_GRAD_CAM = Row("grad_cam", "last")


def _tables(results: Results, group: Group) -> Iterator[Table]:
    """Paired bootstrap, Holm's correction."""
    rows = results.rows(group)
    if len(rows) < 2:
        return
    found = compare_rows(results.hits(group, rows), repeats=10_000, seed=results.plan.seed)
    body: list[list[Cell]] = [
        [str(rows[each.first]), str(rows[each.second]), difference_cell(each, results.n), each.p_value, each.adjusted]
        for each in found
    ]
    yield Table(
        f"comparisons-{group.file_name}",
        f"Differences of the Pointing Game, every two rows, {group.architecture}",
        (
            Column("first", "Row"),
            Column("second", "Against"),
            Column("difference", "Difference", "score"),
            Column("p", "p", "number", 4),
            Column("adjusted", "p (Holm)", "number", 4),
        ),
        body,
        note=f"{conditions(results)} Paired bootstrap of 10,000 resamples.{flat_maps_note(results, [group])}",
    )


def _findings(results: Results, group: Group) -> Iterator[str]:
    """The best row of NormGrad against Grad-CAM, other methods on the same layers, and the baselines."""
    rows = results.rows(group)
    hits = results.hits(group, rows)
    means = row_means(hits)
    flat = np.isinf(results.scores(group, rows, "distance")).reshape(len(rows), -1)
    shown = [place for place, own in enumerate(flat) if not own.all()]  # of a row with flat maps alone nothing is said
    normgrads = [place for place in shown if rows[place].method.startswith(_NORMGRAD)]
    if not normgrads:
        return
    champion = max(normgrads, key=lambda place: means[place])
    for other in shown:
        row = rows[other]
        if row == _GRAD_CAM or _same_layers(row, rows[champion]):
            yield _against(results, hits, rows, champion, other)
    baselines = results.baselines("hit")
    (found,) = beats_best_baseline(hits[[champion]], np.stack(list(baselines.values())), seed=results.plan.seed)
    label = list(baselines)[found.baseline].replace("_", " ")
    verdict = "beats" if found.beats else "does not beat"
    yield (
        f"{row_words(rows[champion])} {verdict} the best baseline ({label}): difference "
        f"{found.difference:+.3f} ({found.interval.low:+.2f} to {found.interval.high:+.2f})."
    )


def _same_layers(row: Row, champion: Row) -> bool:
    """Rows that combine the same layers by another method: what is left when the combination is alike."""
    return row.layers == champion.layers and row.layers != "last" and not row.method.startswith(_NORMGRAD)


def _against(results: Results, hits: Floats, rows: list[Row], first: int, second: int) -> str:
    (found,) = compare_rows(hits, seed=results.plan.seed, pairs=[(first, second)])
    return (
        f"{row_words(rows[first])} against {row_words(rows[second])}: {_verdict(found)}, difference "
        f"{found.difference:+.3f} ({found.interval.low:+.2f} to {found.interval.high:+.2f}), p = {found.p_value:.4f}."
    )


def _verdict(found: Comparison) -> str:
    if found.p_value >= 0.05:
        return "cannot be told apart"
    return "better" if found.difference > 0 else "worse"


EXPERIMENT = Experiment(
    name="comparisons",
    title="Every two rows",
    text="Paired differences, corrected for their number.",
    group_tables=_tables,
    findings=_findings,
)
