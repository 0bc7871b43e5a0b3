"""How far two readers agree: Cohen's kappa of the verdicts that they gave by themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from cxrlens.evaluation.bootstrap import Interval, bootstrap_interval
from cxrlens.screening.store.verdicts import AuditEntry, Verdict

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """Of two readers on the images that both have judged.

    Attributes:
        readers: their names, in order.
        both_accept: images that both accept; likewise ``both_retake``.
        first_retakes: images that the first one alone wants to be retaken; likewise ``second_retakes``.
        kappa: Cohen's; NaN where it is not defined, since both have said the same of all images.
        interval: of kappa, 95 %, by resampling images; NaN likewise.
    """

    readers: tuple[str, str]
    both_accept: int
    both_retake: int
    first_retakes: int
    second_retakes: int
    kappa: float
    interval: Interval


def agreements(log: Iterable[AuditEntry]) -> list[Agreement]:
    """Of each two readers who have judged the same images.

    An image counts with the verdicts of both as they first stood side by side: what a reader says on seeing that of the
    other is no longer said by themselves.

    Args:
        log: all of the audit log, oldest entry first.
    """
    standing: dict[str, dict[str, Verdict]] = defaultdict(dict)
    found: dict[tuple[str, str], dict[str, tuple[bool, bool]]] = defaultdict(dict)
    for entry in log:
        if not entry.reader:  # whoever that was, and perhaps several
            continue
        given = standing[entry.key]
        if entry.verdict == "none":
            given.pop(entry.reader, None)
            continue
        given[entry.reader] = entry.verdict
        for first, second in combinations(sorted(given), 2):
            if entry.reader in (first, second):
                both = given[first] == "retake", given[second] == "retake"
                found[first, second].setdefault(entry.key, both)
    return [_agreement(readers, np.array([*images.values()])) for readers, images in sorted(found.items())]


def _agreement(readers: tuple[str, str], retakes: Bools) -> Agreement:
    first, second = retakes.T
    return Agreement(
        readers,
        both_accept=int((~first & ~second).sum()),
        both_retake=int((first & second).sum()),
        first_retakes=int((first & ~second).sum()),
        second_retakes=int((second & ~first).sum()),
        kappa=kappa(first, second),
        interval=bootstrap_interval(lambda drawn: kappa(first[drawn], second[drawn]), len(first)),
    )


def kappa(first: Bools, second: Bools) -> float:
    """Cohen's kappa of two readers' yes and no; NaN where both say the same of all images.

    It is that of `sklearn.metrics.cohen_kappa_score`, which takes far longer for each resample.
    """
    observed, yes = np.mean(first == second), (first.mean(), second.mean())
    expected = yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1])
    return float((observed - expected) / (1 - expected)) if expected < 1 else float("nan")
