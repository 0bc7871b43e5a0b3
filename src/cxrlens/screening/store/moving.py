"""A folder's store is moved from its file into a database: all of it or nothing, at whatever moment that is killed."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from uuid import uuid4

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Table, func, insert, select

from cxrlens.errors import UsageError
from cxrlens.files import printable
from cxrlens.screening.folder import ScreenedFolder, StoreInDatabase
from cxrlens.screening.store import postgresql, sqlite
from cxrlens.screening.store.database import Database
from cxrlens.screening.store.postgresql import Server
from cxrlens.screening.store.schema import audit, facts, results
from cxrlens.screening.store.upgrading import bring_up

log = logging.getLogger(__name__)

_ROWS = 500
_LOCK = ".moving.lock"


def move(folder: ScreenedFolder, file: Database | None, server: Server) -> None:
    """Move a folder's store into a database, unless another process has done so.

    The folder first notes the number that it is to have there, then the database takes over all, then the file takes
    no more, and last the folder says where its store is; whoever is killed in between begins again.

    Args:
        file: the folder's own store; None where it holds nothing yet.

    Raises:
        UsageError: when another process is at it for long.
        StoreError: when the one cannot be read, or the other not written.
    """
    try:
        with FileLock(folder.path / _LOCK, timeout=sqlite.SECONDS):
            known = folder.database()
            if known is None:
                known = StoreInDatabase(screening=uuid4().hex, place="")
                _note(folder, known)
            if not known.place:
                _move(folder, known.screening, file, server)
                _note(folder, known.model_copy(update={"place": server.place}))
                if file is not None:
                    log.info(
                        "%s: its reviews are in %s now; %s is no longer used", folder.path, server.place, file.place
                    )
    except (Timeout, OSError, NotImplementedError) as error:
        raise UsageError(
            f"{folder.path / _LOCK}: cannot be locked ({error}); end the process that moves the reviews into the "
            "database, or check the rights there"
        ) from error


def _note(folder: ScreenedFolder, known: StoreInDatabase) -> None:
    folder.write_info(folder.info().model_copy(update={"database": known}))


def _move(folder: ScreenedFolder, screening: str, file: Database | None, server: Server) -> None:
    database = server.database(screening)
    with ExitStack() as stack:
        stack.callback(database.close)
        source = stack.enter_context(file.writing()) if file else None  # nobody adds to it meanwhile
        with database.writing() as target:
            remark = printable(f"cxrlens: reviews of the screened folder {folder.path.resolve()}")
            postgresql.make_anew(target, screening, remark)
            bring_up(target, server.place)
            if source is not None:
                _copy(source, target)
        if source is not None:
            sqlite.close(source, server.place)


def _copy(source: Connection, target: Connection) -> None:
    """All rows, with the numbers that they have."""
    target.execute(facts.delete())
    target.execute(insert(facts), [dict(row) for row in source.execute(select(facts)).mappings()])
    for table in (results, audit):
        last = 0
        while (
            rows := source.execute(select(table).where(table.c.id > last).order_by(table.c.id).limit(_ROWS))
            .mappings()
            .all()
        ):
            target.execute(insert(table), [dict(row) for row in rows])
            last = rows[-1]["id"]
        _count_on(target, table)


def _count_on(target: Connection, table: Table) -> None:
    """Later rows get later numbers."""
    sequence = func.pg_get_serial_sequence(table.name, "id")
    highest = select(func.max(table.c.id)).scalar_subquery()
    target.execute(select(func.setval(sequence, func.coalesce(highest, 1), highest.is_not(None))))
