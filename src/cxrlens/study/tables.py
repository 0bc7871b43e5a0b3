"""The tables of a study, every cell with n and a 95 % interval, in the paper's layout where it has one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cxrlens.evaluation.bootstrap import Floats, bootstrap_means, row_means
from cxrlens.evaluation.classification import classification_scores
from cxrlens.evaluation.comparison import Comparison, beats_best_baseline, compare_rows
from cxrlens.evaluation.froc import CHALLENGE_RATES, froc, froc_interval
from cxrlens.evaluation.perturbation import PERTURBATIONS
from cxrlens.evaluation.ranking import Ranking, rank_rows
from cxrlens.evaluation.similarity import hit_agreement
from cxrlens.report.tables import Cell, Column, Score, Table
from cxrlens.saliency.explain import Row
from cxrlens.saliency.methods import find_method
from cxrlens.study.published import PUBLISHED
from cxrlens.study.records import key
from cxrlens.study.results import BASELINE_NAMES, Group, Results
from cxrlens.study.stages import cascade_stages, layer_grids
from cxrlens.study.subjects import WEIGHTS_TITLES, Subject
from cxrlens.study.work import (
    FAITHFULNESS,
    PERTURBATION,
    PLAIN,
    RANDOMISATION,
    SMOOTHED,
    TRAINED_PAIRS,
    pairs_of,
    planned_rows,
    tolerance_names,
)

NOT_PUBLISHED = "not published"
_ROW_COLUMNS = (Column("method", "Method"), Column("layers", "Layers"))
_FROC_REPEATS = 500


@dataclass(frozen=True)
class _LocalScore:
    """A localisation score: its heading, its name in the records, and the tolerance of a hit."""

    heading: str
    name: str
    share: float | None = None

    def values(self, results: Results, group: Group, rows: Sequence[Row]) -> Floats:
        if self.name == "hit":
            return results.hits(group, rows, share=self.share)
        return results.scores(group, rows, self.name)

    def baselines(self, results: Results) -> dict[str, Floats]:
        return results.baselines(self.name, self.share)


_LOCAL_SCORES = {
    "pointing_game": _LocalScore("Pointing Game", "hit"),
    "on_object": _LocalScore("Peak on the object", "hit", 0.0),
    "energy": _LocalScore("Energy inside", "energy"),
    "average_precision": _LocalScore("Pixel AUPRC", "average_precision"),
    "iou": _LocalScore("IoU at Otsu's threshold", "iou"),
}


def all_tables(results: Results) -> list[Table]:
    """Every table that the records can fill, in the order of the report."""
    tables = [classification(results), pointing_game(results)]
    if results.plan.smoothing is not None:
        tables.append(smoothing(results))
    if len(results.groups) > len(results.trained):
        tables.append(weights(results))
    if len(results.trained) > 1:
        tables.append(architectures(results))
    for group in results.trained:
        tables += [tolerances(results, group), localisation(results, group)]
        if results.plan.normal_images:
            tables.append(froc_rates(results, group))
        tables += [*subgroups(results, group), detection(results, group), single_layers(results, group)]
        if len(results.rows(group)) > 1:
            tables += [comparisons(results, group), ranking_table(results, group)]
    if results.plan.consistency.images and pairs_of(results.subjects):
        tables.append(consistency(results))
    for group in results.trained:
        if results.plan.randomisation.images:
            tables += [randomisation(results, group, score) for score in ("ssim", "spearman")]
        if results.plan.perturbation.images:
            tables.append(perturbation(results, group))
        if results.plan.faithfulness.images:
            tables.append(faithfulness_table(results, group))
    return [table for table in tables if table.rows]


def classification(results: Results) -> Table:
    """How well each network tells affected images from normal ones."""
    annotated = len(results.data.annotated)
    labels = np.array([int(index < annotated) for index in results.all_indices])
    rows: list[list[Cell]] = []
    for subject in results.subjects:
        found = classification_scores(labels, results.all_probabilities(subject), seed=results.plan.seed)
        auc = Score(found.auc, found.auc_interval.low, found.auc_interval.high, found.n)
        rows.append([subject.architecture, WEIGHTS_TITLES[subject.weights], subject.seed, auc, found.accuracy,
                     found.sensitivity, found.specificity])  # fmt: skip
    return Table(
        "classification",
        "Networks of the study",
        (
            Column("architecture", "Network"),
            Column("weights", "Weights"),
            Column("seed", "Seed"),
            Column("auc", "AUC", "score"),
            Column("accuracy", "Accuracy", "number"),
            Column("sensitivity", "Sensitivity", "number"),
            Column("specificity", "Specificity", "number"),
        ),
        rows,
        note="At a threshold of 0.5.",
    )


def pointing_game(results: Results) -> Table:
    """The paper's main table: all rows on each trained architecture."""
    columns = {group.architecture: _hit_cells(results, group) for group in results.trained}
    rows = _rows_of(results, results.trained)
    body: list[list[Cell]] = [
        [
            *_row_names(row),
            *(cells.get(row) for cells in columns.values()),
            *(PUBLISHED.get((group.architecture, str(row)), NOT_PUBLISHED) for group in results.trained),
        ]
        for row in rows
    ]
    blank: list[Cell] = [NOT_PUBLISHED] * len(results.trained)
    body += [[*line, *blank] for line in _baseline_lines(results, "hit", len(columns))]
    return Table(
        "pointing-game",
        "Pointing Game, trained networks",
        (
            *_ROW_COLUMNS,
            *(Column(group.architecture, group.architecture, "score") for group in results.trained),
            *(
                Column(f"{group.architecture}_published", f"{group.architecture}, published", "number")
                for group in results.trained
            ),
        ),
        body,
        note=f"{_conditions(results)} Published values are for 600 px and 15 px, on Object-CXR's own images.",
    )


