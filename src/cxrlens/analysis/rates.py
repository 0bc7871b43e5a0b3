"""Retake rates with their intervals, by what is known of the images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, TypeAlias

from cxrlens.analysis.images import AnalysedImage
from cxrlens.evaluation.proportions import clopper_pearson_interval

Period: TypeAlias = Literal["day", "week", "month"]
PERIODS: Final[tuple[Period, ...]] = ("day", "week", "month")

UNKNOWN: Final = "unknown"
"""The row of images of which nothing is known; it is never left out."""


@dataclass(frozen=True)
class Share:
    """Hits among images, with the ends of the exact 95 % interval of Clopper and Pearson; NaN without images."""

    hits: int
    images: int

    @property
    def value(self) -> float:
        return self.hits / self.images if self.images else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        found = clopper_pearson_interval(self.hits, self.images)
        return found.low, found.high


@dataclass(frozen=True)
class Rates:
    """What became of the images of a group.

    Attributes:
        images: how many there are.
        suggested: of the images that the model could assess, those with a suggested retake.
        retaken: of the images that a reader judged, those to be retaken.
    """

    images: int
    suggested: Share
    retaken: Share

    @property
    def retaken_of_all(self) -> Share:
        """Of all images, those that a reader wants retaken: the rejected share, if those not judged were accepted."""
        return Share(self.retaken.hits, self.images)

    @classmethod
    def of(cls, images: Sequence[AnalysedImage]) -> Rates:
        assessed = [image for image in images if image.is_assessed]
        judged = [image for image in images if image.is_judged]
        return cls(
            len(images),
            Share(sum(image.is_suggested for image in assessed), len(assessed)),
            Share(sum(image.is_retaken for image in judged), len(judged)),
        )


def grouped(
    images: Iterable[AnalysedImage], group_of: Callable[[AnalysedImage], str]
) -> dict[str, list[AnalysedImage]]:
    """The images of each group by its name, in alphabetical order; `UNKNOWN`, for those without one, last."""
    groups: dict[str, list[AnalysedImage]] = {}
    for image in images:
        groups.setdefault(group_of(image) or UNKNOWN, []).append(image)
    return {name: groups[name] for name in sorted(groups, key=lambda name: (name == UNKNOWN, name))}


def period_of(day: date | None, period: Period) -> str:
    """Such as "2026-03-09", "2026-W11" (ISO 8601: weeks begin on Monday) or "2026-03"; "" of no day."""
    if day is None:
        return ""
    if period == "week":
        year, week, _ = day.isocalendar()
        return f"{year:04}-W{week:02}"
    return day.isoformat() if period == "day" else day.isoformat()[:7]
