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
from cxrlens.inputs.annotations.table import AnnotationTable, MatchedRows, read_annotations
from cxrlens.inputs.finding import list_images, require_folder
from cxrlens.inputs.origin import FileOrigin, Origin
from cxrlens.inputs.readers import IMAGE_SUFFIXES
from cxrlens.wording import counted

NORMAL, AFFECTED = 0, 1
CLASS_NAMES = ("normal", "affected")
SPLIT_NAMES = ("train", "dev", "test")


@dataclass(frozen=True)
class Item:
    """One image of a data set.

    Attributes:
        origin: where it comes from.
        label: `AFFECTED`, `NORMAL`, or None where nothing says.
        shapes: the annotated objects in pixels of the stored image; empty = annotated as free of objects;
            None = not annotated.
        mask: an image of the same size in which the objects are not black; beside the shapes or in their place.
        listed: the name that a manifest gives the image.
        digests: SHA-256 of the file, and of the one that it was made from, where a manifest says them.
    """

    origin: Origin
    label: int | None = None
    shapes: tuple[Shape, ...] | None = None
    mask: Path | None = None
    listed: str | None = None
    digests: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The file of an image that is one."""
        assert isinstance(self.origin, FileOrigin), f"{self.origin} is no file"
        return self.origin.path

    @property
    def name(self) -> str:
        """The bare name, without its folders."""
        return self.origin.place.name

    @property
    def has_object(self) -> bool:
        """True where an object is annotated, by a shape or a mask."""
        return bool(self.shapes) or self.mask is not None

    def name_in(self, root: Path) -> str:
        """The image's name in tables and result files: the manifest's, or its path below the data set's folder."""
        return self.listed or self.origin.below(root)


@dataclass(frozen=True)
class Split:
    """The images of one split, and what was odd about them, each as one sentence."""

    name: str
    items: tuple[Item, ...]
    remarks: tuple[str, ...] = ()

    @property
    def labelled(self) -> list[Item]:
        """The items that have a label."""
        return [item for item in self.items if item.label is not None]

    def counts(self) -> dict[str, int]:
        """Number of images per class name."""
        return {name: sum(item.label == index for item in self.items) for index, name in enumerate(CLASS_NAMES)}


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
    rows = match_rows(table, folder, paths)
    items = []
    for path in paths:
        shapes = rows.shapes_of(path)
        label = _folder_label(path)
        if label is None and shapes is not None:
            label = AFFECTED if shapes else NORMAL
        items.append(Item(FileOrigin(path), label, shapes))
    return Split(folder.name, tuple(items), _remarks(folder.name, paths, table, rows))


def sorted_split(
    name: str, root: Path, per_class: Mapping[Path, Sequence[Path]], table: AnnotationTable | None
) -> Split:
    """A split whose images are sorted by class.

    Args:
        root: the split's folder.
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
    rows = match_rows(table, root, all_paths)
    for label, paths in enumerate(per_class.values()):
        for path in paths:
            shapes = rows.shapes_of(path)
            if shapes is not None and bool(shapes) != (label == AFFECTED):
                says = "objects" if shapes else "no object"
                remarks.append(f"{path.name}: lies in '{CLASS_NAMES[label]}' but its row has {says}; the folder counts")
            items.append(Item(FileOrigin(path), label, shapes))
    return Split(name, tuple(items), (*_remarks(name, all_paths, table, rows), *remarks))


def unsorted_split(name: str, folder: Path, paths: Sequence[Path], table: AnnotationTable) -> Split:
    """A split whose labels follow from the annotation.

    Raises:
        UsageError: when it has no image, or no image has a row.
    """
    if not paths:
        raise UsageError(f"{folder}: holds no images; put the images of '{name}' there")
    rows = match_rows(table, folder, paths)
    items = [
        Item(FileOrigin(path), AFFECTED if row.shapes else NORMAL, row.shapes)
        for path in paths
        if (row := rows.rows.get(path))
    ]
    if not items:
        raise UsageError(f"{table.path}: no row names an image in {folder}; is this the CSV of these images?")
    return Split(name, tuple(items), _remarks(name, paths, table, rows))


def match_rows(table: AnnotationTable | None, root: Path, paths: Iterable[Path]) -> MatchedRows:
    """The rows of the images below a folder; none without a table. Rows need not name the folders of classes."""
    return MatchedRows({}) if table is None else table.match(root, paths, silent=CLASS_NAMES)


def _remarks(name: str, paths: Iterable[Path], table: AnnotationTable | None, rows: MatchedRows) -> tuple[str, ...]:
    if table is None:
        return ()
    without_row = [path.name for path in paths if path not in rows.rows]
    remarks = [*table.remarks, *rows.repeated]
    if without_row:
        remarks.append(
            f"{name}: {counted(len(without_row), 'image has', 'images have')} no row in {table.path.name}: "
            f"{some(without_row)}"
        )
    if rows.without_image:
        remarks.append(
            f"{name}: {counted(len(rows.without_image), 'row')} of {table.path.name} "
            f"{'has' if len(rows.without_image) == 1 else 'have'} no image: {some(rows.without_image)}"
        )
    if rows.doubts:
        more = f" (and {len(rows.doubts) - 1} more such doubts)" if len(rows.doubts) > 1 else ""
        remarks.append(f"{name}: {rows.doubts[0]}{more}")
    return (*remarks, *(f"{name}: {difference}" for difference in rows.differences))


def _folder_label(path: Path) -> int | None:
    name = path.parent.name.lower()
    return CLASS_NAMES.index(name) if name in CLASS_NAMES else None


def some(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
