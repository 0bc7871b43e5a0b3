"""Cascading randomisation: similarity to the trained network's maps, stage by stage from the head down."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional

from cxrlens.evaluation.bootstrap import Floats, row_means
from cxrlens.evaluation.randomisation import cascade
from cxrlens.evaluation.similarity import map_likeness, pixel_ranks, rank_correlation
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.report.curves import Curve, curve_figure
from cxrlens.report.row_titles import row_title
from cxrlens.report.tables import Cell, Column, Table
from cxrlens.saliency.explain import Row, RowMaps
from cxrlens.study.cells import ROW_COLUMNS, flat_note, fusion_note, row_names, row_words, score_cells
from cxrlens.study.experiments.base import Drawn, Experiment
from cxrlens.study.image_groups import ImageGroup
from cxrlens.study.records import Arrays, key
from cxrlens.study.results import Group, Results
from cxrlens.study.rows import cascade_stages
from cxrlens.study.scores import SampleBlock, SampleScores

_VERDICTS = {True: "passes", False: "fails", None: "flat maps"}
_UNRELATED = "pairs"  # in a stage's place: maps of different images by the trained network


def _score(block: SampleBlock) -> Arrays:
    """Similarity of the maps to those of the network drawn anew, stage by stage, and of unrelated maps."""
    numbers = range(len(block.groups))
    maps = {row: [block.maps(block.before, row, number) for number in numbers] for row in block.before.maps}
    ranks = {row: [pixel_ranks(some) for some in by_group] for row, by_group in maps.items()}
    arrays: Arrays = {
        key(row.method, row.layers, _UNRELATED, "ssim"): _unrelated(block.groups, by_group)
        for row, by_group in maps.items()
    }
    model = block.model
    size = (model.preprocessing.height, model.preprocessing.width)
    for stage, network in cascade(model.network, block.subject.architecture, seed=block.plan.seed, size=size):
        changed = block.explained(block.batch.grey, QualityModel(network, model.card, model.device))

        def similarity(row: Row, number: int, stage: str = stage, changed: RowMaps = changed) -> Arrays:
            after = block.maps(changed, row, number)
            correlation = rank_correlation(ranks[row][number], pixel_ranks(after))
            return {
                key(stage, "ssim"): map_likeness(maps[row][number], after).cpu().numpy(),
                key(stage, "spearman"): correlation.numpy(),
            }

        arrays |= block.by_row(similarity)
    return arrays


def _unrelated(groups: Sequence[ImageGroup], maps: Sequence[Tensor]) -> npt.NDArray[np.float64]:
    """Similarity of each map of a block to that of the image before, stretched to its size; NaN for one image alone,
    and where a map is flat.
    """
    single = {
        place: map_ for group, some in zip(groups, maps, strict=True)
        for place, map_ in zip(group.places, some, strict=True)
    }  # fmt: skip
    if len(single) == 1:
        return np.full(1, np.nan)
    values = np.empty(len(single))
    for place, map_ in single.items():
        other = single[(place - 1) % len(single)][None, None]
        if other.shape[2:] != map_.shape:
            other = functional.interpolate(other, map_.shape, mode="bilinear", antialias=True)
        values[place] = float(map_likeness(map_[None], other[0])[0])
    return values


SCORES = SampleScores("randomisation", lambda plan: plan.randomisation.images, _score)


def depends_on_weights(similarity: Floats, unrelated: Floats) -> bool | None:
    """The criterion of Arun et al.: True where at the last stage a row's maps are less alike than unrelated ones.

    None where there is nothing to judge, as maps are flat.

    Args:
        similarity: [stages, seeds, n] to the trained network's maps, in the order of the cascade.
        unrelated: [1, seeds, n] of maps of different images.
    """
    own, other = float(row_means(similarity[-1:])[0]), float(row_means(unrelated)[0])
    return None if math.isnan(own) or math.isnan(other) else own < other


def _similarity(results: Results, group: Group, score: str) -> Floats | None:
    """To the trained network's maps, [rows, stages, seeds, n]."""
    names = [key(stage, score) for stage in cascade_stages(group.architecture)]
    return results.sample_scores(SCORES, group, results.rows(group), *names)


