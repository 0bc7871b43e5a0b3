"""Cells, lines and names that several experiments' tables and figures share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from cxrlens.evaluation.bootstrap import Floats, bootstrap_means, row_means
from cxrlens.evaluation.comparison import Comparison, beats_best_baseline
from cxrlens.evaluation.proportions import proportion_intervals
from cxrlens.report.tables import Cell, Column, Score
from cxrlens.saliency.explain import Row
from cxrlens.saliency.methods import find_method
from cxrlens.study.plan import StudyPlan
from cxrlens.study.results import BASELINE_NAMES, Group, Results

ROW_COLUMNS = (Column("method", "Method"), Column("layers", "Layers"))


def row_names(row: Row) -> tuple[str, str]:
    """The cells of `ROW_COLUMNS`."""
    return find_method(row.method).title, row.layers


def rows_of(results: Results, groups: Sequence[Group]) -> list[Row]:
    """The rows of all groups, each once."""
    return list(dict.fromkeys(row for group in groups for row in results.rows(group)))


def intervals(results: Results, values: Floats, *, is_outcome: bool) -> tuple[Floats, Floats]:
    """The lows and highs of the row means of values [rows, n] or [rows, seeds, n].

    Args:
        is_outcome: values are hits or misses, so that their means are proportions.
    """
    of_means = proportion_intervals if is_outcome else bootstrap_means
    return of_means(values, repeats=results.plan.repeats, seed=results.plan.seed)


def score_cells(
    results: Results, values: Floats, baselines: Mapping[str, Floats] | None = None, *, is_outcome: bool = False
) -> list[Score]:
    """A cell for each row of values, as in `intervals`; marked where it does not beat the best baseline."""
    lows, highs = intervals(results, values, is_outcome=is_outcome)
    marked = [False] * len(values)
    if baselines:
        table = np.stack(list(baselines.values()))
        found = beats_best_baseline(values, table, repeats=results.plan.repeats, seed=results.plan.seed)
        marked = [not each.beats for each in found]
    by_image = values if values.ndim == 2 else values.transpose(0, 2, 1)
    counts = (~np.isnan(by_image)).any(axis=-1).sum(axis=-1) if values.ndim == 3 else (~np.isnan(values)).sum(axis=-1)
    return [
        Score(float(mean), float(low), float(high), int(n), mark)
        for mean, low, high, n, mark in zip(row_means(values), lows, highs, counts, marked, strict=True)
    ]


def hit_cells(results: Results, group: Group, *, share: float | None = None) -> dict[Row, Score]:
    """The Pointing Game of each row of a group."""
    rows = results.rows(group)
    hits = results.hits(group, rows, share=share)
    return dict(zip(rows, score_cells(results, hits, results.baselines("hit", share), is_outcome=True), strict=True))


def difference_cell(comparison: Comparison, n: int) -> Score:
    return Score(comparison.difference, comparison.interval.low, comparison.interval.high, n)


def row_lines(rows: Sequence[Row], columns: Iterable[Sequence[Cell]]) -> list[list[Cell]]:
    """A line for each row from one sequence of cells a column."""
    return [[*row_names(row), *cells] for row, cells in zip(rows, zip(*columns, strict=True), strict=True)]


def baseline_cells(results: Results, values: Mapping[str, Floats], *, is_outcome: bool) -> dict[str, Score]:
    """A cell for each baseline, of values [n]; the random one's are expected values and no outcomes."""
    cells = {}
    for name, line in values.items():
        (cells[name],) = score_cells(results, line[None], is_outcome=is_outcome and name != "random")
    return cells


def repeated_baseline_lines(results: Results, columns: int) -> list[list[Cell]]:
    """The Pointing Game of the baselines, which know no network: the same cell in each column."""
    cells = baseline_cells(results, results.baselines("hit"), is_outcome=True)
    return [[_baseline_title(name), "", *[cell] * columns] for name, cell in cells.items()]


def baseline_lines(columns: Iterable[Mapping[str, Score]]) -> list[list[Cell]]:
    """A line for each baseline from one mapping of baselines to cells a column."""
    found = list(columns)
    present = [name for name in BASELINE_NAMES if any(name in column for column in found)]
    return [[_baseline_title(name), "", *(column.get(name) for column in found)] for name in present]


def baseline_levels(results: Results) -> dict[str, float]:
    """The mean Pointing Game of each baseline, for lines in a figure."""
    return {name.replace("_", " "): float(np.mean(values)) for name, values in results.baselines("hit").items()}


def conditions(results: Results) -> str:
    """A sentence for the notes of tables: tolerance, target, combination, resize and flip."""
    plan = results.plan
    preprocessing = results.subjects[0].preprocessing
    side = max(preprocessing.height, preprocessing.width)
    letterboxed = ", pictures letterboxed" if preprocessing.resize == "letterbox" else ""
    return (
        f"Tolerance {100 * plan.tolerance:.3g} % of the side ({plan.tolerance * side:.3g} px of {side} px"
        f"{letterboxed}), target "
        f"{plan.target}, combination {plan.combination}, {fusion_words(plan)}."
    )


def fusion_note(results: Results) -> str:
    """A sentence for the notes of tables whose numbers know no tolerance: the way in which maps became full-size."""
    return f"Maps: combination {results.plan.combination}, {fusion_words(results.plan)}."


def fusion_words(plan: StudyPlan) -> str:
    """Resize, flip and precision of the plan: "resize centres bicubic"."""
    mirrored = ", averaged with the mirrored image's map" if plan.flip else ""
    lower = "" if plan.precision == "f32" else f", networks in {plan.precision}"
    return f"resize {plan.fusion.resize}{mirrored}{lower}"


def flat_note(values: Floats) -> str:
    """A sentence on the comparisons that were not made (NaN) because a map is flat; "" where all were made."""
    left_out = int(np.isnan(values).sum())
    if not left_out:
        return ""
    return f" A flat map shows nothing and is not compared: {left_out} of {values.size} comparisons are left out."


def flat_maps_note(results: Results, groups: Sequence[Group]) -> str:
    """A sentence on the maps of the groups' rows that are flat; "" where none is."""
    flat = [np.isinf(results.scores(group, results.rows(group), "distance")) for group in groups]
    count, total = sum(int(each.sum()) for each in flat), sum(each.size for each in flat)
    return f" A flat map points nowhere, which is a miss: {count} of {total} maps." if count else ""


def row_words(row: Row) -> str:
    """A row's name in a sentence: "NormGrad scaling combined"."""
    return f"{find_method(row.method).title} {row.layers}"


def _baseline_title(name: str) -> str:
    return f"Baseline: {name.replace('_', ' ')}"
