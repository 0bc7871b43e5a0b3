"""The images of a data set with their rows, and what is wrong before any image is opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cxrlens.dataset.check.findings import Finding, Severity, new_kind
from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.inputs.annotations.table import AnnotationTable, MatchedRows, read_annotations
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.dataset.layouts import AFFECTED, CLASS_NAMES, NORMAL, Split, load_folder, match_rows, some
from cxrlens.inputs.finding import list_images
from cxrlens.inputs.matching import canonical
from cxrlens.inputs.origin import FileOrigin, Origin

UNUSABLE_SPLIT = new_kind(
    "unusable-split", Severity.problem, "Split that cannot be used", "The other commands refuse the split as it is."
)
BAD_ROW = new_kind(
    "bad-row",
    Severity.problem,
    "Row that cannot be read",
    "A row of the CSV is no file name and annotation; the other commands stop there.",
)
SECOND_ROW = new_kind("second-row", Severity.problem, "Second row for an image", "The last row of an image counts.")
ROW_WITHOUT_IMAGE = new_kind(
    "row-without-image", Severity.problem, "Row without an image", "No file of the split has the name of the row."
)
IMAGE_WITHOUT_ROW = new_kind(
    "image-without-row",
    Severity.problem,
    "Image without a row",
    "The split has a CSV without a row for this image, which is affected, or whose label the row should give.",
)
DOUBTFUL_NAME = new_kind(
    "doubtful-name",
    Severity.problem,
    "Row or image that others are as like",
    "A row's name fits several images, or several rows fit an image alike; none of them counts.",
)
LOOSE_NAME = new_kind(
    "loose-name",
    Severity.note,
    "Rows matched loosely",
    "Rows name their image in another letter case, Unicode form or folder, or with another ending.",
)
NORMAL_WITHOUT_ROW = new_kind(
    "normal-without-row",
    Severity.note,
    "Normal image without a row",
    "The split has a CSV without a row for this image, which lies in `normal`.",
)
CONTRADICTION = new_kind(
    "contradiction",
    Severity.problem,
    "Label and annotation contradict each other",
    "A normal image has annotated objects, or an affected one has an annotation without any.",
)
UNUSED_IMAGE = new_kind(
    "unused-image", Severity.note, "Image that belongs to no split", "A file below the folder that no split takes."
)
REMARK = new_kind("remark", Severity.note, "Remark", "What else was odd when the split was read.")


@dataclass(frozen=True)
class Contents:
    """The splits of a data set (or the one of a plain folder), and what was found on the way."""

    root: Path
    splits: tuple[Split, ...]
    findings: tuple[Finding, ...]

    @property
    def own(self) -> tuple[Split, ...]:
        """The splits, test without the images that dev lists too: dev is then offered as test."""
        dev = {_place(item.origin) for split in self.splits if split.name == "dev" for item in split.items}
        found = []
        for split in self.splits:
            items = tuple(item for item in split.items if split.name != "test" or _place(item.origin) not in dev)
            if items or not split.items:
                found.append(replace(split, items=items))
        return tuple(found)

    def name(self, origin: Origin) -> str:
        """An image in the findings: its place below the data set's folder."""
        return origin.below(self.root)


def _place(origin: Origin) -> Path | Origin:
    """The same for every spelling of a file's path; another kind of origin stands for itself."""
    return canonical(origin.path) if isinstance(origin, FileOrigin) else origin


def load_contents(data: Dataset, annotations: Path | None = None) -> Contents:
    """Read what a data set folder holds; what the other commands would stop at becomes a finding.

    Args:
        data: a data set with splits, or a plain folder of images (searched recursively).
        annotations: the CSV of a plain folder.

    Raises:
        UsageError: when the folder is missing, the CSV of a plain folder is, or a CSV is given for a data set.
        NothingToDoError: when there is no image.
    """
    root, names = data.root, data.splits
    if names:
        data.refuse(annotations)
    splits: list[Split] = []
    findings: list[Finding] = []
    for name in names:
        split, found = _read_split(data, name)
        splits.append(split)
        findings += found
    if not names:
        split, found = _read_folder(root, root, annotations)
        splits.append(split)
        findings += found
    if not any(split.items for split in splits):
        raise NothingToDoError(f"{root}: holds no images; check the path")
    for split in splits:
        findings += _contradictions(root, split)
    return Contents(root, tuple(splits), (*findings, *_unused(root, splits, findings)))


