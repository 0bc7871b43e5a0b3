"""Scores of whole maps beside the peak's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cxrlens.evaluation.bootstrap import Floats
from cxrlens.evaluation.localisation import ascending, energy_inside, otsu_iou, pixel_average_precision
from cxrlens.report.tables import Column, Score, Table
from cxrlens.saliency.explain import Row
from cxrlens.study.cells import ROW_COLUMNS, baseline_cells, baseline_lines, fusion_note, row_lines, score_cells
from cxrlens.study.experiments.base import Experiment
from cxrlens.study.records import PLAIN, Arrays, key
from cxrlens.study.results import Group, Results
from cxrlens.study.scores import GroupMaps, MapScores


def _score(maps: GroupMaps) -> Arrays:
    """The share of maps [N, H, W] in [0, 1] that lies on the objects: each score float64 [N], NaN without an object."""
    objects, ordered = maps.truth.objects, ascending(maps.maps)
    return {
        key(PLAIN, "energy"): energy_inside(maps.maps, objects).cpu().numpy(),
        key(PLAIN, "average_precision"): pixel_average_precision(maps.maps, objects, ordered=ordered).cpu().numpy(),
        key(PLAIN, "iou"): otsu_iou(maps.maps, objects, ordered=ordered).cpu().numpy(),
    }


@dataclass(frozen=True)
class LocalScore:
    """A localisation score: its heading, its name in the records, and the tolerance of a hit."""

    heading: str
    name: str
    share: float | None = None

    def values(self, results: Results, group: Group, rows: Sequence[Row]) -> Floats:
        """[rows, seeds, n]."""
        if self.name == "hit":
            return results.hits(group, rows, share=self.share)
        return results.scores(group, rows, self.name)

    def baselines(self, results: Results) -> dict[str, Floats]:
        """Values [n] by baseline."""
        return results.baselines(self.name, self.share)

    def cells(self, results: Results, values: Floats, baselines: Mapping[str, Floats]) -> list[Score]:
        """A cell for each row of values [rows, seeds, n], of all images or some."""
        return score_cells(results, values, baselines, is_outcome=self.name == "hit")

    def baseline_cells(self, results: Results, baselines: Mapping[str, Floats]) -> dict[str, Score]:
        """A cell for each baseline, of values [n]."""
        return baseline_cells(results, baselines, is_outcome=self.name == "hit")


WHOLE_MAP_SCORES = {
    "on_object": LocalScore("Peak on the object", "hit", 0.0),
    "energy": LocalScore("Energy inside", "energy"),
    "average_precision": LocalScore("Pixel AUPRC", "average_precision"),
    "iou": LocalScore("IoU at Otsu's threshold", "iou"),
}


def _tables(results: Results, group: Group) -> Iterator[Table]:
    rows, scores = results.rows(group), WHOLE_MAP_SCORES
    body = row_lines(
        rows,
        [each.cells(results, each.values(results, group, rows), each.baselines(results)) for each in scores.values()],
    )
    body += baseline_lines(each.baseline_cells(results, each.baselines(results)) for each in scores.values())
    yield Table(
        f"localisation-{group.file_name}",
        f"Localisation by whole maps, {group.architecture}",
        (*ROW_COLUMNS, *(Column(name, each.heading, "score") for name, each in scores.items())),
        body,
        note=fusion_note(results),
    )


EXPERIMENT = Experiment(
    name="localisation",
    title="Whole maps",
    text="How much of a map lies on the objects.",
    map_scores=MapScores(
        tuple(key(PLAIN, name) for name in ("energy", "average_precision", "iou")), _score, baselines=True
    ),
    group_tables=_tables,
)
