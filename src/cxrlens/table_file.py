"""A small table of this program's own in an SQLite file, readable by its owner alone; threads may share it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxrlens.errors import EXIT_USAGE, CxrlensError
from cxrlens.files import open_private

Values = Sequence[object] | Mapping[str, object]


class TableFileError(CxrlensError):
    """The file cannot be read or written."""

    exit_code = EXIT_USAGE


class TableFile:
    """The file of tables that few programs write at a time.

    Args:
        file: made where there is none.
        schema: statements that make the tables where they are not there yet.
        remedy: ends the sentence of a `TableFileError`.
        is_durable: what was written is on the disk when a transaction ends, also after a power failure, and what was
            deleted is overwritten.

    Raises:
        TableFileError: when it cannot be opened, or is something else. Likewise as all methods do when it fails.
    """

    def __init__(self, file: Path, schema: str, remedy: str, *, is_durable: bool = False) -> None:
        self.file = file
        self._remedy = remedy
        self._lock = threading.Lock()
        if not file.exists():
            with contextlib.suppress(FileExistsError):
                os.close(open_private(str(file), os.O_CREAT | os.O_EXCL | os.O_RDWR))
        with self._said():
            self._connection = sqlite3.connect(file, timeout=20, isolation_level=None, check_same_thread=False)
            if is_durable:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.execute("PRAGMA secure_delete = ON")
            self._connection.executescript(schema)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def first(self, statement: str, values: Values = ()) -> tuple[Any, ...] | None:
        """The first row of a query; None where there is none."""
        with self._said(), self._lock:
            found: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
        return found

    def all(self, statement: str) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._said(), self._lock:
            return self._connection.execute(statement).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all that is written within is kept when the block ends, or nothing."""
        with self._said(), self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise TableFileError(f"{self.file}: cannot be read or written ({error}); {self._remedy}") from error
