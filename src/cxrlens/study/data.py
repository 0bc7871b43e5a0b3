"""The images of a study."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.dataset.layouts import AFFECTED, Item, Split
from cxrlens.inputs.readers import open_regular
from cxrlens.study.object_kinds import kinds_of
from cxrlens.study.plan import Kinds, StudyPlan, digest


@dataclass(frozen=True)
class StudyData:
    """The images of a study.

    Attributes:
        root: the data set folder.
        split: the name of the scored split.
        annotated: images with objects.
        normal: images without.
        train: images whose objects make the mean-annotation baseline.
        digest: of all of it but the kinds, contents included.
        kinds: of the objects that each of the annotated images shows; empty where the plan names no table of them.
    """

    root: Path
    split: str
    annotated: tuple[Item, ...]
    normal: tuple[Item, ...]
    train: tuple[Item, ...]
    digest: str
    kinds: tuple[frozenset[str], ...] = ()

    @classmethod
    def of(cls, root: Path, split: Split, train: Split | None, kinds: Kinds | None = None) -> StudyData:
        """Affected images without an annotation are left out: where their objects lie is not known.

        Raises:
            UsageError: when the table of kinds cannot be read, or means none of the images.
        """
        annotated = tuple(item for item in split.items if item.has_object)
        normal = tuple(item for item in split.items if not item.has_object and item.label != AFFECTED)
        objects = () if train is None else tuple(item for item in train.items if item.has_object)
        contents = (_content(item) for item in (*annotated, *normal))
        name = digest(*contents, *map(_annotation, objects))
        shown = kinds_of(kinds, annotated, root=root, split=split.name) if kinds and annotated else ()
        return cls(root, split.name, annotated, normal, objects, name, shown)

    def items(self, plan: StudyPlan) -> tuple[Item, ...]:
        """The images that are explained, those with objects first."""
        return (*self.annotated, *self.normal) if plan.normal_images else self.annotated

    def sample(self, images: int) -> list[int]:
        """So many of the annotated images, evenly spread, by their index."""
        count = min(images, len(self.annotated))
        return sorted({int(place) for place in np.linspace(0, len(self.annotated) - 1, count)}) if count else []

    def name(self, item: Item) -> str:
        """An image's name in tables."""
        return item.name_in(self.root)


def _content(item: Item) -> str:
    return f"{_annotation(item)} {_sha256(item.path)}"


def _annotation(item: Item) -> str:
    text = f"{item.name} {item.label} {item.shapes}"
    return text if item.mask is None else f"{text} {_sha256(item.mask)}"


def _sha256(path: Path) -> str:
    try:
        with open_regular(path, path.name) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except UnreadableImageError as error:
        return str(error)
