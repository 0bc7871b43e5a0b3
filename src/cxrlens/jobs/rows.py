"""How a row of a results table is named for people."""

from __future__ import annotations

from cxrlens.evaluation.baselines import BASELINES
from cxrlens.saliency.explain import Row
from cxrlens.saliency.methods import find_method


def row_title(row: Row) -> str:
    """A row's name in figures and panels: "NormGrad scaling, combined", or the baseline's name."""
    if row.method in BASELINES:
        return row.method.replace("_", " ")
    return f"{find_method(row.method).title}, {row.layers}"