def smoothing(results: Results) -> Table:
    """Experiment 1 of the paper: maps as they are against maps under a Gaussian, ties broken at random in both."""
    columns: list[Column] = [*_ROW_COLUMNS]
    parts: list[dict[Row, list[Cell]]] = []
    for group in results.trained:
        rows = results.rows(group)
        plain, smooth = (results.hits(group, rows, variant=variant) for variant in (PLAIN, SMOOTHED))
        together = compare_rows(
            np.concatenate([smooth, plain]),
            repeats=results.plan.repeats,
            seed=results.plan.seed,
            pairs=[(place, len(rows) + place) for place in range(len(rows))],
        )
        cells = zip(
            rows, _scores(results, plain), _scores(results, smooth), together, _tied(results, group, rows), strict=True
        )
        parts.append({row: [a, b, _difference(c, results.n), c.adjusted, tied] for row, a, b, c, tied in cells})
        name = group.architecture
        columns += [
            Column(f"{name}_plain", f"{name}, unsmoothed", "score"),
            Column(f"{name}_smoothed", f"{name}, smoothed", "score"),
            Column(f"{name}_difference", "Difference", "score"),
            Column(f"{name}_p", "p (Holm)", "number"),
            Column(f"{name}_tied", "Tied peaks", "number"),
        ]
    body = [
        [*_row_names(row), *(cell for part in parts for cell in part.get(row, [None] * 5))]
        for row in _rows_of(results, results.trained)
    ]
    note = (
        f"{_conditions(results)} Smoothed by a Gaussian of sigma {results.plan.smoothing:g} px. Tied peaks: share of "
        "unsmoothed maps whose highest value several pixels share; a seeded draw decides among them."
    )
    return Table("smoothing", "Smoothed against unsmoothed maps", columns, body, note=note)


def weights(results: Results) -> Table:
    """Experiment 2 of the paper: do maps of untrained networks find the objects too?"""
    columns = {group.name: _hit_cells(results, group) for group in results.groups}
    body: list[list[Cell]] = [
        [*_row_names(row), *(cells.get(row) for cells in columns.values())] for row in _rows_of(results, results.groups)
    ]
    body += _baseline_lines(results, "hit", len(columns))
    headings = (
        Column(group.name, f"{group.architecture}, {WEIGHTS_TITLES[group.weights]}", "score")
        for group in results.groups
    )
    return Table(
        "weights", "Random against trained weights", (*_ROW_COLUMNS, *headings), body, note=_conditions(results)
    )


