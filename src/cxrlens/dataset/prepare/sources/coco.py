"""A COCO JSON of objects, or a folder with one for each split.

COCO counts x and y from the image's edge, we from the centre of its first pixel: half a pixel less. A box becomes a
rectangle, each polygon of a segmentation a polygon; what is given as run lengths counts as its box. An image without
an annotation is normal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, FiniteFloat, TypeAdapter, ValidationError

from cxrlens.dataset.prepare.lookup import Lookup
from cxrlens.dataset.prepare.record import ClassNames, Found, Record, split_in
from cxrlens.dataset.prepare.tree import Tree
from cxrlens.errors import UsageError
from cxrlens.inputs.annotations.shapes import Polygon, Rectangle, Shape
from cxrlens.inputs.dataset.layouts import AFFECTED, NORMAL
from cxrlens.inputs.dataset.manifest import safe_name

_Points = TypeAdapter(list[list[FiniteFloat]])


class _Image(BaseModel):
    id: int | str
    file_name: str
    height: int | None = None
    width: int | None = None


class _Annotation(BaseModel):
    image_id: int | str
    category_id: int | str | None = None
    bbox: list[FiniteFloat] | None = None
    segmentation: Any = None


class _Category(BaseModel):
    id: int | str
    name: str


class _Coco(BaseModel):
    images: list[_Image]
    annotations: list[_Annotation] = []
    categories: list[_Category] = []


def applies(source: Path, _tree: Tree) -> bool:
    """True for a JSON, or a folder with one at its top or in a folder of it."""
    return source.suffix.lower() == ".json" if source.is_file() else bool(_files(source))


def scan(source: Path, tree: Tree, names: ClassNames) -> Found:
    """The images of all files.

    Args:
        names: ``affected`` names the categories that count; by default all.

    Raises:
        UsageError: when a file is no COCO JSON, or it cannot be told which split it is.
    """
    files = [source] if source.is_file() else _files(source)
    if not files:
        raise UsageError(f"{source}: holds no JSON; give a COCO JSON, or a folder with one for each split")
    splits = {path: _split(path, source) for path in files}
    unclear = [path for path, split in splits.items() if not split]
    if len(files) > 1 and unclear:
        raise UsageError(
            f"{unclear[0]}: its name speaks of neither train, dev (val) nor test; rename it, or give one JSON alone"
        )
    lookup = Lookup(tree)
    records: list[Record] = []
    refused: list[str] = []
    remarks: list[str] = []
    for path, split in splits.items():
        found = _records(path, split, lookup, tree, names)
        records += found.records
        refused += found.refused
        remarks += found.remarks
    return Found(tuple(records), (*tree.refused, *refused), (*tree.remarks, *remarks))


def _files(folder: Path) -> list[Path]:
    found = [path for pattern in ("*.json", "*/*.json") for path in folder.glob(pattern)]
    return sorted(path for path in found if not path.name.startswith("."))


def _split(path: Path, source: Path) -> str:
    return split_in(path.stem) or (split_in(path.parent.name) if path != source and path.parent != source else "")


def _records(path: Path, split: str, lookup: Lookup, tree: Tree, names: ClassNames) -> Found:
    data = _read(path)
    counted = _counted(data, names, path)
    per_image: dict[int | str, list[_Annotation]] = {image.id: [] for image in data.images}
    odd: Counter[str] = Counter()
    for annotation in data.annotations:
        if annotation.image_id not in per_image:
            odd["belong to no image of the file and are left out"] += 1
        elif counted is None or annotation.category_id in counted:
            per_image[annotation.image_id].append(annotation)
    beside = path.parent.relative_to(tree.root).as_posix() if path.parent.is_relative_to(tree.root) else "."
    records: list[Record] = []
    refused: list[str] = []
    for image in data.images:
        origin = lookup.find(image.file_name, beside="" if beside == "." else beside)
        if isinstance(origin, str):
            refused.append(f"{image.file_name}: {origin} ({path.name})")
            continue
        shapes = [shape for annotation in per_image[image.id] for shape in _shapes(annotation, odd)]
        bare = safe_name(image.file_name) or PurePosixPath(image.file_name.replace("\\", "/")).name
        name = bare if bare.startswith(f"{split}/") or not split else f"{split}/{bare}"
        label = AFFECTED if per_image[image.id] else NORMAL
        stated = None if image.height is None or image.width is None else (image.height, image.width)
        records.append(Record(name, origin, split, label, tuple(shapes), stated=stated))
    remarks = [f"{path.name}: {count} annotations {what}" for what, count in sorted(odd.items())]
    return Found(tuple(records), tuple(refused), tuple(remarks))


def _read(path: Path) -> _Coco:
    try:
        return _Coco.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}; check the path") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(f"{path}: is no COCO JSON of objects: {place}: {first['msg']}") from error


def _counted(data: _Coco, names: ClassNames, path: Path) -> set[int | str] | None:
    """The ids of the categories that count, None for all."""
    if names.normal:
        raise UsageError(f"{path}: in COCO an image without an annotation is normal; leave --normal out")
    if not names.affected:
        return None
    known = {category.name for category in data.categories}
    for name in names.affected:
        if name not in known:
            raise UsageError(f"{path}: has no category '{name}'; its categories are {', '.join(sorted(known))}")
    return {category.id for category in data.categories if category.name in names.affected}


def _shapes(annotation: _Annotation, odd: Counter[str]) -> Sequence[Shape]:
    if isinstance(annotation.segmentation, list) and annotation.segmentation:
        try:
            polygons = _Points.validate_python(annotation.segmentation)
        except ValidationError:
            polygons = []
        if polygons and all(len(numbers) >= 6 and len(numbers) % 2 == 0 for numbers in polygons):
            return [_polygon(numbers) for numbers in polygons]
        odd["have a polygon that cannot be used and count as their box"] += 1
    elif isinstance(annotation.segmentation, dict):
        odd["are given as run lengths and count as their box"] += 1
    if annotation.bbox is None or len(annotation.bbox) != 4:
        odd["have no box: their image is affected, but where is not known"] += 1
        return []
    x, y, width, height = annotation.bbox
    (x1, x2), (y1, y2) = sorted((x, x + width)), sorted((y, y + height))
    return [Rectangle(x1 - 0.5, y1 - 0.5, x2 - 0.5, y2 - 0.5)]


def _polygon(numbers: Sequence[float]) -> Polygon:
    return Polygon(tuple((x - 0.5, y - 0.5) for x, y in zip(numbers[::2], numbers[1::2], strict=True)))
