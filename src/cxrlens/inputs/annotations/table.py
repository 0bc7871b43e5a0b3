"""The annotation CSV of Object-CXR: one row per image, its objects in one field."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cxrlens.errors import UsageError
from cxrlens.inputs.annotations.shapes import AnnotationError, Shape, clip_shape, format_annotation, parse_annotation
from cxrlens.inputs.csv_files import open_csv

_NAME_COLUMNS = ("image_name", "image_path")


@dataclass(frozen=True)
class AnnotationTable:
    """An annotation CSV: shapes per file name, and remarks about odd rows."""

    path: Path
    shapes: Mapping[str, tuple[Shape, ...]]
    remarks: tuple[str, ...] = ()
    _by_lower_name: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name in self.shapes:
            self._by_lower_name.setdefault(_folded(name), name)
            self._by_lower_name.setdefault(_folded(Path(name).stem), name)

    def find(self, path: Path) -> str | None:
        """The row that belongs to an image file: same name, else same name but for case or the ending."""
        for key in (_folded(path.name), _folded(path.stem)):
            if key in self._by_lower_name:
                return self._by_lower_name[key]
        return None


class RowFault(NamedTuple):
    """A row that cannot be parsed: the file name in it, perhaps empty, and what is wrong, as one sentence."""

    name: str
    reason: str


def read_annotations(path: Path, faults: list[RowFault] | None = None) -> AnnotationTable:
    """Read an annotation CSV with the columns ``image_name`` (or ``image_path``) and ``annotation``.

    DOS line ends, a byte-order mark and blank lines are accepted.

    Args:
        path: the CSV.
        faults: takes the rows that cannot be parsed, which are then left out; without it the first one is an error.

    Raises:
        UsageError: when the file or a column is missing, or a row cannot be parsed (file, line and text are named).
    """
    shapes: dict[str, tuple[Shape, ...]] = {}
    remarks: list[str] = []
    with open_csv(path, utf8_only=True, missing="check the path of the annotations") as reader:
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        name_column = next((name for name in _NAME_COLUMNS if name in columns), None)
        if name_column is None or "annotation" not in columns:
            raise UsageError(
                f"{path}: the first line should be 'image_name,annotation', but it is {','.join(columns)!r}"
            )
        for row in reader:
            if not any(map(_has_text, row.values())):
                continue
            name = Path((row[name_column] or "").strip().replace("\\", "/")).name
            try:
                parsed = _parse_row(row, name, f"{path}, line {reader.line_num}")
            except UsageError as error:
                if faults is None:
                    raise
                faults.append(RowFault(name, str(error)))
                continue
            if name in shapes:
                remarks.append(f"{path.name}, line {reader.line_num}: a second row for {name} replaces the first")
            shapes[name] = parsed
    return AnnotationTable(path, shapes, tuple(remarks))


def write_annotations(path: Path, rows: Iterable[tuple[str, Iterable[Shape]]]) -> None:
    """Write (file name, shapes) pairs as an annotation CSV; no shapes = an empty annotation = normal."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("image_name", "annotation"))
        writer.writerows((name, format_annotation(shapes)) for name, shapes in rows)


def clip_to_image(shapes: Iterable[Shape], *, height: int, width: int, name: str) -> tuple[list[Shape], list[str]]:
    """The shapes cut to the image, and a remark for each that reached outside."""
    kept: list[Shape] = []
    remarks: list[str] = []
    for shape in shapes:
        x1, y1, x2, y2 = shape.bounds()
        inside = clip_shape(shape, height=height, width=width)
        if inside is None:
            remarks.append(f"{name}: an annotation lies wholly outside the {width} x {height} picture and is left out")
            continue
        if x1 < 0 or y1 < 0 or x2 > width or y2 > height:  # a box may end on the far edge of the last pixel
            remarks.append(f"{name}: an annotation reaches outside the {width} x {height} picture and is cut")
        kept.append(inside)
    return kept, remarks


def _parse_row(row: Mapping[str | None, Any], name: str, where: str) -> tuple[Shape, ...]:
    """The shapes of a row."""
    if not name or row["annotation"] is None or row.get(None):
        raise UsageError(
            f"{where}: cannot read the row {_row_text(row)!r}: "
            "a row is a file name, a comma, and the annotation; correct the row or delete it"
        )
    try:
        return parse_annotation(row["annotation"].strip())
    except AnnotationError as error:
        raise UsageError(
            f"{where}: cannot read the annotation of {name}: {error}; correct the row or delete it"
        ) from error


def _folded(name: str) -> str:
    """A file name without case, its accents in one form: macOS stores them apart from their letters."""
    return unicodedata.normalize("NFC", name).lower()


def _has_text(value: str | list[str] | None) -> bool:
    return any(part.strip() for part in (value if isinstance(value, list) else [value or ""]))


def _row_text(row: Mapping[str | None, str | list[str] | None]) -> str:
    parts = [value if isinstance(value, list) else [value] for value in row.values() if value is not None]
    return ",".join(text for part in parts for text in part)
