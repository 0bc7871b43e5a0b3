"""Object-CXR, as it is downloaded or unpacked: ``train`` and ``train.csv``, or ``train/affected`` and ``train/normal``.

A split is a folder, or an archive that counts as one; it may also be called ``val`` or ``test``. Labels and objects
are found as `cxrlens.inputs.dataset.layouts` finds them.
"""

from __future__ import annotations

from pathlib import Path

from cxrlens.dataset.prepare.record import ClassNames, Found, Record, split_of
from cxrlens.dataset.prepare.tree import Tree
from cxrlens.inputs.annotations.table import read_annotations
from cxrlens.inputs.dataset.layouts import CLASS_NAMES, Split, sorted_split, unsorted_split


def applies(source: Path, tree: Tree) -> bool:
    """True where a split has a CSV, or class folders called affected and normal and no others."""
    return source.is_dir() and any(_has_labels(tree, folder) for folder in tree.folders() if split_of(folder))


def scan(source: Path, tree: Tree, _names: ClassNames) -> Found:
    """The images of all splits.

    Raises:
        UsageError: when a CSV cannot be read, a class has no image, or no image has a row.
    """
    records: list[Record] = []
    remarks: list[str] = []
    for folder in tree.folders():
        if not split_of(folder):
            remarks.append(f"{folder}: is left out; it is called neither train, dev nor test")
        elif not _has_labels(tree, folder):
            remarks.append(f"{folder}: is left out; nothing says which image is affected, {folder}.csv is missing")
        else:
            split = _split(source, tree, folder)
            remarks += split.remarks
            for item in split.items:
                name = item.path.relative_to(source).as_posix()
                records.append(Record(name, tree.files[name], split_of(folder), item.label, item.shapes or ()))
    return Found(tuple(records), tree.refused, (*tree.remarks, *remarks))


def _split(source: Path, tree: Tree, folder: str) -> Split:
    path = source / f"{folder}.csv"
    table = read_annotations(path) if path.is_file() else None
    names = tree.in_folder(folder)
    if _classes(tree, folder) & set(CLASS_NAMES):
        per_class = {
            source / folder / class_name: [source / name for name in names if _class_of(name) == class_name]
            for class_name in CLASS_NAMES
        }
        return sorted_split(folder, source / folder, per_class, table)
    assert table is not None, "checked by _has_labels"
    return unsorted_split(folder, source / folder, [source / name for name in names], table)


def _has_labels(tree: Tree, folder: str) -> bool:
    classes = _classes(tree, folder)
    return (tree.root / f"{folder}.csv").is_file() or (bool(classes) and classes <= set(CLASS_NAMES))


def _classes(tree: Tree, folder: str) -> set[str]:
    """The names of the folders right within a split."""
    return {_class_of(name) for name in tree.in_folder(folder)} - {""}


def _class_of(name: str) -> str:
    parts = name.split("/")
    return parts[1].lower() if len(parts) > 2 else ""
