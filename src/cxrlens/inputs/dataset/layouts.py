"""Find the images, labels and annotated objects of a data set in the layouts people have.

A folder with a manifest (`cxrlens.inputs.dataset.manifest`) is a prepared data set, and the manifest says it all.
Else two layouts are known, and every split may use either::

    ROOT/train/affected/*.jpg  ROOT/train/normal/*.jpg  [ROOT/train.csv]     labels are the folders
    ROOT/train/*.jpg                                     ROOT/train.csv      labels follow from the annotation
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.inputs.annotations.shapes import Shape
from cxrlens.inputs.annotations.table import AnnotationTable, read_annotations
from cxrlens.inputs.dataset.manifest import ManifestRow, find_manifest, read_manifest
from cxrlens.inputs.finding import walk_images
from cxrlens.inputs.readers import IMAGE_SUFFIXES

NORMAL, AFFECTED = 0, 1
CLASS_NAMES = ("normal", "affected")
SPLIT_NAMES = ("train", "dev", "test")


@dataclass(frozen=True)
class Item:
    """One image of a data set.

    Attributes:
        path: the file.
        label: `AFFECTED`, `NORMAL`, or None where nothing says.
        shapes: the annotated objects in pixels of the stored image; empty = annotated as free of objects;
            None = not annotated.
        mask: an image of the same size in which the objects are not black; beside the shapes or in their place.
        listed: the name that a manifest gives the image.
        digests: SHA-256 of the file, and of the one that it was made from, where a manifest says them.
    """

    path: Path
    label: int | None = None
    shapes: tuple[Shape, ...] | None = None
    mask: Path | None = None
    listed: str | None = None
    digests: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def has_object(self) -> bool:
        """Whether an object is annotated, by a shape or a mask."""
        return bool(self.shapes) or self.mask is not None

    def name_in(self, root: Path) -> str:
        """The image's name in tables and result files: the manifest's, or its path below the data set's folder."""
        return self.listed or self.path.relative_to(root).as_posix()


@dataclass(frozen=True)
class Split:
    """The images of one split, and what was odd about them, each as one sentence."""

    name: str
    items: tuple[Item, ...]
    remarks: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Number of images per class name."""
        return {name: sum(item.label == index for item in self.items) for index, name in enumerate(CLASS_NAMES)}


def list_images(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The images in a folder, as `walk_images` finds them; sorted.

    Raises:
        UsageError: when the folder itself cannot be searched.
    """
    return sorted(walk_images(folder, recursive=recursive))


