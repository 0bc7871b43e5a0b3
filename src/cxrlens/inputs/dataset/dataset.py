"""A data set folder that is read once: its splits with their images, labels and annotated objects."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cxrlens.errors import UsageError
from cxrlens.inputs.annotations.table import AnnotationTable, read_annotations
from cxrlens.inputs.dataset.layouts import (
    CLASS_NAMES,
    NORMAL,
    SPLIT_NAMES,
    Item,
    Split,
    load_folder,
    some,
    sorted_split,
    unsorted_split,
)
from cxrlens.inputs.dataset.manifest import MANIFEST, ManifestRow, find_manifest, read_manifest
from cxrlens.inputs.finding import list_images, require_folder
from cxrlens.inputs.matching import Differences, Disk, Doubt, Match, canonical, plain_path
from cxrlens.inputs.origin import FileOrigin

log = logging.getLogger(__name__)

_SCORED_SPLITS = ("test", "dev")


@dataclass(frozen=True)
class Dataset:
    """A data set folder, or a plain folder of images, as it was when each part of it was first asked for.

    The manifest, each CSV and each folder are read at most once, so that one command sees one state. See
    `cxrlens.inputs.dataset.layouts` for the layouts.

    Attributes:
        root: the folder.

    Raises:
        UsageError: when the folder does not exist.
    """

    root: Path
    _read: dict[str, Split] = field(default_factory=dict, init=False, repr=False, compare=False)
    _tables: dict[Path, AnnotationTable] = field(default_factory=dict, init=False, repr=False, compare=False)
    _disk: Disk = field(default_factory=Disk, init=False, repr=False, compare=False)
    _listed: dict[Path, list[Path]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_folder(self.root)

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that the folder holds, of train, dev and test; none in a plain folder of images."""
        if self._rows is not None:
            there = {row.split for row in self._rows}
            return tuple(name for name in SPLIT_NAMES if name in there)
        return tuple(name for name in SPLIT_NAMES if self._is_split(name))

    def split(self, name: str) -> Split:
        """The images of one split with label and objects.

        Images without a row, rows without an image, and rows that contradict the folder are reported in the split's
        remarks. Where the folder and the row disagree, the folder is the label.

        Raises:
            UsageError: when the split or, for an unsorted split, its CSV is missing, a class folder is empty, or a
                row cannot be parsed.
        """
        if name not in self._read:
            self._read[name] = self._load(name)
        return self._read[name]

    def scored_split(self, name: str | None = None) -> Split:
        """The split to score: the one asked for, else ``test``, else ``dev``; its remarks are logged.

        (Object-CXR's download has no test images.)

        Raises:
            UsageError: when there is none.
        """
        if name is None:
            name = next((name for name in _SCORED_SPLITS if name in self.splits), None)
            if name is None:
                holds = f"it holds {', '.join(self.splits)}" if self.splits else "it holds no split folder"
                raise UsageError(f"{self.root}: neither 'test' nor 'dev' is there ({holds}); name one with --split")
            if name == "dev":
                log.info("%s has no test images: 'dev' is taken", self.root)
        return log_remarks(self.split(name))

    def split_or_folder(self, name: str | None = None, annotations: Path | None = None) -> Split:
        """One split, see `scored_split`, or all images of a plain folder with an optional CSV; remarks are logged.

        Raises:
            UsageError: when a split of a plain folder or a CSV for a data set is asked for, or it cannot be read.
        """
        if self.splits:
            self.refuse(annotations)
            return self.scored_split(name)
        if name is not None:
            raise UsageError(f"{self.root}: holds none of train, dev and test, so --split cannot be used")
        return log_remarks(load_folder(self.root, annotations))

    def refuse(self, annotations: Path | None) -> None:
        """A data set brings its own CSVs.

        Raises:
            UsageError: when another is given.
        """
        if annotations is not None:
            raise UsageError(
                f"{self.root} is a data set, whose own CSVs are read: leave --annotations out, or give one of its "
                "folders"
            )

    def table(self, name: str) -> AnnotationTable | None:
        """The annotation CSV of a split, ``NAME.csv``; None without one.

        Raises:
            UsageError: when it cannot be read.
        """
        path = self.root / f"{name}.csv"
        if path not in self._tables and path.is_file():
            self._tables[path] = read_annotations(path)
        return self._tables.get(path)

    def images_in(self, folder: Path) -> list[Path]:
        """The images right in a folder, sorted.

        Raises:
            UsageError: when it cannot be searched.
        """
        if folder not in self._listed:
            self._listed[folder] = list_images(folder)
        return self._listed[folder]

    def is_sorted(self, name: str) -> bool:
        """True where a split has folders for its classes."""
        return any((self.root / name / class_name).is_dir() for class_name in CLASS_NAMES)

    @cached_property
    def _rows(self) -> list[ManifestRow] | None:
        manifest = find_manifest(self.root)
        return None if manifest is None else read_manifest(manifest, splits=SPLIT_NAMES, labels=CLASS_NAMES)

    def _is_split(self, name: str) -> bool:
        """True where ROOT/NAME is a split, and not some other folder that happens to be called "test"."""
        return (self.root / name).is_dir() and ((self.root / f"{name}.csv").is_file() or self.is_sorted(name))

    def _load(self, name: str) -> Split:
        folder = self.root / name
        if name not in self.splits and (self._rows is not None or not folder.is_dir()):
            there = f"it holds {', '.join(self.splits)}" if self.splits else "it holds none of train, dev and test"
            raise UsageError(f"{self.root}: there is no split '{name}' ({there}); see the README for the folder layout")
        if self._rows is not None:
            return _listed_split(name, self.root, self._rows, self._disk)
        table = self.table(name)
        if self.is_sorted(name):
            folders = [folder / class_name for class_name in CLASS_NAMES]
            per_class = {path: self.images_in(path) if path.is_dir() else [] for path in folders}
            return sorted_split(name, folder, per_class, table)
        if table is None:
            raise UsageError(
                f"{folder}: neither the folders 'affected' and 'normal' nor {name}.csv beside it were found; "
                "one of them must say which image is affected"
            )
        return unsorted_split(name, folder, self.images_in(folder), table)


