"""Every localisation score by the kind of the objects, a table each, where the plan names a table of kinds."""

from __future__ import annotations

from collections.abc import Iterator

from cxrlens.report.tables import Table
from cxrlens.study.experiments.base import Experiment
from cxrlens.study.experiments.subgroups import tables_by_group
from cxrlens.study.results import Group, Results

_NOTE = "An image counts under every kind that it shows; its objects of other kinds count there, too."


def _tables(results: Results, group: Group) -> Iterator[Table]:
    yield from tables_by_group(results, group, results.kinds, "kinds", "kind of object", _NOTE)


EXPERIMENT = Experiment(
    name="kinds",
    title="Kinds of objects",
    text="Are some kinds of objects found, and others missed?",
    needs=lambda results: bool(results.kinds),
    group_tables=_tables,
)
