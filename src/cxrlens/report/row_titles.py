"""Names for people of a results table's rows, and of the way their maps were made."""

from __future__ import annotations

from cxrlens.evaluation.baselines import BASELINES
from cxrlens.saliency.explain import Row
from cxrlens.saliency.fusion import Fusion
from cxrlens.saliency.methods import find_method


def row_title(row: Row) -> str:
    """A row's name in figures and panels: "NormGrad scaling, combined", or the baseline's name."""
    if row.method in BASELINES:
        return row.method.replace("_", " ")
    return f"{find_method(row.method).title}, {row.layers}"


def combination_of(row: Row, fusion: Fusion) -> str:
    """The combination of the row's layers; empty where there is but one, or none."""
    if not row.is_combined:
        return ""
    weights = "" if fusion.weights is None else " " + " ".join(f"{weight:g}" for weight in fusion.weights)
    return fusion.combination + weights


def smoothing_of(fusion: Fusion) -> str:
    return "none" if fusion.smooth is None else f"gaussian sigma {fusion.smooth:g}"
