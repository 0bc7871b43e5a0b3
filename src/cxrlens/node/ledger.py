"""Which of the received images are done with: screened, their results handed to the outbox."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sqlalchemy import Column, MetaData, Table, Text, select
from sqlalchemy.dialects.sqlite import insert

from cxrlens.errors import UsageError
from cxrlens.screening.store import sqlite
from cxrlens.screening.store.database import Database, StoreError

_metadata = MetaData()
_finished = Table("finished", _metadata, Column("name", Text, primary_key=True))


class Ledger:
    """A table of names. An image that is not in it is screened when the node begins: it lies in the spool.

    Args:
        file: made where there is none.

    Raises:
        UsageError: when it cannot be opened.
    """

    def __init__(self, file: Path) -> None:
        self._database = Database(sqlite.make_engine(file, keep_connections=True), str(file), sqlite.sentence)
        try:
            with self._database.writing() as connection:
                _metadata.create_all(connection)
        except StoreError as error:
            raise UsageError(str(error)) from error
        sqlite.choose_journal(file)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def finish(self, files: Sequence[Path]) -> None:
        """Note that nothing is left to be done with these images.

        Raises:
            StoreError: when that cannot be kept.
        """
        if files:
            with self._database.writing() as connection:
                rows = [{"name": file.name} for file in files]
                connection.execute(insert(_finished).on_conflict_do_nothing(), rows)

    def unfinished(self, files: Iterable[Path]) -> list[Path]:
        """Those of the images with which something is left to be done."""
        with self._database.reading() as connection:
            done = set(connection.scalars(select(_finished.c.name)))
        return [file for file in files if file.name not in done]

    def clear(self) -> None:
        """Have all images screened again."""
        with self._database.writing() as connection:
            connection.execute(_finished.delete())
