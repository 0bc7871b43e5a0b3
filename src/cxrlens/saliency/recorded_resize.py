"""The resize of a map as its record says it; without torch, which reading a record does not need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Grid: TypeAlias = Literal["centres", "areas"]
Interpolation: TypeAlias = Literal["bilinear", "bicubic", "bspline"]
RecordedGrid: TypeAlias = Literal["", "areas", "centres", "mixed"]  # see `RecordedResize`
RecordedInterpolation: TypeAlias = Literal["", Interpolation]

INPUT_LAYERS = "input"  # what a row's layers are called where the method reads none


@dataclass(frozen=True)
class RecordedResize:
    """The way in which a map was brought to the input's size: what was done, not what was asked for.

    Attributes:
        grid: "centres" or "areas", see `cxrlens.saliency.resizing.MapResize`; "mixed" where several layers were
            combined and the cells of some lie at places that cannot be known, so that these were spread by areas; ""
            of a map that reads no layer, likewise ``interpolation``.
        flip: the mean with the map of the mirrored image.
    """

    grid: str = ""
    interpolation: str = ""
    flip: bool = False

    def __str__(self) -> str:
        """In words for people, such as "centres bicubic, mirrored"; "" where there is nothing to say."""
        resize = f"{self.grid} {self.interpolation}".strip()
        return ", ".join(filter(None, [resize, "mirrored" if self.flip else ""]))

    def columns(self) -> dict[str, str | int]:
        """Its columns in a table: grid, interpolation, and flip as 0 or 1."""
        return {"grid": self.grid, "interpolation": self.interpolation, "flip": int(self.flip)}

    @classmethod
    def of_columns(cls, row: Mapping[str, Any]) -> RecordedResize:
        """The resize that a row of such a table names."""
        return cls(row["grid"], row["interpolation"], bool(row["flip"]))


NO_RESIZE = RecordedResize()


def resizes_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """The resizes that the rows of a table name, each once, such as "centres bicubic"; "none" where they name none."""
    return "; ".join(dict.fromkeys(filter(None, (str(RecordedResize.of_columns(row)) for row in rows)))) or "none"


def with_former_resize(fields: Any) -> Any:
    """The fields of a record; where it is so old that it names no resize, that of all maps of its time: by areas.

    Args:
        fields: by name, ``method`` and ``layers`` among them; what is no dictionary is given back as it is.
    """
    if not isinstance(fields, dict) or "grid" in fields or not fields.get("method"):
        return fields
    is_resized = fields.get("layers") != INPUT_LAYERS
    return {**fields, "grid": "areas", "interpolation": "bilinear"} if is_resized else fields
