"""The store of a screened folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from cxrlens.errors import UsageError
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store import sqlite
from cxrlens.screening.store.database import Database, StoreError
from cxrlens.screening.store.export import Export
from cxrlens.screening.store.migration import migrate
from cxrlens.screening.store.results import ResultTable
from cxrlens.screening.store.schema import prepare
from cxrlens.screening.store.verdicts import VerdictTable


class Store:
    """Results, verdicts and audit log of a folder, in its ``store.sqlite``; made where there is none.

    Threads and processes may share it: one that screens, and servers. What a killed process had not finished is as if
    it had not begun. A folder of an earlier version is taken over.

    Args:
        folder: the screened folder.
        keep_connections: see `sqlite.make_engine`; for a process that asks often and is the only one to write results.
        database: another place than the folder's own file.

    Attributes:
        results: of all images.
        verdicts: of readers.

    Raises:
        UsageError: when the store cannot be opened or made, or is something else, or what an earlier version left is
            damaged.
    """

    def __init__(
        self, folder: ScreenedFolder, *, keep_connections: bool = False, database: Database | None = None
    ) -> None:
        self.folder = folder
        file = folder.store_file
        self.database = database or Database(sqlite.make_engine(file, keep_connections=keep_connections), str(file))
        try:
            with self.database.writing() as connection:
                migrate(connection, folder, is_new=prepare(connection, self.database.place))
            with self.database.writing():  # only now that what it had is kept
                if folder.is_of_earlier_version():
                    folder.raise_format()
        except StoreError as error:
            raise UsageError(str(error)) from error
        if database is None:
            sqlite.choose_journal(file)
        self.results = ResultTable(self.database)
        self.verdicts = VerdictTable(self.database)
        self._export = Export(folder.results_file, self.results)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    def go_on(self) -> None:
        """Make ``results.jsonl`` agree with the store; for the one process that is to add results."""
        self._export.agree(is_trimmed=self.folder.committed_file.exists())
        self.folder.committed_file.unlink(missing_ok=True)

    def add(self, images: Sequence[ScreenedImage]) -> None:
        """Add a batch of results as a whole, see `ResultTable.add`, and its lines to ``results.jsonl``."""
        if records := self.results.add(images):
            self._export.append(records)
