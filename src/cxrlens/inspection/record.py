"""The record of one image: its result as it is written down, in results.jsonl as in the server's worklist."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cxrlens.models.calibration import Triage
from cxrlens.saliency.recorded_resize import RecordedGrid, RecordedInterpolation, RecordedResize, with_former_resize

ImageTriage: TypeAlias = Triage | Literal["not_assessable"]
"""What becomes of an image: "not_assessable" is neither passed nor suggested for a retake."""


class ImageRecord(BaseModel):
    """One file with its result, or the reason why it has none.

    Attributes:
        name: of the file, with forward slashes.
        key: SHA-256 of the file's content in hexadecimal digits; "" where it could not be read at all.
        status: says if there is a result; the fields that `ImageResult.fields` gives are then its.
        reason: why the decision is what it is; why the image cannot be judged, or the file could not be read.
        probability: of *affected*, in [0, 1], as `QualityModel.probability_of` gives it; None where the image cannot be
            judged.
        decision: from the card's threshold on "affected"; None likewise.
        triage: by a calibrated model; "retake" is "affected", and an image with doubts is at least to be reviewed.
            "not_assessable" by any model, of an image that cannot be judged.
        origin: the kind of file, see `Radiograph.origin`.
        height: of the stored image as seen upright, in pixels; likewise ``width``; 0 where it could not be read.
        method: id of the map, "" where none was made; likewise ``layers``.
        grid: of the map's resize, see `RecordedResize`; likewise ``interpolation`` and ``flip``.
        flat: True where the map is constant, so that it has no peak.
        peak: (row, column) of the map's highest point, in pixels of the stored image.
        contours: closed polygons [(x, y), ...] around what exceeds half the map's maximum, in stored pixels.
        distance: from the radiographs that the model knows, above 1 for one that it cannot judge; None where it cannot
            tell.
        picture: where the preview is, "" where there is none; likewise ``map``.
        remarks: sentences on what looks wrong in the picture, or was not taken as the file says.
        doubts: those of the remarks by which the picture may not be displayed as it was meant; all of them in a record
            that does not tell.
        refusals: those of the remarks by which the image cannot be judged.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    key: str = ""
    status: Literal["ok", "unreadable"] = "ok"
    reason: str = ""
    probability: float | None = Field(default=None, ge=0, le=1)
    decision: Literal["normal", "affected"] | None = None
    triage: ImageTriage | None = None
    origin: str = ""
    height: int = Field(default=0, ge=0)
    width: int = Field(default=0, ge=0)
    method: str = ""
    layers: str = ""
    grid: RecordedGrid = ""
    interpolation: RecordedInterpolation = ""
    flip: bool = False
    flat: bool = False
    peak: tuple[int, int] | None = None
    contours: tuple[tuple[tuple[float, float], ...], ...] = ()
    distance: float | None = Field(default=None, ge=0)
    picture: str = ""
    map: str = ""
    remarks: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _doubt_what_is_not_told(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and "doubts" not in fields and "remarks" in fields:
            return {**fields, "doubts": fields["remarks"]}
        return fields

    @model_validator(mode="before")
    @classmethod
    def _resize_by_areas_what_is_not_told(cls, fields: Any) -> Any:
        return with_former_resize(fields)

    @property
    def resize(self) -> RecordedResize:
        """The resize of the map."""
        return RecordedResize(self.grid, self.interpolation, self.flip)
