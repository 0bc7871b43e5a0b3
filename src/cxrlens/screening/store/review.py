"""The worklist as a reader goes through it: results with their verdicts, filtered, part by part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, func, select, true

from cxrlens.inputs.dataset.layouts import AFFECTED, CLASS_NAMES
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.database import Database
from cxrlens.screening.store.results import image_of
from cxrlens.screening.store.schema import results, verdicts
from cxrlens.screening.store.verdicts import SEES_ALL, Sight, Verdict

Show: TypeAlias = Literal["all", "open", "decided", "conflicts", "affected", "remarked", "not_assessable", "unreadable"]

_is_read = results.c.status == "ok"
_is_unjudged = results.c.rank > 0  # which has no probability: the end of the worklist's index
_of_results: dict[Show, ColumnElement[bool]] = {
    "all": true(),
    "affected": results.c.decision == CLASS_NAMES[AFFECTED],
    "remarked": results.c.is_remarked,
    "not_assessable": and_(_is_unjudged, results.c.triage == "not_assessable"),
    "unreadable": and_(_is_unjudged, ~_is_read),
}
"""Filters that verdicts change nothing of."""


class ResultCounts:
    """How many images of the worklist each filter shows that verdicts change nothing of.

    Counting goes through all of them, so that it is done again only when results have come; threads may share it.
    """

    def __init__(self) -> None:
        self._counted: tuple[int, Mapping[Show, int]] | None = None

    def of(self, connection: Connection) -> Mapping[Show, int]:
        """As the store is now."""
        last = connection.scalar(select(func.max(results.c.id))) or 0
        counted = self._counted
        if counted is None or counted[0] != last:  # ids rise, and none comes twice
            counted = last, {show: _count(connection, is_shown) for show, is_shown in _of_results.items()}
            self._counted = counted
        return counted[1]


def _count(connection: Connection, *wanted: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(results).where(results.c.is_newest, *wanted)) or 0


@dataclass(frozen=True)
class Part:
    """A part of the worklist.

    Attributes:
        total: images in the list, of which so many are ``shown`` under the filter; likewise ``unreadable``,
            ``decided``, those that the reader has judged, and ``conflicts``, those whose readers contradict each other.
        images: the part, each with the reader's verdict, and whether it is a conflict.
    """

    total: int
    shown: int
    unreadable: int
    decided: int
    conflicts: int
    images: list[tuple[ScreenedImage, Verdict, bool]]


def worklist_part(
    database: Database,
    show: Show,
    offset: int,
    limit: int,
    reader: str = "",
    sight: Sight = SEES_ALL,
    counts: ResultCounts | None = None,
) -> Part:
    """So many images of the worklist from this place on.

    Args:
        show: filters; "open" are images without a verdict of the reader, "conflicts" those that `resolved` calls so.
        sight: what the reader may see of others' verdicts.
        counts: kept by who asks again and again.

    Raises:
        StoreError: when the store cannot be read.
    """
    own = select(verdicts.c.key).where(verdicts.c.reader == reader)
    retakes = func.count().filter(verdicts.c.verdict == "retake")
    contradicted = select(verdicts.c.key).where(sight.of(verdicts)).group_by(verdicts.c.key)
    contradicted = contradicted.having(2 * retakes == func.count())
    is_decided, is_conflict = results.c.key.in_(own), results.c.key.in_(contradicted)
    of_verdicts: dict[Show, ColumnElement[bool]] = {
        "open": _is_read & ~is_decided,
        "decided": is_decided,
        "conflicts": is_conflict,
    }
    is_shown = (_of_results | of_verdicts)[show]
    ordered = select(results.c.record, results.c.key, is_conflict.label("is_conflict")).where(
        results.c.is_newest, is_shown
    )
    part = ordered.order_by(results.c.rank, results.c.name).offset(offset).limit(limit)
    with database.reading() as connection:
        shown = dict((counts or ResultCounts()).of(connection))
        shown["decided"] = _count(connection, is_decided)  # verdicts are few: their keys are looked up
        shown["conflicts"] = _count(connection, is_conflict)
        read = shown["all"] - shown["unreadable"]
        shown["open"] = read - _count(connection, _is_read, is_decided) if show == "open" else 0
        rows = connection.execute(part).all()
        keys = select(verdicts.c.key, verdicts.c.verdict).where(
            verdicts.c.reader == reader, verdicts.c.key.in_({row.key for row in rows})
        )
        given = {row.key: row.verdict for row in connection.execute(keys)}
    images = [(image_of(row.record), given.get(row.key, "none"), bool(row.is_conflict)) for row in rows]
    return Part(shown["all"], shown[show], shown["unreadable"], shown["decided"], shown["conflicts"], images)
