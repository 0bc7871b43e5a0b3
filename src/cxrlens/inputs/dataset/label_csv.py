"""New labels of images as a CSV, such as the verdicts of a reader on a worklist, and a training split with them.

Columns: ``path``, from the CSV's folder on or absolute, and ``label`` ("normal" or "affected" in any letter case, or 0
or 1, which spreadsheets write as 0.0 and 1.0); all others are left alone. A row without a label says nothing of its
image. How a path finds its file says `cxrlens.inputs.matching`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cxrlens.errors import UsageError
from cxrlens.files import sha256_of
from cxrlens.inputs.csv_files import lower_columns, open_csv, whole_number
from cxrlens.inputs.dataset.layouts import CLASS_NAMES, Item, Split, some
from cxrlens.inputs.matching import Differences, Disk, Doubt, plain_path
from cxrlens.inputs.origin import FileOrigin

_NUMBERED = {str(number): name for number, name in enumerate(CLASS_NAMES)}


@dataclass(frozen=True)
class NewLabels:
    """Labels of images, which are known by their content: a copy, or what `data prepare` made of it, is the same image.

    Attributes:
        path: the CSV.
        labels: 0 or 1 by the SHA-256 of an image's file.
        files: a file of that content, likewise.
        sizes: of these files in bytes.
        remarks: what was odd, a sentence each.
    """

    path: Path
    labels: Mapping[str, int]
    files: Mapping[str, Path]
    sizes: frozenset[int]
    remarks: tuple[str, ...] = ()

    def digest_of(self, item: Item) -> str | None:
        """The digest under which an image has a label here; None where it has none, or cannot be read."""
        found = next((digest for digest in item.digests if digest in self.labels), None)
        try:
            if found is None and item.path.stat().st_size in self.sizes:
                found = sha256_of(item.path)
        except OSError:  # it is found out, and listed, when it is read as an image
            return None
        return found if found in self.labels else None


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
    labels: dict[str, int] = {}
    files: dict[str, Path] = {}
    missing: list[str] = []
    unlabelled = 0
    disk, differences = Disk(), Differences()
    for line, text, written in _rows(path):
        label = _NUMBERED.get(whole_number(written), written.lower())
        if not label:
            unlabelled += 1
            continue
        if label not in CLASS_NAMES:
            raise UsageError(
                f"{path}, line {line}: the label '{written}' is neither 'normal' (0) nor 'affected' (1); correct it"
            )
        found = disk.find(text, path.parent)
        if isinstance(found, Doubt):
            either = " or ".join(map(str, found.files[:3]))
            raise UsageError(f"{path}, line {line}: {text} could mean {either}; write the file's own name")
        try:
            file = (path.parent / text if found is None else found.file).resolve()
            digest = sha256_of(file)
        except (OSError, ValueError):
            missing.append(text)
            continue
        if found is not None:
            differences.note(plain_path(text), found.difference, file.name)
        files.setdefault(digest, file)
        if labels.setdefault(digest, CLASS_NAMES.index(label)) != CLASS_NAMES.index(label):
            raise UsageError(
                f"{path}, line {line}: an earlier row gives {text}, or a copy of it, the other label; "
                "delete one of them"
            )
    if missing:
        raise UsageError(
            f"{path}: {len(missing)} of its images are not there, or may not be read: {some(missing)}; "
            "correct their paths or delete the rows"
        )
    if not labels:
        raise UsageError(f"{path}: no row has a label; give it rows with a label of 'normal' or 'affected'")
    sizes = frozenset(file.stat().st_size for file in files.values())
    remarks = differences.remarks(f"rows of {path.name}")
    if unlabelled:
        remarks = [*remarks, f"{path}: {unlabelled} of its rows have no label, and say nothing of their images"]
    return NewLabels(path, labels, files, sizes, tuple(remarks))


def with_labels(train: Split, new: NewLabels, others: Iterable[Split]) -> Relabelled:
    """The training split with new labels; images that it lacks are added, in the order of the CSV.

    Args:
        others: the data set's other splits, which training must not see.

    Raises:
        UsageError: when an image belongs to one of them.
    """
    for split in others:
        held = [new.files[digest] for digest in map(new.digest_of, split.items) if digest]
        if held:
            raise UsageError(
                f"{new.path}: {len(held)} of its images belong to '{split.name}' and must not be learnt from: "
                f"{some([str(file) for file in held])}; delete their rows and those of their copies"
            )
    digests = [new.digest_of(item) for item in train.items]
    items = [
        replace(item, label=new.labels[digest]) if digest else item
        for item, digest in zip(train.items, digests, strict=True)
    ]
    changed = sum(item.label != old.label for item, old in zip(items, train.items, strict=True))
    there = set(digests)
    added = [
        Item(FileOrigin(new.files[digest]), label, listed=str(new.files[digest]))
        for digest, label in new.labels.items()
        if digest not in there
    ]
    remarks = (*train.remarks, *new.remarks)
    return Relabelled(replace(train, items=(*items, *added), remarks=remarks), changed, len(added))


def _rows(path: Path) -> list[tuple[int, str, str]]:
    """Line number, path and label of each row."""
    with open_csv(path) as reader:
        columns = lower_columns(path, reader, ("path", "label"))
        if not {"path", "label"} <= set(columns):
            raise UsageError(
                f"{path}: the first line should name the columns path and label, but it is {','.join(columns)!r}"
            )
        rows = [(reader.line_num, row["path"] or "", (row["label"] or "").strip()) for row in reader]
        for line, text, label in rows:
            if label and not text.strip():
                raise UsageError(f"{path}, line {line}: the path is empty; fill it in or delete the row")
        return [row for row in rows if row[1].strip()]