def _unrelated_maps(results: Results, group: Group) -> Floats:
    """[rows, 1, seeds, n]."""
    found = results.sample_scores(SCORES, group, results.rows(group), key(_UNRELATED, "ssim"))
    assert found is not None
    return found


def _tables(results: Results, group: Group) -> Iterator[Table]:
    rows = results.rows(group)
    similarity, ranks = (_similarity(results, group, score) for score in ("ssim", "spearman"))
    if similarity is None or ranks is None:
        return
    stages = [Column(f"to_{stage}", f"down to {stage}", "score") for stage in cascade_stages(group.architecture)]
    body: list[list[Cell]] = []
    for row, values, unrelated in zip(rows, similarity, _unrelated_maps(results, group), strict=True):
        verdict = _VERDICTS[depends_on_weights(values, unrelated)]
        body.append([*row_names(row), *score_cells(results, values), *score_cells(results, unrelated), verdict])
    yield Table(
        f"randomisation-{group.file_name}",
        f"Cascading randomisation, {group.architecture}, structural similarity",
        (*ROW_COLUMNS, *stages, Column("unrelated", "Unrelated maps", "score"), Column("verdict", "Criterion")),
        body,
        note=f"{fusion_note(results)} "
        "Criterion of Arun et al. (2021): with all weights drawn anew a map must be less like the trained "
        f"network's than maps of unrelated images are like each other.{flat_note(similarity)}",
    )
    yield Table(
        f"randomisation-{group.file_name}-ranks",
        f"Cascading randomisation, {group.architecture}, rank correlation of pixels",
        (*ROW_COLUMNS, *stages),
        [[*row_names(row), *score_cells(results, values)] for row, values in zip(rows, ranks, strict=True)],
        note=fusion_note(results),
    )


def _figures(results: Results) -> Iterator[Drawn]:
    for group in results.trained:
        similarity = _similarity(results, group, "ssim")
        if similarity is None:
            continue
        curves = [
            Curve(row_title(row), row_means(values).tolist())
            for row, values in zip(results.rows(group), similarity, strict=True)
        ]
        by_map = row_means(_unrelated_maps(results, group)[:, 0])
        by_map = by_map[~np.isnan(by_map)]
        title = f"Cascading randomisation, {group.architecture}"
        figure = curve_figure(cascade_stages(group.architecture), curves, title=title,
                              x_name="weights drawn anew from the head down to",
                              y_name="SSIM to the trained network's map",
                              references={"unrelated maps, mean over methods": float(np.mean(by_map))}
                              if by_map.size else {})  # fmt: skip
        alt = "Similarity to the trained network's maps falls stage by stage."
        yield Drawn(f"randomisation-{group.file_name}", title, alt, figure)


def _findings(results: Results, group: Group) -> Iterator[str]:
    similarity = _similarity(results, group, "ssim")
    if similarity is None:
        return
    verdicts = {
        row: depends_on_weights(values, unrelated)
        for row, values, unrelated in zip(results.rows(group), similarity, _unrelated_maps(results, group), strict=True)
    }
    failing = [row_words(row) for row, verdict in verdicts.items() if verdict is False]
    flat = [row_words(row) for row, verdict in verdicts.items() if verdict is None]
    if failing:
        yield f"{', '.join(failing)} fail the randomisation criterion: their maps change too little with the weights."
    elif len(flat) < len(verdicts):
        yield f"every {'other ' if flat else ''}row passes the randomisation criterion."
    if flat:
        yield f"the randomisation criterion does not judge {', '.join(flat)}, whose maps are flat."


EXPERIMENT = Experiment(
    name="randomisation",
    title="Cascading randomisation",
    text="A map that explains a network must change when the network does.",
    sample_scores=SCORES,
    group_tables=_tables,
    figures=_figures,
    findings=_findings,
)
