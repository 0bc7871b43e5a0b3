"""A CSV with a row for each image, or the manifest of a prepared data set.

Columns: ``path`` (or ``image_path``, ``image_name``), from the CSV's folder on or absolute; ``label`` (any two class
names, or 0 and 1) or ``annotation`` (Object-CXR's text) or both; optionally ``split``, ``patient_id``, ``mask`` and
``name``. Rows without a label are refused, but in a CSV of readers' ``verdict``s, which leave that of an image open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cxrlens.dataset.prepare.classes import label_classes
from cxrlens.dataset.prepare.lookup import find_images
from cxrlens.dataset.prepare.record import ClassNames, Found, Record, split_of
from cxrlens.dataset.prepare.tree import Tree
from cxrlens.errors import UsageError
from cxrlens.inputs.annotations.shapes import AnnotationError, Shape, parse_annotation
from cxrlens.inputs.csv_files import lower_columns, open_csv
from cxrlens.inputs.dataset.layouts import AFFECTED, NORMAL
from cxrlens.inputs.dataset.manifest import find_manifest, safe_name
from cxrlens.inputs.matching import Disk, Doubt, plain_path, shared_parts
from cxrlens.inputs.origin import FileOrigin
from cxrlens.wording import are, counted

_PATH_COLUMNS = ("path", "image_path", "image_name")
_VERDICT = "verdict"
_OTHER_COLUMNS = ("label", "annotation", "split", "patient_id", "mask", "name")


def applies(source: Path, _tree: Tree) -> bool:
    """True for a CSV, or a folder with a manifest."""
    return source.suffix.lower() == ".csv" if source.is_file() else find_manifest(source) is not None


def scan(source: Path, tree: Tree, names: ClassNames) -> Found:
    """The images of all rows; of two rows of one image the first counts, unless the other names it more exactly.

    Raises:
        UsageError: when the file or a row cannot be used (its line is named).
    """
    path = source if source.is_file() else source / "manifest.csv"
    rows, path_column, unlabelled = _rows(path)
    labels = label_classes(dict.fromkeys(row["label"] for _, row in rows if row["label"]), names, where=str(path))
    texts = [row[path_column] for _, row in rows]
    shorter = _without_shared_folders(texts)
    named = find_images(tree, texts, table=path.name, anywhere=True)
    disk = Disk()
    records: list[Record | None] = []
    refused: list[str] = []
    left_out = 0
    for (line, row), text, origin in zip(rows, texts, named.origins, strict=True):
        where, shown = f"{path}, line {line}", plain_path(text)
        shapes = _shapes(row["annotation"], where)
        label = labels[row["label"]] if row["label"] else _label_of_objects(shapes, row["mask"])
        split = split_of(row["split"])
        if row["split"] and not split:
            raise UsageError(f"{where}: the split '{row['split']}' is none of train, dev and test; correct it")
        mask = _mask(row["mask"], path.parent, disk)
        record = None
        if row["label"] and label is None:
            left_out += 1
        elif isinstance(origin, str) or isinstance(mask, str):
            refused.append(f"{shown}: {origin if isinstance(origin, str) else mask} ({where})")
        else:
            name = safe_name(row["name"]) or shorter[text]
            record = Record(name, origin, split, label, shapes, mask, row["patient_id"])
        records.append(record)
    taken: list[Record] = []
    repeated: list[str] = []
    contradicting = 0
    for places in named.by_file():
        found = [(place, record) for place in places if (record := records[place]) is not None]
        if found and named.is_doubtful(places):
            either = " or ".join(plain_path(texts[place]) for place in places[:2])
            refused.append(f"{found[0][1].origin}: could be meant by {either} ({path}, line {rows[places[0]][0]})")
        elif found:
            (_, first), *others = found
            taken.append(first)
            others = [  # of several readers each has a line
                (place, record)
                for place, record in others
                if not rows[place][1].get(_VERDICT) or _says(record) != _says(first)
            ]
            repeated += [f"line {rows[place][0]}: {texts[place]}" for place, _ in others]
            contradicting += sum(_says(record) != _says(first) for _, record in others)
    remarks = [*named.remarks]
    if repeated:
        other = f", {contradicting} of them with another label, split or objects" if contradicting else ""
        remarks.append(
            f"{path}: {counted(len(repeated), 'row names', 'rows name')} an image again and {are(len(repeated))} left "
            f"out{other}, such as {repeated[0]}"
        )
    if left_out:
        remarks.append(
            f"{path}: {counted(left_out, 'image has', 'images have')} neither the affected nor the normal label and "
            f"{are(left_out)} left out"
        )
    if unlabelled:
        remarks.append(
            f"{path}: {counted(unlabelled, 'row has', 'rows have')} a verdict and no label, and "
            f"{are(unlabelled)} left out"
        )
    return Found(tuple(taken), (*tree.refused, *refused), (*tree.remarks, *remarks))


def _says(record: Record) -> tuple[object, ...]:
    return record.label, record.split, record.shapes


def _mask(text: str, folder: Path, disk: Disk) -> FileOrigin | str | None:
    """The mask that a row names, or why it cannot be told which."""
    found = disk.find(text, folder) if text else None
    if isinstance(found, Doubt):
        return f"its mask {text} could be {found.files[0]} or {found.files[1]}"
    return FileOrigin(folder / text if found is None else found.file) if text else None


def _label_of_objects(shapes: tuple[Shape, ...], mask: str) -> int | None:
    """By the annotation; where there is a mask alone, that tells once it is read."""
    if mask and not shapes:
        return None
    return AFFECTED if shapes else NORMAL


def _rows(path: Path) -> tuple[list[tuple[int, dict[str, str]]], str, int]:
    """Line numbers and cells, absent columns empty; the name of the path column; how many verdicts have no label."""
    with open_csv(path) as reader:
        reader.restkey = ""
        columns = lower_columns(path, reader, (*_PATH_COLUMNS, *_OTHER_COLUMNS, _VERDICT))
        path_column = next((name for name in _PATH_COLUMNS if name in columns), None)
        if path_column is None or not {"label", "annotation"} & set(columns):
            raise UsageError(
                f"{path}: the first line should name the columns path,label[,split,patient_id], "
                f"but it is {','.join(columns)!r}"
            )
        rows = []
        unlabelled = 0
        for cells in reader:
            row = dict.fromkeys(_OTHER_COLUMNS, "")
            row |= {name: (text or "").strip() for name, text in cells.items() if isinstance(text, str | None)}
            if not any(row.values()):
                continue
            if row[path_column]:
                row[path_column] = cells[path_column]  # with blanks around it, which files may have, too
            if row[path_column] and not row["label"] and (cells.get(_VERDICT) or "").strip():
                unlabelled += 1
                continue
            if not row[path_column] or ("label" in columns and not row["label"]):
                missing = "label" if row[path_column] else "path"
                raise UsageError(f"{path}, line {reader.line_num}: the {missing} is empty; fill it in or delete it")
            rows.append((reader.line_num, row))
        return rows, path_column, unlabelled


def _shapes(text: str, where: str) -> tuple[Shape, ...]:
    try:
        return parse_annotation(text)
    except AnnotationError as error:
        raise UsageError(f"{where}: cannot read the annotation: {error}; correct the row or delete it") from error


def _without_shared_folders(paths: Sequence[str]) -> Mapping[str, str]:
    """Names for the paths: those that are absolute or lead upwards lose the folders that all of these share."""
    outside = [path for path in paths if safe_name(plain_path(path)) is None]
    parts = [plain_path(path).split("/") for path in outside]
    shared = shared_parts([each[:-1] for each in parts])
    found = {path: safe_name(plain_path(path)) or "" for path in paths}
    for path, each in zip(outside, parts, strict=True):
        found[path] = safe_name("/".join(part for part in each[shared:] if part not in ("", ".."))) or "image"
    return found
