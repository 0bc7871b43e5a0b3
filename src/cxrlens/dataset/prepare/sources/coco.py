"""A COCO JSON of objects, or a folder with one for each split.

COCO counts x and y from the image's edge, we from the centre of its first pixel: half a pixel less. A box becomes a
rectangle, each polygon of a segmentation a polygon; what is given as run lengths counts as its box. An image without
an annotation is normal.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from cxrlens.dataset.prepare.lookup import find_images
from cxrlens.dataset.prepare.record import ClassNames, Found, Record, split_in
from cxrlens.dataset.prepare.tree import Tree
from cxrlens.errors import UsageError
from cxrlens.inputs.annotations.shapes import FARTHEST, Polygon, Rectangle, Shape
from cxrlens.inputs.dataset.layouts import AFFECTED, NORMAL
from cxrlens.inputs.dataset.manifest import safe_name
from cxrlens.inputs.finding import is_of_storage
from cxrlens.inputs.matching import plain_path
from cxrlens.validation import first_fault

_Id = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
"""A number and the same number as text are one id."""

_Number = Annotated[float, Field(ge=-FARTHEST, le=FARTHEST, allow_inf_nan=False)]
_Points = TypeAdapter(list[list[_Number]])


class _Image(BaseModel):
    id: _Id
    file_name: str
    height: int | None = None
    width: int | None = None


class _Annotation(BaseModel):
    image_id: _Id
    category_id: _Id | None = None
    bbox: list[_Number] | None = None
    segmentation: Any = None


class _Category(BaseModel):
    id: _Id
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
    records: list[Record] = []
    refused: list[str] = []
    remarks: list[str] = []
    for path, split in splits.items():
        found = _records(path, split, tree, names)
        records += found.records
        refused += found.refused
        remarks += found.remarks
    return Found(tuple(records), (*tree.refused, *refused), (*tree.remarks, *remarks))


def _files(folder: Path) -> list[Path]:
    found = [path for pattern in ("*.json", "*/*.json") for path in folder.glob(pattern)]
    return sorted(path for path in found if not path.name.startswith(".") and not is_of_storage(path.parent.name))


def _split(path: Path, source: Path) -> str:
    return split_in(path.stem) or (split_in(path.parent.name) if path != source and path.parent != source else "")


def _records(path: Path, split: str, tree: Tree, names: ClassNames) -> Found:
    data = _read(path)
    counted = _counted(data, names, path)
    per_image: dict[str, list[_Annotation]] = {image.id: [] for image in data.images}
    odd: Counter[str] = Counter()
    for annotation in data.annotations:
        if annotation.image_id not in per_image:
            odd["belong to no image of the file and are left out"] += 1
        elif counted is None or annotation.category_id in counted:
            per_image[annotation.image_id].append(annotation)
    beside = path.parent.relative_to(tree.root).as_posix() if path.parent.is_relative_to(tree.root) else "."
    texts = [image.file_name for image in data.images]
    named = find_images(tree, texts, table=path.name, beside="" if beside == "." else beside)
    records: list[Record | None] = []
    refused: list[str] = []
    for image, origin in zip(data.images, named.origins, strict=True):
        if isinstance(origin, str):
            refused.append(f"{image.file_name}: {origin} ({path.name})")
            records.append(None)
            continue
        shapes = [shape for annotation in per_image[image.id] for shape in _shapes(annotation, odd)]
        plain = plain_path(image.file_name)
        bare = safe_name(plain) or PurePosixPath(plain).name
        name = bare if bare.startswith(f"{split}/") or not split else f"{split}/{bare}"
        label = AFFECTED if per_image[image.id] else NORMAL
        stated = None if image.height is None or image.width is None else (image.height, image.width)
        records.append(Record(name, origin, split, label, tuple(shapes), stated=stated))
    taken: list[Record] = []
    again: list[str] = []
    for places in named.by_file():
        best = [place for place in places if named.quality(place) == named.quality(places[0])]
        found = [record for place in best if (record := records[place]) is not None]
        if named.is_doubtful(places) or not _agree(found):
            refused.append(
                f"{found[0].origin}: {path.name} lists it {len(found)} times, with different objects, sizes or "
                "names; keep one entry"
            )
            continue
        taken.append(found[0])
        again += [image.file_name for image in (data.images[place] for place in places[1:])]
    remarks = [f"{path.name}: {count} annotations {what}" for what, count in sorted(odd.items())]
    if again:
        remarks.append(f"{path.name}: {len(again)} entries list an image again and are left out, such as {again[0]}")
    return Found(tuple(taken), tuple(refused), (*named.remarks, *remarks))


def _agree(records: Sequence[Record]) -> bool:
    """True of entries that say the same of one image."""
    return len({(record.label, record.shapes, record.stated) for record in records}) == 1


def _read(path: Path) -> _Coco:
    try:
        content = path.read_bytes()
        data = _Coco.model_validate_json(content.decode(json.detect_encoding(content)).removeprefix("\ufeff"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}; check the path") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is no COCO JSON of objects: is not UTF-8 text ({error.reason})") from error
    except ValidationError as error:
        raise UsageError(f"{path}: is no COCO JSON of objects: {first_fault(error)}") from error
    names: dict[str, str] = {}
    for image in data.images:
        if names.setdefault(image.id, image.file_name) != image.file_name:
            raise UsageError(
                f"{path}: {names[image.id]} and {image.file_name} share the image id {image.id}, so that annotations "
                "cannot be told apart; give each image its own id"
            )
    return data


def _counted(data: _Coco, names: ClassNames, path: Path) -> set[str] | None:
    """The ids of the categories that count, None for all."""
    if names.normal:
        raise UsageError(f"{path}: in COCO an image without an annotation is normal; leave --normal out")
    if not names.affected:
        return None
    known = {category.name for category in data.categories}
    of_ids: dict[str, str] = {}
    for category in data.categories:
        if of_ids.setdefault(category.id, category.name) != category.name:
            raise UsageError(
                f"{path}: the categories '{of_ids[category.id]}' and '{category.name}' have the same id {category.id}; "
                "give each its own id"
            )
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
