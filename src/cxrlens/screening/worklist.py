"""The tables that sum a screening up: worklist.csv and unreadable.txt."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cxrlens.files import printable, replacing, write_csv
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.roots import RemoteRoot, Root, place_of, text_of_root
from cxrlens.screening.store.results import ResultTable
from cxrlens.screening.store.store import Store

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
    "grid",
    "interpolation",
    "flip",
    "flat",
    "peak_x",
    "peak_y",
    "contours",
    "picture",
    "map",
    "key",
    "remarks",
    "doubts",
    "refusals",
)


@dataclass
class Counts:
    """Images of a worklist: of each triage, decision, status; with doubts.

    A model that is not calibrated gives no triage but "not_assessable".
    """

    images: int = 0
    retake: int = 0
    review: int = 0
    passed: int = 0
    affected: int = 0
    normal: int = 0
    not_assessable: int = 0
    unreadable: int = 0
    remarked: int = 0

    def add(self, status: str, decision: str | None, triage: str | None, images: int) -> None:
        """Count so many images of a kind; fewer than none takes them away."""
        self.images += images
        self.unreadable += images * (status == "unreadable")
        for name in filter(None, (decision, triage)):
            name = "passed" if name == "pass" else name
            setattr(self, name, getattr(self, name) + images)

    def as_dict(self) -> dict[str, int]:
        """By name, "pass" under its own."""
        return {"pass" if name == "passed" else name: value for name, value in vars(self).items()}


@dataclass(frozen=True)
class RankedWorklist:
    """The newest result of each name, in the order of the worklist, and how many there are.

    Attributes:
        left_out: names of folders that could not be searched, and can be now.
    """

    results: ResultTable
    counts: Counts
    left_out: frozenset[str]

    @classmethod
    def of(cls, results: ResultTable, root: Root) -> RankedWorklist:
        """The worklist as it is now; a folder that could not be searched has a row until it can be."""
        nameless = results.newest(status="unreadable", key="")
        left_out = frozenset(image.name for image in nameless if _is_searchable(image.name, root))
        counts = Counts(remarked=results.remarked())
        for kind in results.tally():
            counts.add(*kind)
        counts.add("unreadable", None, None, -len(left_out))
        return cls(results, counts, left_out)

    def images(self, *, only_unreadable: bool = False) -> Iterator[ScreenedImage]:
        """One after the other, read as they are asked for."""
        found = self.results.newest(**{"status": "unreadable"} if only_unreadable else {})
        return (image for image in found if image.name not in self.left_out)


def write_worklist(store: Store, root: Root, *, keep_tags: Sequence[str]) -> RankedWorklist:
    """Write ``worklist.csv`` and ``unreadable.txt`` (which is deleted where there is none), each as a whole.

    Args:
        keep_tags: further columns of the worklist, names of `TAGS`.
    """
    folder = store.folder
    worklist = RankedWorklist.of(store.results, root)
    columns = (*COLUMNS, *keep_tags)
    rows = (row(image) for image in worklist.images())
    write_csv(folder.worklist_file, columns, rows, paths=("name",), private=True)
    listed = folder.path / "unreadable.txt"
    if not worklist.counts.unreadable:
        listed.unlink(missing_ok=True)
        return worklist
    with replacing(listed, private=True) as partial, partial.open("w", encoding="utf-8", newline="\n") as stream:
        for image in worklist.images(only_unreadable=True):
            place = image.name if image.name.startswith("/") else f"{text_of_root(root)}/{image.name}"
            stream.write(printable(f"{place}: {image.reason}") + "\n")
    return worklist


def _is_searchable(name: str, root: Root) -> bool:
    if isinstance(root, RemoteRoot):  # which has rows of images alone
        return False
    path = place_of(name, root)
    return os.path.isdir(path) and os.access(path, os.R_OK | os.X_OK)  # noqa: PTH112 (whatever looking fails with)


def row(image: ScreenedImage) -> dict[str, Any]:
    """A record as a row of the worklist."""
    y, x = image.peak or (None, None)
    plain = image.model_dump(include=set(COLUMNS) - {"contours"})
    return {
        **plain,
        "remarks": " ".join(image.remarks),
        "doubts": " ".join(image.doubts),
        "refusals": " ".join(image.refusals),
        "flip": int(image.flip),
        "flat": int(image.flat),
        "peak_x": x,
        "peak_y": y,
        "contours": len(image.contours),
        **image.tags,
    }
