"""The challenge's FROC of map peaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cxrlens.evaluation.froc import CHALLENGE_RATES, froc, froc_interval, images_with_objects, map_peaks
from cxrlens.report.row_titles import row_title
from cxrlens.report.tables import Cell, Column, Score, Table
from cxrlens.saliency.explain import Row
from cxrlens.study.cells import ROW_COLUMNS, fusion_note, row_names
from cxrlens.study.experiments.base import Drawn, Experiment
from cxrlens.study.plots import FrocCurve, froc_figure
from cxrlens.study.records import PLAIN, Arrays, key
from cxrlens.study.results import Group, Results
from cxrlens.study.scores import GroupMaps, MapScores

MOST_POINTS = 20  # candidate points of a map
_POINT_RADIUS = 0.025  # share of the longer side within which only the highest point counts
_REPEATS = 500


def candidate_points(maps: GroupMaps, variant: str) -> Arrays:
    """The candidate points of maps [N, H, W], without a lower limit: a limit would cut combined maps, whose values fall
    off faster, at another depth than those of one layer.

    Returns:
        ``VARIANT|points`` float32 [N, 20, 3]: x and y in pixels of the stored image, and the map's value, highest
        first; NaN behind the last.
    """
    radius = max(1, round(_POINT_RADIUS * max(maps.maps.shape[1:])))
    points = np.full((len(maps.maps), MOST_POINTS, 3), np.nan, dtype=np.float32)
    found = map_peaks(maps.maps, radius=radius, most=MOST_POINTS, floor=0.0)
    for row, peaks, padded in zip(points, found, maps.truth.group.geometries, strict=True):
        geometry = padded.without_padding()
        for place, (peak_row, peak_column, value) in enumerate(peaks):
            row[place] = (*geometry.backward_point(float(peak_column), float(peak_row)), value)
    return {key(variant, "points"): points}


def _score(maps: GroupMaps) -> Arrays:
    return candidate_points(maps, PLAIN)


def froc_cells(results: Results, group: Group, row: Row, places: Sequence[int]) -> tuple[Score, list[float]]:
    """The mean sensitivity of a row over the images at the places, and its sensitivities at the challenge's rates."""
    annotations = [results.annotations[place] for place in places]
    detectors = []
    for subject in group.subjects:
        predictions = results.predictions(subject, row)
        detectors.append([predictions[place] for place in places])
    curves = [froc(predictions, annotations) for predictions in detectors]
    interval = froc_interval(detectors, annotations, repeats=_REPEATS, seed=results.plan.seed)
    mean = float(np.mean([curve.mean for curve in curves]))
    at_rates: list[float] = np.mean([curve.at_rates for curve in curves], axis=0).tolist()
    return Score(mean, interval.low, interval.high, images_with_objects(annotations)), at_rates


def counted_note(results: Results) -> str:
    """A sentence for the notes of tables: which images their n counts."""
    normal = len(results.all_indices) - results.n
    return f"n counts the images with an object; false positives are also counted on {normal} images without one."


def _tables(results: Results, group: Group) -> Iterator[Table]:
    everywhere = list(range(len(results.all_indices)))
    body: list[list[Cell]] = []
    for row in results.rows(group):
        mean, at_rates = froc_cells(results, group, row, everywhere)
        body.append([*row_names(row), mean, *at_rates])
    yield Table(
        f"froc-{group.file_name}",
        f"FROC of map peaks, {group.architecture}",
        (
            *ROW_COLUMNS,
            Column("mean", "Mean sensitivity", "score"),
            *(Column(f"at_{rate:g}", f"at {rate:g}", "number") for rate in CHALLENGE_RATES),
        ),
        body,
        note=f"{fusion_note(results)} "
        "Sensitivity at so many false positives per image, as in the Object-CXR challenge; a point's confidence "
        f"is the map's value times the network's probability of affected. {counted_note(results)}",
    )


def _figures(results: Results) -> Iterator[Drawn]:
    for group in results.trained:
        curves = []
        for row in results.rows(group):
            found = froc(results.predictions(group.subjects[0], row), results.annotations)
            curves.append(
                FrocCurve(row_title(row), found.false_positives.tolist(), found.sensitivity.tolist(), found.mean)
            )
        title = f"FROC of map peaks, {group.architecture}, seed {group.subjects[0].seed}"
        alt = "Sensitivity over false positives per image by method."
        yield Drawn(f"froc-{group.file_name}", title, alt, froc_figure(curves, title=title))


EXPERIMENT = Experiment(
    name="froc",
    title="FROC",
    text="The challenge's score, on images with and without objects.",
    needs=lambda results: results.plan.normal_images,
    map_scores=MapScores((key(PLAIN, "points"),), _score, normal_images=True),
    group_tables=_tables,
    figures=_figures,
)
