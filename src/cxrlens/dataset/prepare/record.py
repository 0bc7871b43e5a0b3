"""The records of a source: its images, each with what is known of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from cxrlens.inputs.annotations.shapes import Shape
from cxrlens.inputs.dataset.manifest import safe_name
from cxrlens.inputs.matching import ending_of, folded, without_ending
from cxrlens.inputs.origin import Origin

_LONGEST_PART = 180  # bytes of a folder's or file's name; systems allow 255, and temporary names are longer
_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation"), "dev"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class Record:
    """One image of a source.

    Attributes:
        name: with ``/`` between folders, as it may be appended to a folder.
        origin: its bytes.
        split: "train", "dev" or "test" where the source says so, else empty.
        label: 1 = affected, 0 = normal; None = the mask tells.
        shapes: its objects in pixels of the image.
        mask: the file of a mask.
        patient_id: images of one patient share it; empty = not known.
        stated: height and width that the source claims.
    """

    name: str
    origin: Origin
    split: str = ""
    label: int | None = None
    shapes: tuple[Shape, ...] = ()
    mask: Origin | None = None
    patient_id: str = ""
    stated: tuple[int, int] | None = None


@dataclass(frozen=True)
class Found:
    """The images of a source.

    Attributes:
        records: in the order of their names.
        refused: a sentence for each image that cannot be taken.
        remarks: what else was odd, a sentence each.
    """

    records: tuple[Record, ...]
    refused: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassNames:
    """The names that stand for affected and for normal, as the user gives them."""

    affected: tuple[str, ...] = ()
    normal: tuple[str, ...] = ()


def split_of(name: str) -> str:
    """The split that a folder's name means, such as "dev" for "val2017"; empty for any other name."""
    return _SPLIT_WORDS.get(re.sub(r"[^a-z]+", "", name.lower()), "")


def split_in(text: str) -> str:
    """The split that a file's name speaks of, such as "dev" for "instances_val2017"; empty where it names none."""
    found = {_SPLIT_WORDS[word] for word in re.split(r"[^a-z]+", text.lower()) if word in _SPLIT_WORDS}
    return found.pop() if len(found) == 1 else ""


def distinct(records: Iterable[Record]) -> list[Record]:
    """The records by name, renamed where two names differ by no more than their ending or case.

    Files made of them may get another ending, and some systems do not tell case apart: the second ``a.png`` beside
    ``A.jpg`` becomes ``a~2.png``.
    """
    taken: set[str] = set()
    found = []
    for record in sorted(records, key=lambda record: record.name):
        name = _plain(record.name)
        path, ending = PurePosixPath(without_ending(name)), ending_of(name)
        path = PurePosixPath(*map(_shortened, path.parts))
        bare, number = path.name, 1
        while _folded(path) in taken:
            number += 1
            path = path.with_name(f"{bare}~{number}")
        taken.add(_folded(path))
        found.append(replace(record, name=f"{path}{ending}"))
    return found


def _plain(name: str) -> str:
    """The name as a manifest takes it: a file may be called anything, a line break or a drive in its name."""
    return name if safe_name(name) == name else re.sub(r"[\x00-\x1f\\:]", "_", name)


def _folded(path: PurePosixPath) -> str:
    return folded(str(path))


def _shortened(part: str) -> str:
    content = part.encode(errors="surrogateescape")
    if len(content) <= _LONGEST_PART:
        return part
    digest = hashlib.sha256(content).hexdigest()[:12]
    return content[: _LONGEST_PART - 20].decode(errors="ignore") + digest
