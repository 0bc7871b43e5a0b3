"""The worklist as a reader goes through it: results with their verdicts, filtered, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sqlalchemy import ColumnElement, func, select, true

from cxrlens.inputs.dataset.layouts import AFFECTED, CLASS_NAMES
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.database import Database
from cxrlens.screening.store.results import image_of
from cxrlens.screening.store.schema import is_remarked, results, verdicts
from cxrlens.screening.store.verdicts import SEES_ALL, Sight, Verdict

Show: TypeAlias = Literal["all", "open", "decided", "conflicts", "affected", "remarked", "not_assessable", "unreadable"]

_is_read = results.c.status == "ok"


def _shown(show: Show, is_decided: ColumnElement[bool], is_conflict: ColumnElement[bool]) -> ColumnElement[bool]:
    shown: dict[Show, ColumnElement[bool]] = {
        "all": true(),
        "open": _is_read & ~is_decided,
        "decided": is_decided,
        "conflicts": is_conflict,
        "affected": results.c.decision == CLASS_NAMES[AFFECTED],
        "remarked": is_remarked,
        "not_assessable": results.c.triage == "not_assessable",
        "unreadable": ~_is_read,
    }
    return shown[show]


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
    database: Database, show: Show, offset: int, limit: int, reader: str = "", sight: Sight = SEES_ALL
) -> Part:
    """So many images of the worklist from this place on.

    Args:
        show: filters; "open" are images without a verdict of the reader, "conflicts" those that `resolved` calls so.
        sight: what the reader may see of others' verdicts.

    Raises:
        StoreError: when the store cannot be read.
    """
    own = select(verdicts.c.key).where(verdicts.c.reader == reader)
    retakes = func.count().filter(verdicts.c.verdict == "retake")
    contradicted = select(verdicts.c.key).where(sight.of(verdicts)).group_by(verdicts.c.key)
    contradicted = contradicted.having(2 * retakes == func.count())
    is_decided, is_conflict = results.c.key.in_(own), results.c.key.in_(contradicted)
    is_shown = _shown(show, is_decided, is_conflict)
    counted = select(
        func.count(), *(func.count().filter(each) for each in (is_shown, ~_is_read, is_decided, is_conflict))
    )
    ordered = select(results.c.record, results.c.key, is_conflict.label("is_conflict")).where(
        results.c.is_newest, is_shown
    )
    part = ordered.order_by(results.c.rank, results.c.name).offset(offset).limit(limit)
    with database.reading() as connection:
        counts: Sequence[int] = connection.execute(counted.where(results.c.is_newest)).one()
        rows = connection.execute(part).all()
        keys = select(verdicts.c.key, verdicts.c.verdict).where(
            verdicts.c.reader == reader, verdicts.c.key.in_({row.key for row in rows})
        )
        given = {row.key: row.verdict for row in connection.execute(keys)}
    images = [(image_of(row.record), given.get(row.key, "none"), bool(row.is_conflict)) for row in rows]
    total, shown, unreadable, decided, conflicts = counts
    return Part(total, shown, unreadable, decided, conflicts, images)
