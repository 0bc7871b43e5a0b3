"""The tables that sum a screening up: worklist.csv and unreadable.txt."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrlens.files import replacing, write_csv
from cxrlens.inputs.names import path_of, text_of
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage, worklist_key
from cxrlens.screening.tags import KEPT_TAGS

COLUMNS = (
    "name",
    "status",
    "triage",
    "decision",
    "probability",
    "reason",
    "origin",
    "height",
    "width",
    "method",
    "layers",
    "flat",
    "peak_x",
    "peak_y",
    "contours",
    "picture",
    "map",
    "key",
)

_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""What a spreadsheet may take for the beginning of a formula."""


@dataclass
class Counts:
    """Images of a worklist: of each triage (none by a model that is not calibrated), decision and status."""

    images: int = 0
    retake: int = 0
    review: int = 0
    passed: int = 0
    affected: int = 0
    normal: int = 0
    unreadable: int = 0

    def add(self, image: ScreenedImage) -> None:
        self.images += 1
        self.retake += image.triage == "retake"
        self.review += image.triage == "review"
        self.passed += image.triage == "pass"
        self.affected += image.decision == "affected"
        self.normal += image.decision == "normal"
        self.unreadable += image.status == "unreadable"

    def as_dict(self) -> dict[str, int]:
        """By name, "pass" under its own."""
        return {"pass" if name == "passed" else name: value for name, value in vars(self).items()}


@dataclass(frozen=True)
class Worklist:
    """The newest result of each name: where its line begins, in the order of the worklist, and how many there are."""

    folder: ScreenedFolder
    begins: tuple[int, ...]
    counts: Counts

    @classmethod
    def of(cls, folder: ScreenedFolder, root: Path) -> Worklist:
        """Sort the results of a folder, of which no more than name and probability are in memory.

        A folder that could not be searched has a row until it can be.
        """
        newest = {
            image.name: (begin, image.probability)
            for begin, image in folder.lines()
            if image.status == "ok" or image.key or not _is_searchable(path_of(image.name, root))
        }
        ordered = sorted(newest, key=lambda name: worklist_key(name, newest[name][1]))
        worklist = cls(folder, tuple(newest[name][0] for name in ordered), Counts())
        for image in worklist.images():
            worklist.counts.add(image)
        return worklist

    def images(self) -> Iterator[ScreenedImage]:
        """One after the other, read from the disk."""
        return map(self.folder.result_at, self.begins)


def write_worklist(folder: ScreenedFolder, root: Path, *, keep_tags: bool) -> Worklist:
    """Write ``worklist.csv`` and ``unreadable.txt`` (which is deleted where there is none), each as a whole."""
    worklist = Worklist.of(folder, root)
    columns = (*COLUMNS, *KEPT_TAGS) if keep_tags else COLUMNS
    write_csv(folder.worklist_file, columns, (row(image) for image in worklist.images()))
    listed = folder.path / "unreadable.txt"
    if not worklist.counts.unreadable:
        listed.unlink(missing_ok=True)
        return worklist
    with replacing(listed) as partial, partial.open("w", encoding="utf-8", newline="\n") as stream:
        for image in worklist.images():
            if image.status == "unreadable":
                place = image.name if image.name.startswith("/") else f"{text_of(root)}/{image.name}"
                stream.write(f"{place}: {image.reason}".replace("\n", "\\n") + "\n")
    return worklist


def _is_searchable(path: Path) -> bool:
    return os.path.isdir(path) and os.access(path, os.R_OK | os.X_OK)  # noqa: PTH112 (whatever looking fails with)


def row(image: ScreenedImage) -> dict[str, Any]:
    """A record as a row of the worklist."""
    y, x = image.peak or (None, None)
    plain = image.model_dump(include=set(COLUMNS) - {"contours"})
    return {
        **plain,
        "name": name_cell(image.name),
        "reason": _as_text(image.reason),
        "origin": _as_text(image.origin),
        "flat": int(image.flat),
        "peak_x": x,
        "peak_y": y,
        "contours": len(image.contours),
        **{name: _as_text(value) for name, value in image.tags.items()},
    }


def name_cell(name: str) -> str:
    """A name as a CSV has it: one that a spreadsheet would take for a formula begins with "./", the same path."""
    return f"./{name}" if name.startswith(_FORMULA) else name


def _as_text(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
