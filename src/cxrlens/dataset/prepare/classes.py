"""The class names of a source that mean affected and normal."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cxrlens.dataset.prepare.record import ClassNames
from cxrlens.errors import UsageError
from cxrlens.inputs.csv_files import whole_number
from cxrlens.inputs.dataset.layouts import AFFECTED, NORMAL
from cxrlens.inputs.matching import folded

_AFFECTED_WORDS = frozenset((
    *("affected", "abnormal", "positive", "pos", "yes", "true", "1", "bad", "poor", "reject", "rejected", "retake"),
    *("fail", "failed", "artifact", "artifacts", "artefact", "artefacts", "defect", "defects", "object", "objects"),
    *("foreign object", "foreign objects", "with object", "with objects", "with foreign object"),
))  # fmt: skip
_NORMAL_WORDS = frozenset((
    *("normal", "negative", "neg", "no", "false", "0", "none", "good", "ok", "clean", "clear", "healthy", "accept"),
    *("accepted", "pass", "passed", "no finding", "no findings", "not affected", "unaffected"),
    *("no object", "no objects", "without object", "without objects", "no foreign object"),
))  # fmt: skip


def label_classes(names: Iterable[str], given: ClassNames, *, where: str) -> dict[str, int | None]:
    """The label of each class name: as given, else guessed from usual words; None = the class is left out.

    With one side given, a single other class is the other side. With both given, further classes are left out.

    Args:
        where: what the message calls the source.

    Raises:
        UsageError: when a given name is none of the classes, or a class cannot be guessed.
    """
    spelled: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        spelled.setdefault(_folded(name), []).append(name)
    listed = ", ".join(f"'{same[0]}'" for _, same in sorted(spelled.items()))
    labels: dict[str, int | None] = {}
    for label, words in ((AFFECTED, given.affected), (NORMAL, given.normal)):
        for word in words:
            if _folded(word) not in spelled:
                raise UsageError(f"{where}: has no class '{word}'; its classes are {listed}")
            if labels.setdefault(_folded(word), label) != label:
                raise UsageError(f"{where}: the class '{word}' cannot be both affected and normal")
    rest = [name for name in spelled if name not in labels]
    if given.affected and given.normal:
        labels |= dict.fromkeys(rest)
    elif len(rest) == 1 and len(set(labels.values())) == 1:
        labels[rest[0]] = NORMAL if AFFECTED in labels.values() else AFFECTED
    else:
        labels |= {name: _guess(name, spelled[name][0], listed, where) for name in rest}
    return {name: labels[folded] for folded, same in spelled.items() for name in same}


def _guess(folded: str, name: str, listed: str, where: str) -> int:
    if folded in _AFFECTED_WORDS:
        return AFFECTED
    if folded in _NORMAL_WORDS:
        return NORMAL
    raise UsageError(
        f"{where}: cannot tell whether the class '{name}' means affected or normal; its classes are {listed}: "
        "name them with --affected NAME and --normal NAME"
    )


def _folded(name: str) -> str:
    """A class's name without case, a blank for what stands between its words; signs at its ends stay: -1, +."""
    name = whole_number(name)
    return re.sub(r"(?<=\w)[\s_\W]+(?=\w)|_+", " ", folded(name)).strip(" .,:;") or name