def architectures(results: Results) -> Table:
    """Experiment 3 of the paper: the Difference of Means between two architectures."""
    first, second = results.trained[:2]
    rows = [row for row in results.rows(first) if row in set(results.rows(second))]
    one, two = (results.hits(group, rows) for group in (first, second))
    means = [bootstrap_means(values, repeats=results.plan.repeats, seed=results.plan.seed) for values in (one, two)]
    found = [row_means(values) for values in (one, two)]
    body: list[list[Cell]] = []
    # A seed of one architecture has no partner in the other: images alone are resampled for the difference.
    apart = one.mean(axis=1) - two.mean(axis=1)
    lows, highs = bootstrap_means(apart, repeats=results.plan.repeats, seed=results.plan.seed)
    for place, row in enumerate(rows):
        kappas = [hit_agreement(a, b) for a in one[place] for b in two[place]]
        cells = [
            Score(float(means_[place]), float(ends[0][place]), float(ends[1][place]), results.n)
            for means_, ends in zip(found, means, strict=True)
        ]
        difference = float(apart[place].mean())
        body.append([
            *_row_names(row), *cells, abs(difference), Score(difference, float(lows[place]), float(highs[place]),
            results.n), float(np.mean(kappas)),
        ])  # fmt: skip
    return Table(
        "architectures",
        f"{first.architecture} against {second.architecture}",
        (
            *_ROW_COLUMNS,
            Column(first.architecture, first.architecture, "score"),
            Column(second.architecture, second.architecture, "score"),
            Column("dom", "Difference of Means", "number"),
            Column("difference", "Signed difference", "score"),
            Column("kappa", "Agreement of hits (kappa)", "number"),
        ),
        body,
        note=f"{_conditions(results)} A row that is equally bad on both has a small Difference of Means too. "
        f"Published Difference of Means of NormGrad: {PUBLISHED['dom']} on Object-CXR.",
    )


def tolerances(results: Results, group: Group) -> Table:
    """The Pointing Game at several tolerances."""
    rows, names = results.rows(group), tolerance_names(results.plan)
    side = max(group.subjects[0].preprocessing.height, group.subjects[0].preprocessing.width)
    by_share = [_hit_cells(results, group, share=float(name)) for name in names]
    body: list[list[Cell]] = [[*_row_names(row), *(cells[row] for cells in by_share)] for row in rows]
    body += _transposed(_baseline_cells(results, "hit", float(name)) for name in names)
    headings = [
        Column(f"share_{name}", "on the object" if float(name) == 0 else
               f"{100 * float(name):.3g} % ({float(name) * side:.3g} px)", "score")
        for name in names
    ]  # fmt: skip
    return Table(
        f"tolerances-{group.architecture}",
        f"Pointing Game by tolerance, {group.architecture}",
        (*_ROW_COLUMNS, *headings),
        body,
        note=f"Tolerances as a share of the longer side, here {side} px.",
    )


def localisation(results: Results, group: Group) -> Table:
    """Scores of whole maps beside the peak's."""
    rows = results.rows(group)
    scores = {name: score for name, score in _LOCAL_SCORES.items() if name != "pointing_game"}
    columns = [
        _scores(results, score.values(results, group, rows), score.baselines(results)) for score in scores.values()
    ]
    body: list[list[Cell]] = [
        [*_row_names(row), *cells] for row, cells in zip(rows, zip(*columns, strict=True), strict=True)
    ]
    body += _transposed(_value_cells(results, score.baselines(results)) for score in scores.values())
    headings = (Column(name, score.heading, "score") for name, score in scores.items())
    return Table(
        f"localisation-{group.architecture}",
        f"Localisation by whole maps, {group.architecture}",
        (*_ROW_COLUMNS, *headings),
        body,
    )


def froc_rates(results: Results, group: Group) -> Table:
    """The challenge's FROC of map peaks."""
    everywhere = list(range(len(results.all_indices)))
    body: list[list[Cell]] = []
    for row in results.rows(group):
        mean, at_rates = _froc_cells(results, group, row, everywhere)
        body.append([*_row_names(row), mean, *at_rates])
    return Table(
        f"froc-{group.architecture}",
        f"FROC of map peaks, {group.architecture}",
        (
            *_ROW_COLUMNS,
            Column("mean", "Mean sensitivity", "score"),
            *(Column(f"at_{rate:g}", f"at {rate:g}", "number") for rate in CHALLENGE_RATES),
        ),
        body,
        note="Sensitivity at so many false positives per image, as in the Object-CXR challenge; a point's confidence "
        "is the map's value times the network's probability of affected. Published: challenge winner 0.851, its "
        "baseline 0.803, both trained on boxes.",
    )


