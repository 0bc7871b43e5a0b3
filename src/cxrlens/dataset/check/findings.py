"""The findings of the check of a data set: every kind with its rule, and one finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cxrlens.inputs.annotations.shapes import Shape


class Severity(StrEnum):
    """Severity of a finding: a `problem` spoils training or scores, a `note` is worth a look."""

    problem = "problem"
    note = "note"


@dataclass(frozen=True)
class FindingKind:
    """One kind of finding: `rule` says when it is reported, thresholds included."""

    id: str
    severity: Severity
    title: str
    rule: str


KINDS: Final[dict[str, FindingKind]] = {}


def new_kind(id: str, severity: Severity, title: str, rule: str) -> FindingKind:
    """Make a kind and enter it into `KINDS`, which is the source of the page, the documentation and the tests."""
    if id in KINDS:
        raise ValueError(f"two kinds of finding are called {id!r}")
    KINDS[id] = FindingKind(id, severity, title, rule)
    return KINDS[id]


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: what it is.
        message: one sentence that names the image or file.
        images: names of the images it is about, relative to the data set's folder; empty for a whole split or a row.
        shapes: the annotated objects that are meant, of the only image, in its pixels.
        values: the numbers behind it.
    """

    kind: FindingKind
    message: str
    images: tuple[str, ...] = ()
    shapes: tuple[Shape, ...] = ()
    values: dict[str, float] = field(default_factory=dict)

    @property
    def severity(self) -> Severity:
        return self.kind.severity


def by_kind(findings: Iterable[Finding]) -> list[tuple[FindingKind, list[Finding]]]:
    """The findings of each kind that occurs: problems first, then in the order of the registry."""
    order = list(KINDS)
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.kind.id, []).append(finding)
    ids = sorted(groups, key=lambda id: (KINDS[id].severity is Severity.note, order.index(id)))
    return [(KINDS[id], groups[id]) for id in ids]


def count(findings: Iterable[Finding]) -> dict[Severity, int]:
    """The numbers of problems and of notes."""
    found = Counter(finding.severity for finding in findings)
    return {severity: found[severity] for severity in Severity}
