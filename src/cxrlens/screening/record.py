"""The record of one screened file: a line of ``results.jsonl``, a row of the worklist."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, field_validator

from cxrlens.inspection.record import ImageRecord
from cxrlens.screening.tags import as_now


class ScreenedImage(ImageRecord):
    """One file of a screened folder; its name is the path relative to that, see `name_of`, and one record has it.

    Attributes:
        key: SHA-256 of the file's content, "" where it could not be read; files are named by it.
        tags: of the file's header, those that were asked for, by their names in `TAGS`.
    """

    key: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    tags: dict[str, str] = Field(default_factory=dict)

    @field_validator("tags")
    @classmethod
    def _tags_are_called_as_now(cls, tags: dict[str, str]) -> dict[str, str]:
        return as_now(tags)


def worklist_order(images: Iterable[ScreenedImage]) -> list[ScreenedImage]:
    """The most probable first, by name among equals; then images that cannot be judged, and unreadable files last."""
    return sorted(images, key=lambda image: (rank_of(image), image.name))


def rank_of(image: ImageRecord) -> float:
    """The place of an image in the worklist, from -1 on: minus its probability, where it has one."""
    if image.probability is not None:
        return -image.probability
    return 0.5 if image.status == "ok" else 1.0
