"""The annotation CSV of Object-CXR: one row per image, its objects in one field."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cxrlens.errors import UsageError
from cxrlens.inputs.annotations.shapes import AnnotationError, Shape, clip_shape, format_annotation, parse_annotation
from cxrlens.inputs.csv_files import open_csv
from cxrlens.inputs.matching import Differences, Disk, FileNames, Likeness, Parts, pair, path_parts, plain_path
from cxrlens.inputs.readers import IMAGE_SUFFIXES

NAME_COLUMNS = ("image_name", "image_path")


class AnnotationRow(NamedTuple):
    """A row: the file's name or path as it stands there, and the objects; its line in the file."""

    name: str
    shapes: tuple[Shape, ...]
    line: int = 0


class RowFault(NamedTuple):
    """A row that cannot be parsed: the file name in it, perhaps empty, and what is wrong, as one sentence."""

    name: str
    reason: str


@dataclass(frozen=True)
class MatchedRows:
    """The rows of a table with the images that they are about.

    Attributes:
        rows: by image.
        faulty: images whose row cannot be parsed.
        without_image: names in the rows that mean no image.
        repeated: a sentence for each row in whose place another counts.
        doubts: a sentence for each name that could mean several images, or image that several rows could mean; none of
            these rows counts.
        doubtful: the images that a doubt is about.
        differences: a sentence for each kind of rows whose name is not quite that of their image.
    """

    rows: Mapping[Path, AnnotationRow]
    faulty: frozenset[Path] = frozenset()
    without_image: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    doubtful: frozenset[Path] = frozenset()
    differences: tuple[str, ...] = ()

    def shapes_of(self, image: Path) -> tuple[Shape, ...] | None:
        """The objects of an image; None without a row."""
        return self.rows[image].shapes if image in self.rows else None


@dataclass(frozen=True)
class AnnotationTable:
    """An annotation CSV: its rows, those that cannot be parsed, and remarks about rows that others replace."""

    path: Path
    rows: tuple[AnnotationRow, ...]
    faults: tuple[RowFault, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def shapes(self) -> Mapping[str, tuple[Shape, ...]]:
        """The objects by the plain path in the row."""
        return {plain_path(row.name): row.shapes for row in self.rows}

    def match(self, root: Path, images: Iterable[Path], *, silent: Collection[str] = ()) -> MatchedRows:
        """Find the rows of images, see `cxrlens.inputs.matching`.

        Args:
            root: the folder below which all of them lie.
            silent: folders that rows may leave out, such as those of classes.
        """
        by_name = {image.relative_to(root).as_posix(): image for image in images}
        texts = [*(row.name for row in self.rows), *(fault.name for fault in self.faults)]
        found = pair(texts, FileNames(root, by_name, silent=silent), base=self.path.parent)
        good = len(self.rows)
        shown = [plain_path(text) for text in texts]
        differences = Differences()
        for file, place in found.names.items():
            differences.note(shown[place], found.matches[place].difference, file)
        doubts = [
            *(f"{shown[place]} could mean {_either(files)}" for place, files in found.doubtful_names.items()),
            *(
                f"{file} could be meant by {_either([shown[place] for place in places])}"
                for file, places in found.doubtful_files.items()
            ),
        ]
        doubtful = {*found.doubtful_files, *(file for files in found.doubtful_names.values() for file in files)}
        return MatchedRows(
            {by_name[file]: self.rows[place] for file, place in found.names.items() if place < good},
            frozenset(by_name[file] for file, place in found.names.items() if place >= good),
            tuple(sorted(dict.fromkeys(shown[place] for place in found.unmet if place < good))),
            tuple(
                f"{self.path.name}, line {self.rows[old].line}: the row of {shown[old]} is replaced by that of "
                f"{shown[new]}, the same image"
                for old, new in found.repeated
                if old < good
            ),
            tuple(f"{self.path.name}: {doubt}; no such row counts" for doubt in doubts),
            frozenset(by_name[file] for file in doubtful - set(found.names)),
            tuple(differences.remarks(f"rows of {self.path.name}")),
        )

    def match_one(self, image: Path) -> MatchedRows:
        """Find the row of one image; one that fits loosely must not fit others beside the image as well."""
        found = self.match(image.parent, [image])
        if not found.differences:
            return found
        names = Disk().names(image.parent) or ()
        beside = {image.parent / name for name in names if Path(name).suffix.lower() in (*IMAGE_SUFFIXES, "")}
        if image in self.match(image.parent, {*beside, image}).rows:
            return found
        doubt = f"{self.path.name}: no row is sure to mean {image.name}, others beside it being as like; none counts"
        return MatchedRows({}, doubts=(doubt,), doubtful=frozenset((image,)))


def _either(names: Sequence[str]) -> str:
    """Up to three names as alternatives."""
    return " or ".join(names) if len(names) < 4 else f"{names[0]} or {len(names) - 1} others"


def read_annotations(path: Path, *, with_faults: bool = False) -> AnnotationTable:
    """Read an annotation CSV with the columns ``image_name`` (or ``image_path``) and ``annotation``.

    DOS line ends, a byte-order mark and blank lines are accepted. Of several rows of one name the last counts.

    Args:
        path: the CSV.
        with_faults: keep what is wrong with rows that cannot be parsed; without it the first one is an error.

    Raises:
        UsageError: when the file or a column is missing, or a row cannot be parsed (file, line and text are named).
    """
    rows: dict[Parts, AnnotationRow] = {}
    faults: list[RowFault] = []
    remarks: list[str] = []
    with open_csv(path, utf8_only=True, missing="check the path of the annotations") as reader:
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        name_column = next((name for name in NAME_COLUMNS if name in columns), None)
        if name_column is None or "annotation" not in columns:
            raise UsageError(
                f"{path}: the first line should be 'image_name,annotation', but it is {','.join(columns)!r}"
            )
        for row in reader:
            if not any(map(_has_text, row.values())):
                continue
            name = row[name_column] or ""
            try:
                shapes = _parse_row(row, plain_path(name), f"{path}, line {reader.line_num}")
            except UsageError as error:
                if not with_faults:
                    raise
                faults.append(RowFault(name, str(error)))
                continue
            parts = path_parts(name, Likeness.EXACT)
            if parts in rows:
                shown = plain_path(name)
                remarks.append(f"{path.name}, line {reader.line_num}: a second row for {shown} replaces the first")
            rows.pop(parts, None)
            rows[parts] = AnnotationRow(name, shapes, reader.line_num)
    return AnnotationTable(path, tuple(rows.values()), tuple(faults), tuple(remarks))


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


def _has_text(value: str | list[str] | None) -> bool:
    return any(part.strip() for part in (value if isinstance(value, list) else [value or ""]))


def _row_text(row: Mapping[str | None, str | list[str] | None]) -> str:
    parts = [value if isinstance(value, list) else [value] for value in row.values() if value is not None]
    return ",".join(text for part in parts for text in part)
