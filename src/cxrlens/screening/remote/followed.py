"""How far the changes that servers tell of were followed, kept in the output folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cxrlens.table_file import TableFile

FILE: Final = "remote.sqlite"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS feeds (address TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
"""


class Followed:
    """How far changes were followed; threads may share it.

    It only saves work: without the file the whole server is searched once more.

    Raises:
        TableFileError: when it cannot be opened. Likewise as all methods do.
    """

    def __init__(self, folder: Path) -> None:
        self._table = TableFile(folder / FILE, _SCHEMA, "delete it, and the server is searched once more")

    def close(self) -> None:
        """Close the file."""
        self._table.close()

    def last(self, address: str) -> int | None:
        """The number of the last change of a server that was dealt with; None where it was never followed."""
        row = self._table.first("SELECT number FROM feeds WHERE address = ?", (address,))
        return None if row is None else int(row[0])

    def follow(self, address: str, number: int) -> None:
        """Note that all changes up to one are dealt with."""
        with self._table.writing() as table:
            table.execute("INSERT OR REPLACE INTO feeds VALUES (?, ?)", (address, number))

    def clear(self) -> None:
        """Forget everything."""
        with self._table.writing() as table:
            table.execute("DELETE FROM feeds")