def subgroups(results: Results, group: Group) -> list[Table]:
    """Every localisation score by size of the objects and kind of shape, a table each."""
    chosen = {**results.size_groups(), **results.shape_groups()}
    chosen = {name: images for name, images in chosen.items() if images.any()}
    note = "Size: thirds of the images by the area of their objects."
    rows = results.rows(group)
    headings = [Column(name, f"{name} (n = {int(images.sum())})", "score") for name, images in chosen.items()]
    tables = []
    for name, score in _LOCAL_SCORES.items():
        values, baselines = score.values(results, group, rows), score.baselines(results)
        columns = [
            _scores(results, values[..., images], {each: line[images] for each, line in baselines.items()})
            for images in chosen.values()
        ]
        body: list[list[Cell]] = [
            [*_row_names(row), *cells] for row, cells in zip(rows, zip(*columns, strict=True), strict=True)
        ]
        body += _transposed(
            _value_cells(results, {each: line[images] for each, line in baselines.items()})
            for images in chosen.values()
        )
        tables.append(Table(
            f"subgroups-{group.architecture}-{name}", f"{score.heading} by object size and shape, {group.architecture}",
            (*_ROW_COLUMNS, *headings), body, note=f"{_conditions(results)} {note}",
        ))  # fmt: skip
    if results.plan.normal_images:
        tables.append(_froc_by_images(results, group, chosen, note))
    return tables


def _froc_by_images(results: Results, group: Group, chosen: dict[str, Floats], note: str) -> Table:
    """The FROC's mean on each group of images with objects, all images without objects beside it."""
    normal = [place for place, index in enumerate(results.all_indices) if index >= len(results.data.annotated)]
    body: list[list[Cell]] = []
    for row in results.rows(group):
        cells = [
            _froc_cells(results, group, row, [*np.flatnonzero(images).tolist(), *normal])[0]
            for images in chosen.values()
        ]
        body.append([*_row_names(row), *cells])
    headings = (
        Column(name, f"{name} (n = {int(images.sum())} and {len(normal)} normal)", "score")
        for name, images in chosen.items()
    )
    return Table(
        f"subgroups-{group.architecture}-froc",
        f"FROC by object size and shape, {group.architecture}",
        (*_ROW_COLUMNS, *headings),
        body,
        note=f"Mean sensitivity over the challenge's rates. {note}",
    )


def detection(results: Results, group: Group) -> Table:
    """The Pointing Game on images that the network calls affected, and on those that it misses."""
    rows = results.rows(group)
    found = results.probability(group) >= 0.5
    hits = results.hits(group, rows)
    parts = {"found": found, "missed": ~found}
    columns = [_scores(results, np.where(chosen, hits, np.nan)) for chosen in parts.values()]
    body: list[list[Cell]] = [
        [*_row_names(row), *cells] for row, cells in zip(rows, zip(*columns, strict=True), strict=True)
    ]
    return Table(
        f"detection-{group.architecture}",
        f"Pointing Game on images found and missed, {group.architecture}",
        (*_ROW_COLUMNS, *(Column(name, f"{name} by the network", "score") for name in parts)),
        body,
        note=f"{_conditions(results)} An image is found when its probability of affected is 0.5 or more; with several "
        "seeds it may be found by one and missed by another.",
    )


def single_layers(results: Results, group: Group) -> Table:
    """The Pointing Game layer by layer: what each of the combined layers gives alone."""
    rows = [planned.row for planned in planned_rows(results.plan, group.architecture) if planned.each]
    grids = layer_grids(group.architecture, group.subjects[0].preprocessing)
    hits = results.hits(group, rows) if rows else np.empty((0, 1, 0))
    cells = _scores(results, hits, results.baselines("hit")) if rows else []
    body: list[list[Cell]] = [
        [find_method(row.method).title, row.layers, f"{grids[row.layers][0]} x {grids[row.layers][1]}", cell]
        for row, cell in zip(rows, cells, strict=True)
    ]
    return Table(
        f"layers-{group.architecture}",
        f"Pointing Game layer by layer, {group.architecture}",
        (*_ROW_COLUMNS, Column("grid", "Grid of the layer"), Column("score", "Pointing Game", "score")),
        body,
        note=_conditions(results),
    )


