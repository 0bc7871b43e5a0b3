"""What of a work folder was published, kept in it: a file that has not changed since is not sent again."""

from __future__ import annotations

import os
import secrets
import sqlite3
from pathlib import Path
from typing import Final

from cxrlens.errors import UsageError
from cxrlens.files import open_private

_FILE: Final = ".published.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS publication (id TEXT NOT NULL, address TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (name TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
"""


class Published:
    """The files of a work folder that are at its address, and by which name it is known there.

    Attributes:
        id: drawn at random when the folder was first published.

    Raises:
        UsageError: when it is published at another address, or the file is something else.
    """

    def __init__(self, folder: Path, address: str) -> None:
        file = folder / _FILE
        try:
            if not file.exists():
                os.close(open_private(str(file), os.O_CREAT | os.O_RDWR))
            self._table = sqlite3.connect(file, timeout=20, isolation_level=None, check_same_thread=False)
            self._table.executescript(_SCHEMA)
            row = self._table.execute("SELECT id, address FROM publication").fetchone()
            if row is None:
                row = secrets.token_hex(16), address
                self._table.execute("INSERT INTO publication VALUES (?, ?)", row)
        except sqlite3.Error as error:
            raise UsageError(
                f"{file}: cannot be read or written ({error}); give an empty `work_folder`, and what is published is "
                "fetched into it"
            ) from error
        if row[1] != address:
            raise UsageError(f"{folder}: is the work folder of {row[1]}; give another `work_folder` for {address}")
        self.id: str = row[0]

    def state(self, name: str) -> str | None:
        """The state in which a file was published; None where it was not."""
        row = self._table.execute("SELECT state FROM files WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def note(self, name: str, state: str) -> None:
        """Note that a file was published in a state."""
        self._table.execute("INSERT OR REPLACE INTO files VALUES (?, ?)", (name, state))

    def forget(self, name: str) -> None:
        """Note that a file was removed there."""
        self._table.execute("DELETE FROM files WHERE name = ?", (name,))

    def names(self) -> set[str]:
        """The names of all files that were published."""
        return {name for (name,) in self._table.execute("SELECT name FROM files")}
