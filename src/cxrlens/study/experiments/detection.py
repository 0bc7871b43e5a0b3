"""The Pointing Game on images that the network calls affected, and on those that it misses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cxrlens.report.tables import Column, Table
from cxrlens.study.cells import ROW_COLUMNS, conditions, row_lines, score_cells
from cxrlens.study.experiments.base import Experiment
from cxrlens.study.results import Group, Results


def _tables(results: Results, group: Group) -> Iterator[Table]:
    rows = results.rows(group)
    found = results.probability(group) >= 0.5
    hits = results.hits(group, rows)
    parts = {"found": found, "missed": ~found}
    yield Table(
        f"detection-{group.file_name}",
        f"Pointing Game on images found and missed, {group.architecture}",
        (*ROW_COLUMNS, *(Column(name, f"{name} by the network", "score") for name in parts)),
        row_lines(
            rows, [score_cells(results, np.where(chosen, hits, np.nan), is_outcome=True) for chosen in parts.values()]
        ),
        note=f"{conditions(results)} An image is found when its probability of affected is 0.5 or more; with several "
        "seeds it may be found by one and missed by another.",
    )


EXPERIMENT = Experiment(
    name="detection",
    title="Found and missed images",
    text="Maps of images that the network misses explain a wrong decision.",
    group_tables=_tables,
)
