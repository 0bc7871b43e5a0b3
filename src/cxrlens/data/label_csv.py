"""New labels of images as a CSV, such as the verdicts of a reader on a worklist, and a training split with them.

Columns: ``path``, from the CSV's folder on or absolute, and ``label`` ("normal" or "affected"); all others are left
alone. A row without a label says nothing of its image.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cxrlens.data.layouts import CLASS_NAMES, Item, Split, some
from cxrlens.errors import UsageError


@dataclass(frozen=True)
class NewLabels:
    """Labels by file.

    Attributes:
        path: the CSV.
        labels: 0 or 1 by the resolved path of an image.
    """

    path: Path
    labels: Mapping[Path, int]


@dataclass(frozen=True)
class Relabelled:
    """A split with new labels; how many of its images got another one, and how many images came to it."""

    split: Split
    changed: int
    added: int


def read_labels(path: Path) -> NewLabels:
    """Read a CSV of labels.

    Raises:
        UsageError: when it cannot be read, a label is unknown, images are missing, or two rows contradict each other.
    """
    labels: dict[Path, int] = {}
    missing: list[str] = []
    for line, text, label in _rows(path):
        if not label:
            continue
        if label not in CLASS_NAMES:
            raise UsageError(f"{path}, line {line}: the label '{label}' is neither 'normal' nor 'affected'; correct it")
        file = (path.parent / text).resolve()
        if not file.is_file():
            missing.append(text)
        elif labels.setdefault(file, CLASS_NAMES.index(label)) != CLASS_NAMES.index(label):
            raise UsageError(f"{path}, line {line}: an earlier row gives {text} the other label; delete one of them")
    if missing:
        raise UsageError(
            f"{path}: {len(missing)} of its images are not there: {some(missing)}; "
            "correct their paths or delete the rows"
        )
    if not labels:
        raise UsageError(f"{path}: no row has a label; give it rows with a label of 'normal' or 'affected'")
    return NewLabels(path, labels)


def with_labels(train: Split, new: NewLabels, others: Iterable[Split]) -> Relabelled:
    """The training split with new labels; images that it lacks are added, in the order of the CSV.

    Args:
        others: the data set's other splits, which training must not see.

    Raises:
        UsageError: when an image belongs to one of them.
    """
    for split in others:
        shared = [str(item.path) for item in split.items if item.path.resolve() in new.labels]
        if shared:
            raise UsageError(
                f"{new.path}: {len(shared)} of its images belong to '{split.name}' and must not be learnt from: "
                f"{some(shared)}; delete their rows"
            )
    files = [item.path.resolve() for item in train.items]
    items = [
        replace(item, label=new.labels.get(file, item.label)) for item, file in zip(train.items, files, strict=True)
    ]
    changed = sum(item.label != old.label for item, old in zip(items, train.items, strict=True))
    there = set(files)
    added = [Item(file, label, listed=str(file)) for file, label in new.labels.items() if file not in there]
    return Relabelled(replace(train, items=(*items, *added)), changed, len(added))


def _rows(path: Path) -> list[tuple[int, str, str]]:
    """Line number, path and label of each row."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = [name.strip().lower() for name in reader.fieldnames or ()]
            if not {"path", "label"} <= set(columns):
                raise UsageError(
                    f"{path}: the first line should name the columns path and label, but it is {','.join(columns)!r}"
                )
            reader.fieldnames = columns
            return [(reader.line_num, row["path"] or "", (row["label"] or "").strip()) for row in reader if row["path"]]
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; check the path") from error
    except (OSError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read as CSV: {error}") from error
