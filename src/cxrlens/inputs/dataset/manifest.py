"""The manifest of a prepared data set: ``manifest.csv``, an image a row, wherever its file lies.

A row needs ``path``, ``split`` and ``label``; the other columns may be missing. A relative path starts at the
manifest's folder. An image that belongs to two splits (dev as test) has a row for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from cxrlens.errors import UsageError
from cxrlens.files import text_of_cell, write_csv
from cxrlens.inputs.annotations.shapes import AnnotationError, Shape, format_annotation, parse_annotation
from cxrlens.inputs.csv_files import open_csv

MANIFEST = "manifest.csv"
_NEEDED = ("path", "split", "label")


@dataclass(frozen=True)
class ManifestRow:
    """One image of one split.

    Attributes:
        name: what the image is called in tables and result files: unique in its split, with ``/`` between folders.
        path: of the file, absolute or from the manifest's folder on.
        split: "train", "dev" or "test".
        label: "affected", "normal", or empty where nobody knows.
        annotation: the objects as text, see `cxrlens.inputs.annotations.shapes`, in pixels of the file.
        mask: of an image in which the objects are not black, absolute or from the manifest's folder on.
        patient_id: images of one patient share it.
        sha256: of the file.
        height: of the image as it is read; likewise ``width``; 0 = not known.
        source: where the image came from, below the source that was prepared.
        source_sha256: of the file there.
    """

    name: str
    path: str
    split: str
    label: str
    annotation: tuple[Shape, ...] = ()
    mask: str = ""
    patient_id: str = ""
    sha256: str = ""
    height: int = 0
    width: int = 0
    source: str = ""
    source_sha256: str = ""


COLUMNS = tuple(field.name for field in fields(ManifestRow))


def find_manifest(root: Path) -> Path | None:
    """The manifest of a folder; a file of that name without the needed columns is something else."""
    path = root / MANIFEST
    try:
        with open_csv(path) as reader:
            return path if set(_NEEDED) <= set(reader.fieldnames or ()) else None
    except UsageError:
        return None


def write_manifest(path: Path, rows: Iterable[ManifestRow]) -> None:
    """Write a manifest, as a whole or not at all."""
    cells = ({**vars(row), "annotation": format_annotation(row.annotation)} for row in rows)
    write_csv(path, COLUMNS, cells, paths=("path", "mask"))


def read_manifest(path: Path, *, splits: Iterable[str], labels: Iterable[str]) -> list[ManifestRow]:
    """The rows of a manifest in their order.

    Args:
        splits: the names that a split may have; likewise ``labels``, where an empty one is always allowed.

    Raises:
        UsageError: when the file is no manifest, or a row cannot be used (its line is named).
    """
    allowed = {"split": tuple(splits), "label": (*labels, "")}
    rows: list[ManifestRow] = []
    seen: set[tuple[str, str]] = set()
    with open_csv(path) as reader:
        missing = set(_NEEDED) - set(reader.fieldnames or ())
        if missing:
            raise UsageError(f"{path}: has no column {' and '.join(sorted(missing))}; prepare the data set anew")
        for cells in reader:
            row = _row(cells, f"{path}, line {reader.line_num}", allowed)
            if (row.split, row.name) in seen:
                raise UsageError(
                    f"{path}, line {reader.line_num}: '{row.name}' is in '{row.split}' already; remove a row"
                )
            seen.add((row.split, row.name))
            rows.append(row)
    return rows


def safe_name(text: str) -> str | None:
    """A path with ``/`` between its folders, without a drive, as it may be appended to a folder; None where a part
    of it leads out of that folder or cannot be a name."""
    parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
    leads_out = text.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", text) or ".." in parts
    if leads_out or not parts or any(ord(sign) < 32 for sign in text):
        return None
    return "/".join(parts)


def _row(cells: dict[str, str], where: str, allowed: dict[str, tuple[str, ...]]) -> ManifestRow:
    values = {name: text_of_cell(cells.get(name) or "") for name in COLUMNS}
    if not values["path"]:
        raise UsageError(f"{where}: the path is empty; name the image's file or delete the row")
    for column, names in allowed.items():
        if values[column] not in names:
            known = ", ".join(name for name in names if name)
            raise UsageError(f"{where}: the {column} '{values[column]}' is none of {known}; correct it")
    name = safe_name(values["name"] or values["path"]) or Path(values["path"]).name
    if values["name"] and name != values["name"]:
        raise UsageError(f"{where}: the name '{values['name']}' leads out of its folder; give a plain relative one")
    try:
        sizes = {side: int(values[side] or 0) for side in ("height", "width")}
        shapes = parse_annotation(values["annotation"])
    except AnnotationError as error:
        raise UsageError(f"{where}: cannot read the annotation of {name}: {error}; correct the row") from error
    except ValueError as error:
        raise UsageError(f"{where}: height and width should be whole numbers; correct the row") from error
    texts = {column: values[column] for column in ("path", "split", "label", "mask", "patient_id", "sha256",
                                                   "source", "source_sha256")}  # fmt: skip
    return ManifestRow(name=name, annotation=shapes, **sizes, **texts)  # type: ignore[arg-type]
