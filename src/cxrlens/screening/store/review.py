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
from cxrlens.screening.store.verdicts import Verdict

Show: TypeAlias = Literal["all", "open", "decided", "affected", "remarked", "not_assessable", "unreadable"]

_is_read = results.c.status == "ok"
_is_decided = results.c.key.in_(select(verdicts.c.key))
_SHOWN: dict[Show, ColumnElement[bool]] = {
    "all": true(),
    "open": _is_read & ~_is_decided,
    "decided": _is_decided,
    "affected": results.c.decision == CLASS_NAMES[AFFECTED],
    "remarked": is_remarked,
    "not_assessable": results.c.triage == "not_assessable",
    "unreadable": ~_is_read,
}


@dataclass(frozen=True)
class Part:
    """A part of the worklist.

    Attributes:
        total: images in the list, of which so many are ``shown`` under the filter; likewise ``unreadable`` and
            ``decided``, those with a verdict.
        images: the part, each with its verdict.
    """

    total: int
    shown: int
    unreadable: int
    decided: int
    images: list[tuple[ScreenedImage, Verdict]]


def worklist_part(database: Database, show: Show, offset: int, limit: int) -> Part:
    """So many images of the worklist from this place on; ``show`` filters, "open" being images without a verdict.

    Raises:
        StoreError: when the store cannot be read.
    """
    is_shown = _SHOWN[show]
    counted = select(func.count(), *(func.count().filter(each) for each in (is_shown, ~_is_read, _is_decided)))
    ordered = select(results.c.record, results.c.key).where(results.c.is_newest, is_shown)
    part = ordered.order_by(results.c.rank, results.c.name).offset(offset).limit(limit)
    with database.reading() as connection:
        counts: Sequence[int] = connection.execute(counted.where(results.c.is_newest)).one()
        rows = connection.execute(part).all()
        keys = select(verdicts.c.key, verdicts.c.verdict).where(verdicts.c.key.in_({row.key for row in rows}))
        given = {row.key: row.verdict for row in connection.execute(keys)}
    images = [(image_of(row.record), given.get(row.key, "none")) for row in rows]
    total, shown, unreadable, decided = counts
    return Part(total, shown, unreadable, decided, images)