def comparisons(results: Results, group: Group) -> Table:
    """Every two rows: paired bootstrap, Holm's correction."""
    rows = results.rows(group)
    found = compare_rows(results.hits(group, rows), repeats=10_000, seed=results.plan.seed)
    body: list[list[Cell]] = [
        [str(rows[each.first]), str(rows[each.second]), _difference(each, results.n), each.p_value, each.adjusted]
        for each in found
    ]
    return Table(
        f"comparisons-{group.architecture}",
        f"Differences of the Pointing Game, every two rows, {group.architecture}",
        (
            Column("first", "Row"),
            Column("second", "Against"),
            Column("difference", "Difference", "score"),
            Column("p", "p", "number", 4),
            Column("adjusted", "p (Holm)", "number", 4),
        ),
        body,
        note=f"{_conditions(results)} Paired bootstrap of 10,000 resamples.",
    )


def ranking_of(results: Results, group: Group) -> tuple[list[Row], Ranking]:
    """Rows ranked within each image by the distance from their peak to the nearest object; a flat map is last."""
    rows = results.rows(group)
    distances = results.scores(group, rows, "distance")
    furthest = math.hypot(group.subjects[0].preprocessing.height, group.subjects[0].preprocessing.width)
    return rows, rank_rows(np.minimum(distances, furthest), higher_is_better=False)


def ranking_table(results: Results, group: Group) -> Table:
    rows, ranking = ranking_of(results, group)
    order = np.argsort(ranking.average_ranks, kind="stable")
    body: list[list[Cell]] = [[*_row_names(rows[place]), ranking.average_ranks[place]] for place in order]
    friedman = "" if math.isnan(ranking.p_value) else f"Friedman's p {ranking.p_value:.2g}; "  # it takes three rows
    return Table(
        f"ranking-{group.architecture}",
        f"Average ranks, {group.architecture}",
        (*_ROW_COLUMNS, Column("rank", "Average rank", "number", 2)),
        body,
        note="Ranks within an image by the distance from peak to object. Two rows differ when their ranks are "
        f"{ranking.critical_difference:.2f} apart (Nemenyi, 5 %); {friedman}{ranking.n} images.",
    )


def consistency(results: Results) -> Table:
    """Repeatability over seeds and reproducibility over architectures: similarity of maps, agreement of hits."""
    kinds: dict[str, list[tuple[int, int]]] = {}
    trained = [subject for group in results.trained for subject in group.subjects]
    for pair in pairs_of(results.subjects):
        same = pair[0].architecture == pair[1].architecture
        name = f"seeds of {pair[0].architecture}" if same else f"{pair[0].architecture} and {pair[1].architecture}"
        kinds.setdefault(name, []).append((trained.index(pair[0]), trained.index(pair[1])))
    columns: list[Column] = [*_ROW_COLUMNS]
    body: list[list[Cell]] = [[*_row_names(row)] for row in _rows_of(results, results.trained)]
    for number, (name, pairs) in enumerate(kinds.items()):
        columns += [
            Column(f"ssim_{number}", f"SSIM, {name}", "score"),
            Column(f"kappa_{number}", "Agreement of hits (kappa)", "number"),
        ]
        for line, row in zip(body, _rows_of(results, results.trained), strict=True):
            line += _consistency_cells(results, row, [(trained[a], trained[b]) for a, b in pairs])
    return Table(
        "consistency",
        "Repeatability over seeds, reproducibility over architectures",
        columns,
        body,
        note=f"{_conditions(results)} SSIM: mean structural similarity of the two networks' maps of one image.",
    )


