"""Results in the store: the newest of each name counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, bindparam, func, insert, select, tuple_, update

from cxrlens.screening.record import ScreenedImage, rank_of
from cxrlens.screening.store.database import Database, StoreError
from cxrlens.screening.store.schema import results
from cxrlens.validation import first_fault

_ROWS = 500
"""Rows of a query: a reader never holds the store for long, nor many results in memory."""

_KEYS = 20_000
"""Likewise of a query that gives digests alone."""

_newest = select(results.c.record).where(results.c.is_newest)
_in_order = results.c.rank, results.c.name
_is_read = results.c.status == "ok"
_record_of_name = select(results.c.record, results.c.state).where(
    results.c.is_newest, results.c.name == bindparam("name"), _is_read
)
_record_of_key = (
    select(results.c.record).where(results.c.key == bindparam("key"), _is_read).order_by(results.c.id.desc()).limit(1)
)


class ResultTable:
    """The results of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, images: Sequence[ScreenedImage], states: Mapping[str, str] | None = None) -> list[str]:
        """Add a batch as a whole, but for results that say what the newest of their name says already.

        Args:
            states: of the files, by the results' names, as far as they are known.

        Returns:
            The records that were added, as text.

        Raises:
            StoreError: when they cannot be kept; none of them is then.
        """
        with self._database.writing() as connection:
            newest = _newest_of(connection, list({image.name for image in images}))
            new: dict[str, ScreenedImage] = {}
            for image in images:
                if (new.get(image.name) or newest.get(image.name)) != image:
                    new[image.name] = image
            known = states or {}
            rows = [row_of(image, image.model_dump_json(), known.get(image.name, "")) for image in new.values()]
            for name in new.keys() & newest.keys():
                is_it = results.c.is_newest, results.c.name == name
                connection.execute(update(results).where(*is_it).values(is_newest=False))
            if rows:
                connection.execute(insert(results), rows)
        return [row["record"] for row in rows]

    def note(self, states: Mapping[str, str]) -> None:
        """Keep the states of files that have the content of their newest result; by the results' names."""
        if not states:
            return
        noted = update(results).where(results.c.is_newest, results.c.name == bindparam("of_name"))
        rows = [{"of_name": name, "now": state} for name, state in states.items()]
        with self._database.writing() as connection:
            connection.execute(noted.values(state=bindparam("now")), rows)

    def clear(self) -> None:
        """Delete all results."""
        with self._database.writing() as connection:
            connection.execute(results.delete())

    def of_name(self, name: str) -> ScreenedImage | None:
        """The newest result of a name; None where there is none, or it could not be read."""
        known = self.known(name)
        return None if known is None else known[0]

    def known(self, name: str) -> tuple[ScreenedImage, str] | None:
        """Likewise, with the state of its file, "" where that is not known."""
        with self._database.reading() as connection:
            row = connection.execute(_record_of_name, {"name": name}).first()
        return None if row is None else (image_of(row.record), row.state)

    def of_content(self, key: str) -> ScreenedImage | None:
        """The last result of this content, whatever its name; None where it could not be read or is not known."""
        with self._database.reading() as connection:
            record = connection.scalar(_record_of_key, {"key": key})
        return None if record is None else image_of(record)

    def has(self, key: str) -> bool:
        """True where an image of the worklist has this content."""
        wanted = results.c.is_newest, results.c.key == key
        with self._database.reading() as connection:
            return connection.scalar(select(results.c.id).where(*wanted).limit(1)) is not None

    def newest(self, **wanted: str) -> Iterator[ScreenedImage]:
        """The newest result of each name in the order of the worklist, read as they are asked for.

        Args:
            wanted: values of columns, such as ``status="unreadable"``.
        """
        statement = _newest.add_columns(*_in_order).filter_by(**wanted).order_by(*_in_order).limit(_ROWS)
        following = statement
        while rows := self._rows(following):
            yield from (image_of(row.record) for row in rows)
            following = statement.where(tuple_(*_in_order) > tuple_(rows[-1].rank, rows[-1].name))

    def records(self) -> Iterator[str]:
        """All results as text, in the order in which they came."""
        statement = select(results.c.id, results.c.record).order_by(results.c.id).limit(_ROWS)
        following = statement
        while rows := self._rows(following):
            yield from (row.record for row in rows)
            following = statement.where(results.c.id > rows[-1].id)

    def contents(self) -> Iterator[str]:
        """The digests of all contents that there are results of, each once, in rising order."""
        statement = select(results.c.key).distinct().order_by(results.c.key).limit(_KEYS)
        last = ""
        while rows := self._rows(statement.where(results.c.key > last)):
            yield from (row.key for row in rows)
            last = rows[-1].key

    def tally(self) -> list[tuple[str, str | None, str | None, int]]:
        """(status, decision, triage, images) of the newest results."""
        kinds = results.c.status, results.c.decision, results.c.triage
        statement = select(*kinds, func.count()).where(results.c.is_newest).group_by(*kinds)
        return [(status, decision, triage, images) for status, decision, triage, images in self._rows(statement)]

    def remarked(self) -> int:
        """How many of the newest results have doubts among their remarks."""
        with self._database.reading() as connection:
            return connection.scalar(select(func.count()).where(results.c.is_newest, results.c.is_remarked)) or 0

    def _rows(self, statement: Any) -> Sequence[Any]:
        with self._database.reading() as connection:
            return connection.execute(statement).all()


def image_of(record: str) -> ScreenedImage:
    """The result of a record.

    Raises:
        StoreError: when it is none.
    """
    try:
        return ScreenedImage.model_validate_json(record)
    except ValidationError as error:
        raise StoreError(
            f"the store holds a damaged result ({first_fault(error)}): {record[:80]}; "
            "screen the folder anew with --force, which keeps the verdicts"
        ) from error


def row_of(image: ScreenedImage, record: str, state: str = "") -> dict[str, Any]:
    """The newest result of a name as the table has it; the record is the image as text, the state its file's."""
    return {
        "name": image.name,
        "key": image.key,
        "status": image.status,
        "decision": image.decision,
        "triage": image.triage,
        "probability": image.probability,
        "rank": rank_of(image),
        "is_newest": True,
        "record": record,
        "is_remarked": bool(image.doubts),
        "state": state,
    }


def _newest_of(connection: Connection, names: Sequence[str]) -> dict[str, ScreenedImage]:
    found = {}
    for begin in range(0, len(names), _ROWS):
        wanted = results.c.name.in_(names[begin : begin + _ROWS])
        for record in connection.scalars(_newest.where(wanted)):
            image = image_of(record)
            found[image.name] = image
    return found