def require_folder(path: Path) -> Path:
    """The path itself when it is a folder.

    Raises:
        UsageError: when it does not exist or is a file.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such folder; check the path")
    if not path.is_dir():
        raise UsageError(f"{path}: this is a file, a folder is needed")
    return path


def find_splits(root: Path) -> list[str]:
    """Names of the splits that a data set folder holds, of train, dev and test.

    Raises:
        UsageError: when the folder does not exist.
    """
    manifest = find_manifest(require_folder(root))
    if manifest is not None:
        there = {row.split for row in _rows(manifest)}
        return [name for name in SPLIT_NAMES if name in there]
    return [name for name in SPLIT_NAMES if _is_split(root, name)]


def load_split(root: Path, name: str) -> Split:
    """The images of one split with label and objects; see the top of this file for the layouts.

    Images without a row, rows without an image, and rows that contradict the folder are reported in the split's
    remarks. Where the folder and the row disagree, the folder is the label.

    Raises:
        UsageError: when the split or, for an unsorted split, its CSV is missing, a class folder is empty, or a
            row cannot be parsed.
    """
    folder = require_folder(root) / name
    manifest = find_manifest(root)
    if name not in find_splits(root) and (manifest is not None or not folder.is_dir()):
        known = find_splits(root)
        there = f"it holds {', '.join(known)}" if known else "it holds none of train, dev and test"
        raise UsageError(f"{root}: there is no split '{name}' ({there}); see the README for the folder layout")
    if manifest is not None:
        return _listed_split(name, manifest)
    table_path = root / f"{name}.csv"
    table = read_annotations(table_path) if table_path.is_file() else None
    class_folders = [folder / class_name for class_name in CLASS_NAMES]
    if any(path.is_dir() for path in class_folders):
        return sorted_split(name, {path: list_images(path) if path.is_dir() else [] for path in class_folders}, table)
    if table is None:
        raise UsageError(
            f"{folder}: neither the folders 'affected' and 'normal' nor {table_path.name} beside it were found; "
            "one of them must say which image is affected"
        )
    return unsorted_split(name, folder, list_images(folder), table)


def _is_split(root: Path, name: str) -> bool:
    """Whether ROOT/NAME is a split, and not some other folder that happens to be called "test"."""
    folder = root / name
    if not folder.is_dir():
        return False
    return (root / f"{name}.csv").is_file() or any((folder / class_name).is_dir() for class_name in CLASS_NAMES)


def load_folder(folder: Path, annotations: Path | None = None) -> Split:
    """A plain folder of images (searched recursively), with the rows of an annotation CSV where one is given.

    Raises:
        NothingToDoError: when the folder holds no image.
        UsageError: when the folder or the CSV is missing or cannot be read.
    """
    paths = list_images(require_folder(folder), recursive=True)
    if not paths:
        raise NothingToDoError(f"{folder}: holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    table = read_annotations(annotations) if annotations else None
    rows = _matched_rows(paths, table)
    items = []
    for path in paths:
        shapes = table.shapes[rows[path]] if table and path in rows else None
        label = _folder_label(path)
        if label is None and shapes is not None:
            label = AFFECTED if shapes else NORMAL
        items.append(Item(path, label, shapes))
    return Split(folder.name, tuple(items), _remarks(folder.name, paths, table, rows))


def sorted_split(name: str, per_class: Mapping[Path, Sequence[Path]], table: AnnotationTable | None) -> Split:
    """A split whose images are sorted by class.

    Args:
        per_class: the images of each class by their folder, in the order of `CLASS_NAMES`.
        table: their objects.

    Raises:
        UsageError: when a class has no image.
    """
    items: list[Item] = []
    remarks: list[str] = []
    all_paths: list[Path] = []
    for folder, paths in per_class.items():
        if not paths:
            raise UsageError(f"{folder}: holds no images; put the {folder.name} images of '{name}' there")
        all_paths += paths
    rows = _matched_rows(all_paths, table)
    for label, paths in enumerate(per_class.values()):
        for path in paths:
            shapes = table.shapes[rows[path]] if table and path in rows else None
            if shapes is not None and bool(shapes) != (label == AFFECTED):
                says = "objects" if shapes else "no object"
                remarks.append(f"{path.name}: lies in '{CLASS_NAMES[label]}' but its row has {says}; the folder counts")
            items.append(Item(path, label, shapes))
    return Split(name, tuple(items), (*_remarks(name, all_paths, table, rows), *remarks))


def unsorted_split(name: str, folder: Path, paths: Sequence[Path], table: AnnotationTable) -> Split:
    """A split whose labels follow from the annotation.

    Raises:
        UsageError: when it has no image, or no image has a row.
    """
    if not paths:
        raise UsageError(f"{folder}: holds no images; put the images of '{name}' there")
    rows = _matched_rows(paths, table)
    items = [
        Item(path, AFFECTED if table.shapes[rows[path]] else NORMAL, table.shapes[rows[path]])
        for path in paths
        if path in rows
    ]
    if not items:
        raise UsageError(f"{table.path}: no row names an image in {folder}; is this the CSV of these images?")
    return Split(name, tuple(items), _remarks(name, paths, table, rows))


def _rows(manifest: Path) -> list[ManifestRow]:
    return read_manifest(manifest, splits=SPLIT_NAMES, labels=CLASS_NAMES)


def _listed_split(name: str, manifest: Path) -> Split:
    rows = _rows(manifest)
    own = [row for row in rows if row.split == name]
    items: list[Item] = []
    remarks: list[str] = []
    for row in own:
        label = CLASS_NAMES.index(row.label) if row.label else None
        mask = manifest.parent / row.mask if row.mask else None
        if mask is not None and not mask.is_file():
            remarks.append(f"{row.name}: its mask {mask} is missing; it counts as not annotated")
            mask = None
        if label == NORMAL and (row.annotation or mask):
            remarks.append(f"{row.name}: is labelled 'normal' but has objects; the label counts")
        known_free = label == NORMAL and not row.mask
        shapes = row.annotation if row.annotation or known_free else None
        digests = tuple(filter(None, (row.sha256, row.source_sha256)))
        items.append(Item(manifest.parent / row.path, label, shapes, mask, row.name, digests))
    for other in SPLIT_NAMES:
        there = {row.path for row in rows if row.split == other}
        shared = [row.name for row in own if row.path in there]
        if shared and other != name:
            remarks.append(f"{name}: {len(shared)} of its {len(items)} images are in '{other}' too: {some(shared)}")
    return Split(name, tuple(items), tuple(remarks))


def _matched_rows(paths: Iterable[Path], table: AnnotationTable | None) -> dict[Path, str]:
    if table is None:
        return {}
    matched = {path: table.find(path) for path in paths}
    return {path: row for path, row in matched.items() if row is not None}


def _remarks(
    name: str, paths: Iterable[Path], table: AnnotationTable | None, rows: Mapping[Path, str]
) -> tuple[str, ...]:
    if table is None:
        return ()
    without_row = [path.name for path in paths if path not in rows]
    without_image = sorted(set(table.shapes) - set(rows.values()))
    remarks = list(table.remarks)
    if without_row:
        remarks.append(f"{name}: {len(without_row)} images have no row in {table.path.name}: {some(without_row)}")
    if without_image:
        remarks.append(f"{name}: {len(without_image)} rows of {table.path.name} have no image: {some(without_image)}")
    return tuple(remarks)


def _folder_label(path: Path) -> int | None:
    name = path.parent.name.lower()
    return CLASS_NAMES.index(name) if name in CLASS_NAMES else None


def some(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
