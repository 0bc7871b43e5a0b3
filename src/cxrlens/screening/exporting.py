"""Verdicts as files that other commands take: labels to learn from, and drawn objects in the format of Object-CXR."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.files import replacing, to_csv
from cxrlens.inputs.annotations.shapes import Polygon, Rectangle, Shape, format_annotation
from cxrlens.inputs.dataset.layouts import AFFECTED, CLASS_NAMES
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.labels import drawn_by, label_of, resolved
from cxrlens.screening.roots import Root, place_of, root_of
from cxrlens.screening.store.marks import Mark
from cxrlens.screening.store.postgresql import reached
from cxrlens.screening.store.store import Store
from cxrlens.screening.store.verdicts import SEES_ALL, KeptVerdict, Sight

VERDICT_COLUMNS = (
    "path", "label", "verdict", "name", "key", "probability", "time", "reader", "reason", "comment", "marks"
)  # fmt: skip
OBJECT_COLUMNS = ("image_name", "annotation")


@dataclass(frozen=True)
class Exported:
    """A file of verdicts.

    Attributes:
        content: CSV in UTF-8, but for paths that are no text.
        images: files that it has a line of.
        left_out: how many files have verdicts and no label, or no line, by why.
    """

    content: bytes
    images: int
    left_out: Mapping[str, int]

    def remark(self) -> str:
        """What is said of those that were left out, "" of none."""
        counts = [f"{count} {words}" for words, count in self.left_out.items()]
        return ", ".join(counts)


_CONFLICT = "with a conflict of readers"
_OTHER_REASON = "to be retaken for no foreign object"
_UNDRAWN = "with a foreign object that nobody has drawn"


def verdicts_csv(store: Store, sight: Sight = SEES_ALL) -> Exported:
    """The standing verdicts, a line a file and reader, which ``cxrlens train --labels`` and ``data prepare`` take.

    Files of the same content share their verdicts. The label is the same in all lines of a file, and empty where there
    is none to learn from, see `label_of`. The image of a verdict that is no longer in the worklist is named as it was
    when the verdict was given.
    """
    rows: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    images = 0
    root, reasons = _root(store.folder), store.folder.reasons()
    for name, verdicts in store.verdicts.of_files(sight):
        images += 1
        label = label_of(verdicts, reasons)
        if not label:
            left_out[_why_unlabelled(verdicts)] += 1
        for kept in verdicts:
            row = kept.model_dump(include={*VERDICT_COLUMNS}) | {"path": place_of(name, root), "label": label}
            rows.append(row | {"name": name, "marks": format_annotation(map(shape_of, kept.marks))})
    return _exported(VERDICT_COLUMNS, rows, ("path", "name"), images, left_out)


def objects_csv(store: Store, sight: Sight = SEES_ALL) -> Exported:
    """The drawn foreign objects, a line a file: its path, and its objects as Object-CXR has them; none of a normal one.

    An image without a label has no line, and neither has one with a foreign object that nobody drew, since an empty
    field would call it normal.
    """
    rows: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    root, reasons = _root(store.folder), store.folder.reasons()
    for name, verdicts in store.verdicts.of_files(sight):
        label, drawn = label_of(verdicts, reasons), drawn_by(verdicts)
        if not label:
            left_out[_why_unlabelled(verdicts)] += 1
        elif label == CLASS_NAMES[AFFECTED] and drawn is None:
            left_out[_UNDRAWN] += 1
        else:
            marks = drawn.marks if drawn and label == CLASS_NAMES[AFFECTED] else ()
            annotation = format_annotation(map(shape_of, marks))
            rows.append({"image_name": place_of(name, root), "annotation": annotation})
    return _exported(OBJECT_COLUMNS, rows, ("image_name",), len(rows), left_out)


def export(
    folder: Path,
    *,
    labels: Path | None = None,
    objects: Path | None = None,
    database: str | None = None,
    force: bool = False,
) -> dict[Path, Exported]:
    """Write a folder's verdicts, see `verdicts_csv`, and drawn objects, see `objects_csv`; each file as a whole.

    Args:
        database: address of the PostgreSQL database that holds the folder's store, see `Store`.
        force: replace files that are there.

    Raises:
        UsageError: when the folder or a file cannot be used.
        NothingToDoError: when the folder has no verdicts.
    """
    screened = ScreenedFolder(folder)
    screened.info()
    if labels is not None and labels == objects:
        raise UsageError(f"{labels}: is named for the labels and for the objects; give each a file of its own")
    wanted = {path: make for path, make in ((labels, verdicts_csv), (objects, objects_csv)) if path is not None}
    for path in wanted:
        if path.exists() and not force:
            raise UsageError(f"{path}: is there already; give another name, or `force`")
    with Store(screened, None if database is None else reached(database)) as store:
        if not store.verdicts.standing():
            raise NothingToDoError(f"{folder}: has no verdicts yet; give some with 'cxrlens serve'")
        written = {path: make(store) for path, make in wanted.items()}
    for path, exported in written.items():
        with replacing(path, private=True) as partial:
            partial.write_bytes(exported.content)
    return written


def shape_of(mark: Mark) -> Shape:
    """A drawn object as annotations have it."""
    if mark.kind == "outline":
        return Polygon(mark.points)
    (ax, ay), (bx, by) = mark.points
    return Rectangle(min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))


def _why_unlabelled(verdicts: Sequence[KeptVerdict]) -> str:
    return _CONFLICT if resolved(verdicts) == "conflict" else _OTHER_REASON


def _root(folder: ScreenedFolder) -> Root:
    return root_of(folder.info().root)


def _exported(
    columns: Sequence[str], rows: Sequence[Mapping[str, Any]], paths: Sequence[str], images: int, left_out: Counter[str]
) -> Exported:
    content = to_csv(columns, rows, paths=paths).encode("utf-8", "surrogateescape")
    return Exported(content, images, dict(left_out))