def _read_split(data: Dataset, name: str) -> tuple[Split, list[Finding]]:
    root, table_path = data.root, data.root / f"{name}.csv"
    try:
        split = data.split(name)
    except UsageError as error:
        if not (root / name).is_dir():  # listed elsewhere: there is nothing to go on with
            raise
        try:
            split, findings = _read_folder(root, root / name, table_path if table_path.is_file() else None)
        except NothingToDoError:
            split, findings = Split(name, ()), []
        except UsageError as unreadable:  # the CSV as a whole
            return load_folder(root / name), [Finding(UNUSABLE_SPLIT, str(unreadable))]
        if not any(finding.kind is BAD_ROW for finding in findings):
            findings.insert(0, Finding(UNUSABLE_SPLIT, str(error)))
        return split, findings
    if (table := data.table(name)) is not None:
        paths = [item.path for item in split.items] if data.is_sorted(name) else data.images_in(root / name)
        return split, list(_compare(root, split, paths, table, match_rows(table, root / name, paths)))
    return split, [Finding(REMARK, remark) for remark in split.remarks]


def _read_folder(root: Path, folder: Path, annotations: Path | None) -> tuple[Split, list[Finding]]:
    """All images below a folder, in whatever order they lie, with the rows that can be read."""
    split = load_folder(folder)
    remarks = [Finding(REMARK, remark) for remark in split.remarks]
    if annotations is None:
        return split, remarks
    table = read_annotations(annotations, with_faults=True)
    rows = match_rows(table, folder, [item.path for item in split.items])
    items = []
    for item in split.items:
        shapes = rows.shapes_of(item.path)
        by_row = item.label if shapes is None else AFFECTED if shapes else NORMAL
        items.append(replace(item, shapes=shapes, label=by_row if item.label is None else item.label))
    split = replace(split, items=tuple(items))
    found = _compare(root, split, [item.path for item in items], table, rows)
    return split, [*remarks, *(Finding(BAD_ROW, fault.reason) for fault in table.faults), *found]


def _compare(
    root: Path, split: Split, paths: list[Path], table: AnnotationTable, rows: MatchedRows
) -> Iterator[Finding]:
    """Hold the images, those that were taken and those that would be with a row, against the rows of the CSV."""
    name = table.path.name
    labels = {item.path: item.label for item in split.items}
    yield from (Finding(SECOND_ROW, remark) for remark in (*table.remarks, *rows.repeated))
    for row in rows.without_image:
        yield Finding(ROW_WITHOUT_IMAGE, f"{name}: there is no image {row} in '{split.name}'")
    yield from (Finding(DOUBTFUL_NAME, doubt) for doubt in rows.doubts)
    yield from (Finding(LOOSE_NAME, f"{split.name}: {difference}") for difference in rows.differences)
    for path in paths:
        if path not in rows.rows and path not in rows.faulty:
            without = NORMAL_WITHOUT_ROW if labels.get(path) == NORMAL else IMAGE_WITHOUT_ROW
            image = FileOrigin(path).below(root)
            yield Finding(without, f"{image}: has no row in {name}", (image,))


def _contradictions(root: Path, split: Split) -> Iterator[Finding]:
    for item in split.items:
        annotated = item.shapes is not None or item.mask is not None
        if annotated and item.label is not None and item.has_object != (item.label == AFFECTED):
            image = item.origin.below(root)
            says = "objects" if item.has_object else "no object"
            message = f"{image}: is labelled '{CLASS_NAMES[item.label]}', but its annotation has {says}"
            yield Finding(CONTRADICTION, message, (image,), item.shapes or ())


def _unused(root: Path, splits: list[Split], findings: list[Finding]) -> list[Finding]:
    """Images below the root that no split took and no finding names; those in hidden folders do not count."""
    known = {canonical(item.path) for split in splits for item in split.items}
    named = {image for finding in findings for image in finding.images}
    unused = [
        name
        for path in list_images(root, recursive=True)
        if canonical(path) not in known
        and (name := FileOrigin(path).below(root)) not in named
        and not any(part.startswith(".") for part in Path(name).parts)
    ]
    if not unused:
        return []
    verb = "belongs" if len(unused) == 1 else "belong"
    return [Finding(UNUSED_IMAGE, f"{some(unused)} {verb} to no split", tuple(unused))]
