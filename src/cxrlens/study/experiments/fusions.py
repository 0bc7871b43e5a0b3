"""Rows under several fusions, from the same passes: what hangs on where cells lie and how maps are joined?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from cxrlens.evaluation.bootstrap import Floats, row_means
from cxrlens.evaluation.comparison import Comparison, compare_rows, compare_statistics
from cxrlens.evaluation.froc import froc, froc_draws, froc_draws_interval, images_with_objects
from cxrlens.evaluation.localisation import energy_inside
from cxrlens.report.row_titles import row_title
from cxrlens.report.tables import Cell, Column, Score, Table
from cxrlens.saliency.explain import Row
from cxrlens.saliency.fusion import Fusion
from cxrlens.saliency.methods import find_method
from cxrlens.saliency.resizing import DEFAULT_RESIZE, PUBLISHED_RESIZE
from cxrlens.study.cells import (
    ROW_COLUMNS,
    difference_cell,
    intervals,
    row_names,
    row_words,
    score_cells,
)
from cxrlens.study.experiments.base import Drawn, Experiment
from cxrlens.study.experiments.froc import candidate_points, counted_note
from cxrlens.study.experiments.pointing_game import peak_scores
from cxrlens.study.fusions import FLIP
from cxrlens.study.plan import StudyPlan
from cxrlens.study.plots import Bars, grouped_bar_figure
from cxrlens.study.records import Arrays, key
from cxrlens.study.results import Group, Results
from cxrlens.study.scores import GroupMaps, VariantScores

_REPEATS = 10_000  # so that a difference can stand beside many others
_FROC_REPEATS = 2_000  # at least; see _froc_repeats
_BARS = 6  # of a figure: more could not be told apart


def _score(maps: GroupMaps, variant: str) -> Arrays:
    """Place of the peak, share of the map on the objects, and the candidate points of the FROC."""
    arrays = {
        **peak_scores(maps.maps, maps.flat, maps.truth, maps.seeds, variant),
        key(variant, "energy"): energy_inside(maps.maps, maps.truth.objects).cpu().numpy(),
    }
    if maps.plan.normal_images:
        arrays |= candidate_points(maps, variant)
    return arrays


def _arrays(plan: StudyPlan) -> tuple[str, ...]:
    return ("distance", "tied", "energy", *(("points",) if plan.normal_images else ()))


@dataclass(frozen=True)
class _Compared:
    """A score of every row under every fusion, and its differences to the first.

    Attributes:
        cells: by fusion, then by row.
        comparisons: by (fusion, row); none where the fusion cannot change the row.
    """

    cells: dict[str, list[Score]]
    comparisons: dict[tuple[str, int], Comparison]


def _names(results: Results) -> list[str]:
    """Of the compared fusions, the one that the others are compared with first."""
    return list(results.plan.compared_fusions)


def _pairs(results: Results, rows: Sequence[Row]) -> dict[tuple[str, int], tuple[int, int]]:
    """By (fusion, row), the places of both among all rows under all fusions, and of the row under the first."""
    (_, reference), *others = results.plan.compared_fusions.items()
    return {
        (name, place): (number * len(rows) + place, place)
        for number, (name, fusion) in enumerate(others, 1)
        for place, row in enumerate(rows)
        if _effect(fusion, row) != _effect(reference, row)
    }


def _effect(fusion: Fusion, row: Row) -> tuple[object, ...]:
    """What of a fusion can change a row: only layers are resized, only several of them are combined."""
    has_layers = find_method(row.method).has_layers
    resize = fusion.resize if has_layers else None
    combination = fusion.combination if has_layers and row.layers == "combined" else None
    return resize, combination, fusion.smooth, fusion.flip


def _by_image(results: Results, rows: Sequence[Row], values: Mapping[str, Floats], *, is_outcome: bool) -> _Compared:
    """Of a score of every image, [rows, seeds, n] by resize."""
    pairs = _pairs(results, rows)
    found = compare_rows(
        np.concatenate([values[name] for name in _names(results)]),
        repeats=_REPEATS,
        seed=results.plan.seed,
        pairs=list(pairs.values()),
    )
    cells = {name: score_cells(results, values[name], is_outcome=is_outcome) for name in _names(results)}
    return _Compared(cells, dict(zip(pairs, found, strict=True)))


def _hits(results: Results, group: Group, rows: Sequence[Row], share: float | None = None) -> dict[str, Floats]:
    return {name: results.hits(group, rows, share=share, variant=name) for name in _names(results)}


def _froc(results: Results, group: Group, rows: Sequence[Row]) -> _Compared:
    """Of the FROC, which is no mean over images: the same resamples for all."""
    pairs = _pairs(results, rows)
    repeats = _froc_repeats(len(pairs))
    annotations = results.annotations
    means: list[float] = []
    draws: list[Floats] = []
    for name in _names(results):
        for row in rows:
            detectors = [results.predictions(subject, row, variant=name) for subject in group.subjects]
            means.append(float(np.mean([froc(each, annotations).mean for each in detectors])))
            draws.append(froc_draws(detectors, annotations, repeats=repeats, seed=results.plan.seed))
    found = compare_statistics(np.array(means), np.stack(draws, axis=1), pairs=list(pairs.values()), n=results.n)
    scores = []
    for mean, own in zip(means, draws, strict=True):
        interval = froc_draws_interval(own, annotations)
        scores.append(Score(mean, interval.low, interval.high, images_with_objects(annotations)))
    cells = {name: scores[number * len(rows) :][: len(rows)] for number, name in enumerate(_names(results))}
    return _Compared(cells, dict(zip(pairs, found, strict=True)))


def _froc_repeats(pairs: int) -> int:
    """So many that the smallest p is below 0.05 after Holm's correction over the pairs, with room to spare."""
    return max(_FROC_REPEATS, 40 * pairs)