def log_remarks(split: Split) -> Split:
    """Log what was odd about a split; gives the split back."""
    for remark in split.remarks:
        log.warning("%s", remark)
    return split


def _listed_split(name: str, root: Path, rows: list[ManifestRow], disk: Disk) -> Split:
    own = [row for row in rows if row.split == name]
    differences = Differences()
    items: list[Item] = []
    remarks: list[str] = []
    for row in own:
        label = CLASS_NAMES.index(row.label) if row.label else None
        path = _located(row.path, row, root, disk, differences, remarks)
        mask = _located(row.mask, row, root, disk, differences, remarks) if row.mask else None
        if mask is not None and not mask.is_file():
            remarks.append(f"{row.name}: its mask {mask} is missing; it counts as not annotated")
            mask = None
        if label == NORMAL and (row.annotation or mask):
            remarks.append(f"{row.name}: is labelled 'normal' but has objects; the label counts")
        known_free = label == NORMAL and not row.mask
        shapes = row.annotation if row.annotation or known_free else None
        digests = tuple(filter(None, (row.sha256, row.source_sha256)))
        items.append(Item(FileOrigin(path), label, shapes, mask, row.name, digests))
    remarks += differences.remarks(f"rows of {MANIFEST}")
    first: dict[Path, Item] = {}
    again = [(first[key], item) for item in items if first.setdefault(key := canonical(item.path), item) is not item]
    if again:
        other = sum(one.label != two.label for one, two in again)
        remarks.append(
            f"{name}: {len(again)} of its {len(items)} images are listed again"
            f"{f', {other} of them with another label' if other else ''}: {some([str(two.listed) for _, two in again])}"
        )
    for split in SPLIT_NAMES:
        there = {canonical(root / plain_path(row.path)) for row in rows if row.split == split}
        shared = [row.name for row, item in zip(own, items, strict=True) if canonical(item.path) in there]
        if shared and split != name:
            remarks.append(f"{name}: {len(shared)} of its {len(items)} images are in '{split}' too: {some(shared)}")
    return Split(name, tuple(items), tuple(remarks))


def _located(text: str, row: ManifestRow, root: Path, disk: Disk, differences: Differences, remarks: list[str]) -> Path:
    """The file that a row names; what is odd about the name is noted."""
    found = disk.find(text, root)
    if isinstance(found, Doubt):
        remarks.append(f"{row.name}: {text} could mean {found.files[0]} or {found.files[1]}; none is taken")
    if not isinstance(found, Match):
        return root / text
    differences.note(plain_path(text), found.difference, found.file.name)
    return found.file