def randomisation(results: Results, group: Group, score: str) -> Table:
    """Cascading randomisation: similarity to the trained network's maps, stage by stage from the head down."""
    arrays = [results.check(RANDOMISATION, s, results.plan.randomisation.images) for s in group.subjects]
    rows = results.rows(group)
    names = cascade_stages(group.architecture)
    body: list[list[Cell]] = []
    for row in rows if all(arrays) else ():
        values = np.array([[a[key(row.method, row.layers, stage, score)] for a in arrays] for stage in names])
        line: list[Cell] = [*_row_names(row), *_scores(results, values)]
        if score == "ssim":
            unrelated = np.array([[a[key(row.method, row.layers, TRAINED_PAIRS, "ssim")] for a in arrays]])
            line += [*_scores(results, unrelated), "passes" if depends_on_weights(values, unrelated) else "fails"]
        body.append(line)
    extra = (Column("unrelated", "Unrelated maps", "score"), Column("verdict", "Criterion")) if score == "ssim" else ()
    return Table(
        f"randomisation-{group.architecture}" + ("" if score == "ssim" else "-ranks"),
        f"Cascading randomisation, {group.architecture}, "
        + ("structural similarity" if score == "ssim" else "rank correlation of pixels"),
        (*_ROW_COLUMNS, *(Column(f"to_{stage}", f"down to {stage}", "score") for stage in names), *extra),
        body,
        note="Criterion of Arun et al. (2021): with all weights drawn anew a map must be less like the trained "
        "network's than maps of unrelated images are like each other."
        if score == "ssim"
        else "",
    )


def depends_on_weights(similarity: Floats, unrelated: Floats) -> bool:
    """Whether a row passes the criterion of Arun et al.: at the last stage its maps are less alike than unrelated ones.

    Args:
        similarity: [stages, seeds, n] to the trained network's maps, in the order of the cascade.
        unrelated: [1, seeds, n] of maps of different images.
    """
    return bool(row_means(similarity[-1:])[0] < row_means(unrelated)[0])


def perturbation(results: Results, group: Group) -> Table:
    """Stability of the maps under small changes of the image."""
    arrays = [results.check(PERTURBATION, s, results.plan.perturbation.images) for s in group.subjects]
    rows = results.rows(group)
    names = list(PERTURBATIONS) if all(arrays) else []
    body: list[list[Cell]] = []
    limit = results.plan.tolerance * max(group.subjects[0].preprocessing.height, group.subjects[0].preprocessing.width)
    for row in rows if names else ():
        values = np.array([[a[key(row.method, row.layers, name, "ssim")] for a in arrays] for name in names])
        moved = np.array([[a[key(row.method, row.layers, name, "peak_distance")] for a in arrays] for name in names])
        stays = np.where(np.isnan(moved), np.nan, moved < limit)
        body.append([*_row_names(row), *_scores(results, values), float(np.mean(row_means(stays)))])
    return Table(
        f"perturbation-{group.architecture}",
        f"Stability under changes of the image, {group.architecture}",
        (
            *_ROW_COLUMNS,
            *(Column(name, name.replace("_", " "), "score") for name in names),
            Column("stays", "Peak stays", "number"),
        ),
        body,
        note="Structural similarity of the maps before and after, brought back to the same pixels. Peak stays: share "
        "of peaks that move less than the tolerance, over all changes.",
    )


def faithfulness_table(results: Results, group: Group) -> Table:
    """Do the named pixels carry the decision?"""
    arrays = [results.check(FAITHFULNESS, s, results.plan.faithfulness.images) for s in group.subjects]
    rows = results.rows(group) if all(arrays) else []
    scores = {
        "insertion": "Insertion (high is good)",
        "deletion": "Deletion (low is good)",
        "drop": "Average drop (low is good)",
        "increase": "Increase (high is good)",
    }
    body: list[list[Cell]] = []
    for row in rows:
        values = np.array([[a[key(row.method, row.layers, name)] for a in arrays] for name in scores])
        body.append([*_row_names(row), *_scores(results, values)])
    return Table(
        f"faithfulness-{group.architecture}",
        f"Faithfulness, {group.architecture}",
        (*_ROW_COLUMNS, *(Column(name, heading, "score") for name, heading in scores.items())),
        body,
        note=f"{results.plan.faithfulness.steps} steps; removed pixels are replaced by a blurred picture.",
    )


