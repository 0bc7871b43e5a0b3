"""The kinds of source that can be prepared, and how one is told from another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cxrlens.dataset.prepare.record import ClassNames, Found
from cxrlens.dataset.prepare.sources import coco, csv_table, image_folder, mask_folder, object_cxr
from cxrlens.dataset.prepare.tree import Tree
from cxrlens.errors import UsageError


@dataclass(frozen=True)
class SourceKind:
    """A kind of source.

    Attributes:
        id: its name on the command line.
        title: what it is.
        applies: whether a source (a folder or a file) looks like this kind.
        scan: lists its images.
    """

    id: str
    title: str
    applies: Callable[[Path, Tree], bool]
    scan: Callable[[Path, Tree, ClassNames], Found]


KINDS = {
    kind.id: kind
    for kind in (
        SourceKind("csv", "a CSV with a row for each image, or a prepared data set", csv_table.applies, csv_table.scan),
        SourceKind(
            "object-cxr",
            "train.zip or train/ with train.csv, or with affected/ and normal/ (dev and test alike)",
            object_cxr.applies,
            object_cxr.scan,
        ),
        SourceKind(
            "masks", "images with mask images beside them or in a folder 'masks'", mask_folder.applies, mask_folder.scan
        ),
        SourceKind(
            "image-folder",
            "a folder for each class, perhaps within a folder for each split",
            image_folder.applies,
            image_folder.scan,
        ),
        SourceKind("coco", "a COCO JSON, or a folder with one for each split", coco.applies, coco.scan),
    )
}


def detect_kind(source: Path, tree: Tree) -> SourceKind:
    """The first kind that a source looks like.

    Raises:
        UsageError: when it looks like none.
    """
    for kind in KINDS.values():
        if kind.applies(source, tree):
            return kind
    if source.suffix.lower() == ".zip":
        raise UsageError(f"{source}: is one archive; give the folder in which it lies with its CSV")
    known = "; ".join(kind.title for kind in KINDS.values())
    raise UsageError(f"{source}: is none of the sources that are known ({known}); see docs/data.md")
