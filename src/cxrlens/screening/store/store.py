"""The store of a screened folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import ValidationError

from cxrlens.errors import UsageError
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store import postgresql, sqlite
from cxrlens.screening.store.database import Database, StoreError
from cxrlens.screening.store.export import Export, append_lines
from cxrlens.screening.store.migration import migrate
from cxrlens.screening.store.moving import move
from cxrlens.screening.store.postgresql import Server
from cxrlens.screening.store.results import ResultTable
from cxrlens.screening.store.upgrading import bring_up
from cxrlens.screening.store.verdicts import VerdictTable

log = logging.getLogger(__name__)


class Store:
    """Results, verdicts and audit log of a folder, in its ``store.sqlite`` or in a database; made where there is none.

    Threads and processes may share it: one that screens, and servers. What a killed process had not finished is as if
    it had not begun. A folder of an earlier version is taken over.

    Args:
        folder: the screened folder.
        server: holds the store in place of the folder's own file, whose content is moved there.
        keep_connections: see `sqlite.make_engine`; for a process that asks often and is the only one to write results.

    Attributes:
        results: of all images.
        verdicts: of readers.

    Raises:
        UsageError: when the store cannot be opened or made, or is something else, or is in a database that is not
            given, or what an earlier version left is damaged.
    """

    def __init__(self, folder: ScreenedFolder, server: Server | None = None, *, keep_connections: bool = False) -> None:
        self.folder = folder
        try:
            self.database = _in_file(folder, keep_connections) if server is None else _in_database(folder, server)
        except StoreError as error:
            raise UsageError(str(error)) from error
        self.results = ResultTable(self.database)
        self.verdicts = VerdictTable(self.database)
        self._export = Export(folder.results_file, self.results)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    def go_on(self) -> None:
        """Put into the store what could not be put there when it came, and make ``results.jsonl`` agree with it.

        For the one process that is to add results.
        """
        self.results.add(self._unstored())
        self._export.agree(is_trimmed=self.folder.committed_file.exists())
        self.folder.unstored_file.unlink(missing_ok=True)
        self.folder.committed_file.unlink(missing_ok=True)

    def add(self, images: Sequence[ScreenedImage], states: Mapping[str, str] | None = None) -> None:
        """Add a batch of results as a whole, see `ResultTable.add`, and its lines to ``results.jsonl``.

        Raises:
            StoreError: when the store does not take them; `go_on` puts them there later.
        """
        try:
            records = self.results.add(images, states)
        except StoreError as error:
            file = self.folder.unstored_file
            append_lines(file, (image.model_dump_json() for image in images))
            raise StoreError(
                f"{error}; what was computed is in {file}, and the same command goes on with it"
            ) from error
        if records:
            self._export.append(records)

    def _unstored(self) -> list[ScreenedImage]:
        """Whole lines; a torn one is of a process that was killed, and its image is screened again."""
        file, found = self.folder.unstored_file, []
        for line in file.read_bytes().splitlines() if file.exists() else ():
            try:
                found.append(ScreenedImage.model_validate_json(line))
            except ValidationError:
                log.warning("%s: a line is damaged; its image is screened again", file)
        return found


def _in_file(folder: ScreenedFolder, keep_connections: bool) -> Database:
    known = folder.database()
    if known is not None and known.place:
        raise UsageError(
            f"{folder.path}: its reviews are in the database {known.place}; give `database`, or set the variable "
            "CXRLENS_DATABASE"
        )
    file = folder.store_file
    database = Database(sqlite.make_engine(file, keep_connections=keep_connections), str(file), sqlite.sentence)
    with database.writing() as connection:
        migrate(connection, folder, is_new=bring_up(connection, database.place))
    with database.writing():  # only now that what it had is kept
        if folder.is_of_earlier_version():
            folder.raise_format()
    sqlite.choose_journal(file)
    return database


def _in_database(folder: ScreenedFolder, server: Server) -> Database:
    known = folder.info().database
    if known is None or not known.place:
        has_content = folder.store_file.exists() or folder.results_file.exists()
        move(folder, _in_file(folder, False) if has_content else None, server)
        known = folder.info().database
    assert known is not None
    database = server.database(known.screening)
    with database.writing() as connection:
        if not postgresql.is_there(connection, known.screening):
            raise UsageError(
                f"{server.place}: does not hold the reviews of {folder.path}, which were put into {known.place}; give "
                "that database, or restore them from a copy"
            )
        postgresql.require_rights(connection, server.place, known.screening)
        bring_up(connection, server.place)
        migrate(connection, folder, is_new=False)
    return database
