"""Scores of single images on disk: one file per part, subject and block of images, complete or absent.

A file holds named arrays with one entry per image. It is replaced as a whole, so that a study that was killed goes on
where it stood, and a row that is added later adds its own arrays alone.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cxrlens.files import replacing
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.saliency.resizing import PUBLISHED_RESIZE
from cxrlens.study.data import StudyData
from cxrlens.study.plan import StudyPlan, digest

SCORING_VERSION = 3  # raised when a score is defined anew, so that older records are not used
DATA, MAPS, PAIRS = "data", "maps", "pairs"  # parts of the records; the samples' bear the names of their experiments
PLAIN, SMOOTHED = "plain", "smoothed"  # variants of a map

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]

_SEPARATOR = "|"


def key(*parts: object) -> str:
    """The name of an array, such as "grad_cam|last|plain|distance"."""
    return _SEPARATOR.join(str(part) for part in parts)


def parts(name: str) -> list[str]:
    """The parts that `key` joined."""
    return name.split(_SEPARATOR)


def score_settings(plan: StudyPlan, data: StudyData) -> str:
    """A name for everything that the scores of an image depend on, beside network and row.

    Records that name no resize are of maps resized as published.
    """
    made = plan.fusion
    lower = () if plan.precision == "f32" else (plan.precision,)
    resize = () if made.resize == PUBLISHED_RESIZE and not made.flip else (made.resize, made.flip)
    return digest(
        SCORING_VERSION,
        data.digest,
        plan.combination,
        plan.target,
        plan.smoothing,
        plan.seed,
        plan.batch_size,
        plan.normal_images,
        *resize,
        *lower,
    )


def preprocessing_id(preprocessing: Preprocessing) -> str:
    """In the place of a network's id, for the records of images without a network."""
    return digest(preprocessing.model_dump_json())


def chunks(indices: Sequence[int], size: int) -> list[list[int]]:
    """The blocks of some images."""
    return [list(indices[start : start + size]) for start in range(0, len(indices), size)]


def sample_block(block: int, indices: Sequence[int], settings: object = "") -> str:
    """The record of a sample's block; other images, or other settings of the score, make another one."""
    return f"{block:05d}-{digest(settings, *indices)}"


class Records:
    """The record files below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, part: str, subject: str, block: int | str) -> Path:
        return self.folder / part / subject / f"{block:05d}.npz" if isinstance(block, int) else (
            self.folder / part / subject / f"{block}.npz"
        )  # fmt: skip

    def read(self, part: str, subject: str, block: int | str) -> Arrays:
        """The arrays of a file; none where there is no whole file."""
        try:
            with np.load(self.path(part, subject, block), allow_pickle=False) as file:
                return dict(file)
        except (FileNotFoundError, zipfile.BadZipFile, ValueError, EOFError):
            return {}

    def names(self, part: str, subject: str, block: int | str) -> frozenset[str]:
        """Those of the arrays of a file, without reading them."""
        try:
            with np.load(self.path(part, subject, block), allow_pickle=False) as file:
                return frozenset(file.files)
        except (FileNotFoundError, zipfile.BadZipFile, ValueError, EOFError):
            return frozenset()

    def add(self, part: str, subject: str, block: int | str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Put arrays beside those that are there; names are kept in order, so that equal contents give equal bytes."""
        together = {**self.read(part, subject, block), **arrays}
        stream = io.BytesIO()
        np.savez_compressed(stream, allow_pickle=False, **{name: together[name] for name in sorted(together)})
        with replacing(self.path(part, subject, block)) as partial:
            partial.write_bytes(stream.getvalue())


def joined(blocks: Iterable[Arrays]) -> Arrays:
    """The arrays of several blocks, one after another; those that some block lacks are left out.

    A block whose images all are unreadable holds no more than empty arrays, and does not count.
    """
    there = [block for block in blocks if block]
    present = [block for block in there if any(map(len, block.values()))] or there[:1]
    if not present:
        return {}
    names = [name for name in present[0] if all(name in block for block in present)]
    return {name: np.concatenate([block[name] for block in present]) for name in names}
