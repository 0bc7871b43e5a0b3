"""What screening says of one file: a line of ``results.jsonl``, a row of the worklist."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from cxrlens.models.calibration import Triage


class ScreenedImage(BaseModel):
    """One file of a screened folder.

    Attributes:
        name: its path relative to the screened folder, with forward slashes, see `name_of`; one record a name.
        key: SHA-256 of the file's content in hexadecimal digits; "" where it could not be read at all.
        status: whether there is a result.
        reason: why the decision is what it is; of an unreadable file why it could not be read.
        probability: of *affected*, in [0, 1], as `QualityModel.probability_of` gives it.
        decision: from the card's threshold on "affected".
        triage: by a calibrated model; "retake" is "affected".
        origin: the kind of file, see `Radiograph.origin`.
        height: of the stored image as seen upright, in pixels; likewise ``width``; 0 where it could not be read.
        method: id of the map, "" where none was made; likewise ``layers``.
        flat: whether the map is constant, so that it has no peak.
        peak: (row, column) of the map's highest point, in pixels of the stored image.
        contours: closed polygons [(x, y), ...] around what exceeds half the map's maximum, in stored pixels.
        picture: path of the preview relative to the output folder, "" where there is none; likewise ``map``.
        tags: patient data, kept only where that was asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    key: str = ""
    status: Literal["ok", "unreadable"] = "ok"
    reason: str = ""
    probability: float | None = Field(default=None, ge=0, le=1)
    decision: Literal["normal", "affected"] | None = None
    triage: Triage | None = None
    origin: str = ""
    height: int = Field(default=0, ge=0)
    width: int = Field(default=0, ge=0)
    method: str = ""
    layers: str = ""
    flat: bool = False
    peak: tuple[int, int] | None = None
    contours: tuple[tuple[tuple[float, float], ...], ...] = ()
    picture: str = ""
    map: str = ""
    tags: dict[str, str] = Field(default_factory=dict)


def worklist_order(images: Iterable[ScreenedImage]) -> list[ScreenedImage]:
    """The most probable first, by name among equals; files that could not be read last."""
    return sorted(images, key=lambda image: worklist_key(image.name, image.probability))


def worklist_key(name: str, probability: float | None) -> tuple[bool, float, str]:
    """Sorts as `worklist_order` does."""
    return probability is None, -(probability or 0.0), name


def name_of(path: Path, root: Path) -> str:
    """The name of a file in records: its path below ``root``, or the whole path of one that lies elsewhere."""
    return text_of(path.relative_to(root) if path.is_relative_to(root) else path)


def path_of(name: str, root: Path) -> Path:
    """The file of a name that `name_of` gave."""
    if _BYTE not in name:
        return root / name
    return root / re.sub(r"\\(?:\\|udc([0-9a-f]{2}))", _unescaped, name)


def text_of(path: Path) -> str:
    """A path with forward slashes as text that any encoding of Unicode takes.

    Bytes that are no text stand as ``\\udcXX`` in it, and in such a path, or one that holds that text, backslashes are
    doubled, so that no two paths become one.
    """
    text = path.as_posix()
    escaped = re.sub("[\udc80-\udcff]", lambda byte: f"{_BYTE}{ord(byte[0]) - 0xDC00:02x}", text.replace("\\", "\\\\"))
    return escaped if _BYTE in escaped else text


def _unescaped(found: re.Match[str]) -> str:
    return chr(0xDC00 + int(found[1], 16)) if found[1] else "\\"


_BYTE = "\\udc"
