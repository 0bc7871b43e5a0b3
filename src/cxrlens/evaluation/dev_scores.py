"""The scores on the dev images that a training or a model card tells of, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cxrlens.evaluation.bootstrap import Interval
from cxrlens.evaluation.classification import auc_interval_of_counts
from cxrlens.evaluation.proportions import clopper_pearson_interval
from cxrlens.inputs.dataset.layouts import CLASS_NAMES


@dataclass(frozen=True)
class DevScore:
    """A score on the dev images, with a 95 % interval where their numbers are known (else NaN)."""

    name: str
    value: float
    interval: Interval
    n: int


def scored(values: Mapping[str, float | None], counts: Mapping[str, int]) -> list[DevScore]:
    """Scores such as ``dev_auc``, with intervals; what has no value is left out.

    Args:
        counts: dev images of each class.
    """
    normal, affected = (counts.get(name, 0) for name in CLASS_NAMES)
    behind = {"accuracy": normal + affected, "sensitivity": affected, "specificity": normal}
    found = []
    for key, value in values.items():
        name = key.removeprefix("dev_")
        if value is None:
            continue
        interval, n = Interval(math.nan, math.nan), behind.get(name, normal + affected)
        if name == "auc" and normal and affected:
            interval = auc_interval_of_counts(value, affected, normal)
        elif behind.get(name):
            interval = clopper_pearson_interval(round(value * n), n)
        found.append(DevScore(name, value, interval, n))
    return found