def _tables(results: Results, group: Group) -> Iterator[Table]:
    rows = results.rows(group)
    energy = {name: results.scores(group, rows, "energy", variant=name) for name in _names(results)}
    side = 100 * results.plan.tolerance
    yield _table(
        results, group, rows, "pointing_game", f"Pointing Game at {side:.3g} % of the side",
        _by_image(results, rows, _hits(results, group, rows), is_outcome=True),
    )  # fmt: skip
    yield _table(
        results, group, rows, "on_object", "Peak on the object",
        _by_image(results, rows, _hits(results, group, rows, 0.0), is_outcome=True),
    )  # fmt: skip
    if results.plan.normal_images:
        compared = _froc(results, group, rows)
        yield _table(results, group, rows, "froc", "FROC, mean sensitivity", compared, note=f" {counted_note(results)}")
    yield _table(
        results, group, rows, "energy", "Energy inside", _by_image(results, rows, energy, is_outcome=False)
    )  # fmt: skip


def _table(
    results: Results,
    group: Group,
    rows: Sequence[Row],
    name: str,
    heading: str,
    compared: _Compared,
    note: str = "",
) -> Table:
    """A line for each row: the score under the first fusion, then under each other with the difference."""
    reference, *others = _names(results)
    columns: list[Column] = [*ROW_COLUMNS, Column(_key(reference), reference, "score")]
    for fusion in others:
        id_ = _key(fusion)
        columns += [
            Column(id_, fusion, "score"),
            Column(f"{id_}_difference", "Difference", "score"),
            Column(f"{id_}_p", "p (Holm)", "number", 4),
        ]
    body: list[list[Cell]] = []
    for place, row in enumerate(rows):
        line: list[Cell] = [*row_names(row), compared.cells[reference][place]]
        for fusion in others:
            found = compared.comparisons.get((fusion, place))
            differs = [None, None] if found is None else [difference_cell(found, results.n), found.adjusted]
            line += [compared.cells[fusion][place], *differs]
        body.append(line)
    return Table(
        f"fusions-{group.file_name}-{name}",
        f"{heading} by resize and fusion, {group.architecture}",
        columns,
        body,
        note=f"The maps of each row come from the same passes. Differences to {_reference(results)}, on the same "
        f"images; Holm's correction over all of the table; none where a fusion cannot change a row. "
        f"Target {results.plan.target}, combination {results.plan.combination} where none is named."
        f"{_flip_note(results)}{_flat_note(results, group, rows)}{note}",
    )


def _key(fusion: str) -> str:
    return fusion.replace(" ", "_").replace("=", "_")


def _reference(results: Results) -> str:
    """The first fusion in words."""
    name = _names(results)[0]
    return f"'{name}', the published resize" if name == str(PUBLISHED_RESIZE) else f"'{name}'"


def _flip_note(results: Results) -> str:
    flips = any(fusion.flip for fusion in results.plan.compared_fusions.values())
    return f" {FLIP.capitalize()}: averaged with the map of the mirrored image." if flips else ""


def _flat_note(results: Results, group: Group, rows: Sequence[Row]) -> str:
    """A sentence on the flat maps under all fusions; "" where none is."""
    flat = np.concatenate([np.isinf(results.scores(group, rows, "distance", variant=name)) for name in _names(results)])
    return f" A flat map points nowhere, which is a miss: {int(flat.sum())} of {flat.size} maps." if flat.any() else ""


