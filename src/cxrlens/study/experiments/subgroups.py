"""Every localisation score by size of the objects and kind of their shape, a table each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from cxrlens.evaluation.subgroups import size_terciles
from cxrlens.report.tables import Cell, Column, Table
from cxrlens.study.cells import ROW_COLUMNS, baseline_lines, conditions, fusion_note, row_lines, row_names
from cxrlens.study.experiments.base import Experiment
from cxrlens.study.experiments.froc import counted_note, froc_cells
from cxrlens.study.experiments.localisation import WHOLE_MAP_SCORES, LocalScore
from cxrlens.study.results import Group, Results

_SCORES = {"pointing_game": LocalScore("Pointing Game", "hit"), **WHOLE_MAP_SCORES}
_NOTE = "Size: thirds of the images by the area of their objects."


def size_groups(results: Results) -> dict[str, npt.NDArray[np.bool_]]:
    """Per third of object area, True for its images [n]."""
    sizes = size_terciles(results.facts("area"))
    return {name: sizes == name for name in ("small", "medium", "large")}


def shape_groups(results: Results) -> dict[str, npt.NDArray[np.bool_]]:
    """Per kind of annotated shape, True for its images [n]."""
    kinds = results.facts("shape")
    return {str(name): kinds == name for name in np.unique(kinds)}


def _tables(results: Results, group: Group) -> Iterator[Table]:
    chosen = {**size_groups(results), **shape_groups(results)}
    chosen = {name: images for name, images in chosen.items() if images.any()}
    yield from tables_by_group(results, group, chosen, "subgroups", "object size and shape", _NOTE)


def tables_by_group(
    results: Results, group: Group, chosen: Mapping[str, npt.NDArray[np.bool_]], stem: str, heading: str, note: str
) -> Iterator[Table]:
    """A table for each score; its columns are the groups of images.

    Args:
        chosen: by the name of a group, True for its images [n].
        stem: of the tables' names.
        heading: the kind of groups, in words.
        note: under every table.
    """
    rows = results.rows(group)
    headings = [Column(name, f"{name} (n = {int(images.sum())})", "score") for name, images in chosen.items()]
    for name, score in _SCORES.items():
        values = score.values(results, group, rows)
        baselines = [
            {each: line[images] for each, line in score.baselines(results).items()} for images in chosen.values()
        ]
        body = row_lines(
            rows,
            [
                score.cells(results, values[..., images], lines)
                for images, lines in zip(chosen.values(), baselines, strict=True)
            ],
        )
        body += baseline_lines(score.baseline_cells(results, lines) for lines in baselines)
        yield Table(
            f"{stem}-{group.file_name}-{name}",
            f"{score.heading} by {heading}, {group.architecture}",
            (*ROW_COLUMNS, *headings),
            body,
            note=f"{conditions(results)} {note}",
        )
    if results.plan.normal_images:
        yield _froc(results, group, chosen, stem, heading, note)


def _froc(
    results: Results, group: Group, chosen: Mapping[str, npt.NDArray[np.bool_]], stem: str, heading: str, note: str
) -> Table:
    """The FROC's mean on each group of images with objects, all images without objects beside it."""
    normal = [place for place, index in enumerate(results.all_indices) if index >= len(results.data.annotated)]
    body: list[list[Cell]] = []
    for row in results.rows(group):
        cells = [
            froc_cells(results, group, row, [*np.flatnonzero(images).tolist(), *normal])[0]
            for images in chosen.values()
        ]
        body.append([*row_names(row), *cells])
    headings = (
        Column(name, f"{name} (n = {int(images.sum())} and {len(normal)} normal)", "score")
        for name, images in chosen.items()
    )
    return Table(
        f"{stem}-{group.file_name}-froc",
        f"FROC by {heading}, {group.architecture}",
        (*ROW_COLUMNS, *headings),
        body,
        note=f"{fusion_note(results)} Mean sensitivity over the challenge's rates. {counted_note(results)} {note}",
    )


EXPERIMENT = Experiment(
    name="subgroups",
    title="Size and shape",
    text="Which objects are found.",
    group_tables=_tables,
)