def _froc_cells(results: Results, group: Group, row: Row, places: Sequence[int]) -> tuple[Score, list[float]]:
    """The mean sensitivity of a row over the images at the places, and its sensitivities at the challenge's rates."""
    annotations = [results.annotations[place] for place in places]
    detectors = []
    for subject in group.subjects:
        predictions = results.predictions(subject, row)
        detectors.append([predictions[place] for place in places])
    curves = [froc(predictions, annotations) for predictions in detectors]
    interval = froc_interval(detectors, annotations, repeats=_FROC_REPEATS, seed=results.plan.seed)
    mean = float(np.mean([curve.mean for curve in curves]))
    at_rates: list[float] = np.mean([curve.at_rates for curve in curves], axis=0).tolist()
    return Score(mean, interval.low, interval.high, len(annotations)), at_rates


def _consistency_cells(results: Results, row: Row, pairs: Sequence[tuple[Subject, Subject]]) -> list[Cell]:
    similarities, kappas = [], []
    for first, second in pairs:
        found = results.pair((first, second)).get(key(row.method, row.layers, "ssim"))
        if found is not None:
            similarities.append(found)
        groups = [next(g for g in results.trained if subject in g.subjects) for subject in (first, second)]
        if all(row in results.rows(group) for group in groups):
            hits = [
                results.hits(group, [row])[0, group.subjects.index(subject)]
                for group, subject in zip(groups, (first, second), strict=True)
            ]
            kappas.append(hit_agreement(*hits))
    if not similarities:
        return [None, float(np.mean(kappas)) if kappas else None]
    values = np.mean(similarities, axis=0)[None]  # of an image over pairs, which share networks
    (cell,) = _scores(results, values)
    return [cell, float(np.mean(kappas))]


def _hit_cells(results: Results, group: Group, *, share: float | None = None) -> dict[Row, Score]:
    rows = results.rows(group)
    hits = results.hits(group, rows, share=share)
    return dict(zip(rows, _scores(results, hits, results.baselines("hit", share)), strict=True))


def _scores(results: Results, values: Floats, baselines: dict[str, Floats] | None = None) -> list[Score]:
    """A cell for each row of values [rows, n] or [rows, seeds, n]; marked where it does not beat the best baseline."""
    lows, highs = bootstrap_means(values, repeats=results.plan.repeats, seed=results.plan.seed)
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


def _value_cells(results: Results, values: dict[str, Floats]) -> dict[str, Score]:
    if not values:
        return {}
    return dict(zip(values, _scores(results, np.stack(list(values.values()))), strict=True))


def _baseline_cells(results: Results, score: str, share: float | None = None) -> dict[str, Score]:
    return _value_cells(results, results.baselines(score, share))


def _baseline_lines(results: Results, score: str, columns: int) -> list[list[Cell]]:
    """The baselines know no network: the same cell in each column."""
    return [[_title(name), "", *[cell] * columns] for name, cell in _baseline_cells(results, score).items()]


def _transposed(columns: Iterable[dict[str, Score]]) -> list[list[Cell]]:
    """A line for each baseline from one dictionary a column."""
    found = list(columns)
    present = [name for name in BASELINE_NAMES if any(name in column for column in found)]
    return [[_title(name), "", *(column.get(name) for column in found)] for name in present]


def _rows_of(results: Results, groups: Sequence[Group]) -> list[Row]:
    return list(dict.fromkeys(row for group in groups for row in results.rows(group)))


def _row_names(row: Row) -> tuple[str, str]:
    return find_method(row.method).title, row.layers


def _title(baseline: str) -> str:
    return f"Baseline: {baseline.replace('_', ' ')}"


def _tied(results: Results, group: Group, rows: Sequence[Row]) -> list[float]:
    return [float(share) for share in (results.scores(group, rows, "tied") > 1).mean(axis=(1, 2))]


def _difference(comparison: Comparison, n: int) -> Score:
    return Score(comparison.difference, comparison.interval.low, comparison.interval.high, n)


def _conditions(results: Results) -> str:
    plan = results.plan
    preprocessing = results.subjects[0].preprocessing
    side = max(preprocessing.height, preprocessing.width)
    letterboxed = ", pictures letterboxed" if preprocessing.resize == "letterbox" else ""
    return (
        f"Tolerance {100 * plan.tolerance:.3g} % of the side ({plan.tolerance * side:.3g} px of {side} px"
        f"{letterboxed}), target "
        f"{plan.target}, combination {plan.combination}."
    )