def _figures(results: Results) -> Iterator[Drawn]:
    for group in results.trained:
        rows = results.rows(group)
        score = f"Pointing Game at {100 * results.plan.tolerance:.3g} % of the side"
        for name, share, heading in (("pointing_game", None, score), ("on_object", 0.0, "peak on the object")):
            first, *others = [
                Bars(fusion, row_means(hits).tolist(), *_lists(intervals(results, hits, is_outcome=True)))
                for fusion, hits in _hits(results, group, rows, share).items()
            ]
            parts = [others[start : start + _BARS - 1] for start in range(0, len(others), _BARS - 1)]
            for number, part in enumerate(parts, 1):
                ending = f"-{number}" if len(parts) > 1 else ""
                title = f"{heading[0].upper()}{heading[1:]} by resize and fusion, {group.architecture}"
                figure = grouped_bar_figure(
                    [row_title(row) for row in rows], [first, *part], title=title,
                    score_name=f"{heading}, n = {results.n}",
                )  # fmt: skip
                alt = "Bars of each row, one a fusion; the table gives the numbers."
                yield Drawn(f"fusions-{group.file_name}-{name}{ending}", title, alt, figure)


def _lists(ends: tuple[Floats, Floats]) -> tuple[list[float], list[float]]:
    return ends[0].tolist(), ends[1].tolist()


def _findings(results: Results, group: Group) -> Iterator[str]:
    """What the default resize, else the last of the compared, changes, and whether the rows keep their order."""
    names = _names(results)
    if not names:
        return
    reference, *others = names
    chosen = str(DEFAULT_RESIZE) if str(DEFAULT_RESIZE) in others else others[-1]
    rows = results.rows(group)
    pairs = _pairs(results, rows)
    orders = {}
    for name, share in (("Pointing Game", None), ("share of peaks on the object", 0.0)):
        hits = _hits(results, group, rows, share)
        compared = _by_image(results, rows, hits, is_outcome=True).comparisons
        changes = [(row, compared[chosen, place]) for place, row in enumerate(rows) if (chosen, place) in pairs]
        yield _changes(name, f"by '{chosen}' in place of {_reference(results)}", changes)
        orders[name] = row_means(hits[reference]), row_means(hits[chosen])
    if len(rows) > 1:
        yield _order(rows, (reference, chosen), orders)


def _changes(name: str, fusions: str, found: Sequence[tuple[Row, Comparison]]) -> str:
    """Of the rows that the fusion can change."""
    start = f"made full-size {fusions}, the {name}"
    if not found:
        return f"{start} stays as it is, as no row can change."
    rises = [_with_difference(row, each) for row, each in found if each.differs and each.difference > 0]
    falls = [_with_difference(row, each) for row, each in found if each.differs and each.difference < 0]
    alike = len(found) - len(rises) - len(falls)
    said = [f"{verb} for {', '.join(rows)}" for verb, rows in (("rises", rises), ("falls", falls)) if rows]
    if alike:
        said.append(f"cannot be told apart for {alike} {'other ' if said else ''}{'row' if alike == 1 else 'rows'}")
    return f"{start} {'; '.join(said)}."


def _with_difference(row: Row, found: Comparison) -> str:
    return f"{row_words(row)} ({found.difference:+.3f})"


def _order(rows: Sequence[Row], fusions: tuple[str, str], orders: Mapping[str, tuple[Floats, Floats]]) -> str:
    """Kendall's tau of the rows' means under two fusions, for each score."""
    said = []
    for name, (before, after) in orders.items():
        tau = float(kendalltau(before, after).statistic)  # tau-b, which takes ties
        best, then = (row_words(rows[int(np.argmax(means))]) for means in (before, after))
        kept = f"{then} stays best" if best == then else f"{then} is best in place of {best}"
        if math.isnan(tau):
            said.append(f"by the {name} there is none, as all are alike under one of them")
        elif tau == 1:
            said.append(f"by the {name} it stays the same")
        else:
            said.append(f"by the {name} it agrees to a Kendall's tau of {tau:.2f}, and {kept}")
    return f"the order of the {len(rows)} rows under {' and '.join(fusions)}: {'; '.join(said)}."


EXPERIMENT = Experiment(
    name="fusions",
    title="Resize and fusion",
    text="What of the scores, and of the rows' order, hangs on where a layer's cells are put and how maps are joined?",
    variant_scores=VariantScores(lambda plan: plan.compared_fusions, _arrays, _score),
    group_tables=_tables,
    figures=_figures,
    findings=_findings,
    findings_place=2,
)
