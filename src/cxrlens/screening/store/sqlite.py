"""All that is particular to SQLite: connections, locks, the journal."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine, event
from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, IntegrityError, ProgrammingError

from cxrlens.files import open_private

SECONDS = 20.0
"""For which a writer waits for another one."""

MOVED = "its reviews have moved to "
"""How the refusal begins of a file whose content is in a database now, see `close`."""

_NO_LOCKS = "keep the folder on a local disk: SQLite needs a file system with locks, which some network shares lack"
_REMEDIES = {
    "locked": f"end the program that holds it for so long, or {_NO_LOCKS}",
    "locking": _NO_LOCKS,
    "I/O error": f"check the disk, or {_NO_LOCKS}",
    "full": "check the space there",
    "readonly": "check the rights there",
    "unable to open": "check that the folder is there, and the rights",
    "not a database": "it is damaged or something else; move it away",
    "malformed": "it is damaged; move it away",
}

_NETWORK = ("nfs", "cifs", "smb", "afs", "9p", "ncp", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "fuse.")
"""How the types of file systems begin on which several computers may write."""


def make_engine(path: Path, *, keep_connections: bool = False) -> Engine:
    """An engine of a file, which its owner alone may read if it is new; what is committed is on the disk.

    Args:
        keep_connections: for the next query; otherwise the file is closed after each, and all is in it alone.
    """
    if not path.exists():  # to open a file that SQLite has locked would unlock it
        with contextlib.suppress(OSError):  # what is wrong is said by SQLite, which gives its other files these rights
            os.close(open_private(str(path), os.O_CREAT | os.O_EXCL | os.O_RDWR))
    engine = create_engine(
        "sqlite://",
        creator=lambda: _connect(path),
        poolclass=QueuePool if keep_connections else NullPool,
    )
    event.listen(engine, "begin", _begin)
    return engine


def choose_journal(path: Path) -> str:
    """Let readers and the writer of a file work at the same time, where its file system can; gives the journal's kind.

    The write-ahead log needs memory that all its processes share, which those of several computers cannot.
    """
    wanted = "DELETE" if is_on_network(path) else "WAL"
    with contextlib.closing(_connect(path)) as connection:
        try:
            (kind,) = connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()
        except sqlite3.Error:  # another process is at work, or there is no shared memory: it works as it is
            (kind,) = connection.execute("PRAGMA journal_mode").fetchone()
    return str(kind)


def is_on_network(path: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """True where a file lies on a file system that other computers may write to, as far as this system tells."""
    place = os.fsencode(path.resolve())
    best, kind = b"", ""
    with contextlib.suppress(OSError):
        for line in mounts.read_bytes().splitlines():
            mount, type_ = line.split()[1:3]
            mount = mount.decode("unicode_escape").encode("latin-1")
            if len(mount) >= len(best) and (place + b"/").startswith(mount.rstrip(b"/") + b"/"):
                best, kind = mount, type_.decode()
    return kind.startswith(_NETWORK)


def close(connection: Connection, place: str) -> None:
    """Let nothing be added to a file any more: what it holds is kept at another place."""
    said = f"{MOVED}{place}".replace("'", "''")
    for name in ("results", "audit"):
        connection.exec_driver_sql(
            f"CREATE TRIGGER IF NOT EXISTS {name}_have_moved BEFORE INSERT ON {name} "
            f"BEGIN SELECT RAISE(ABORT, '{said}'); END"
        )


def sentence(error: DBAPIError) -> str | None:
    """What has failed and the user's remedy; None of a defect of the program."""
    reason = str(error.orig)
    if reason.startswith(MOVED):
        return f"cannot be written ({reason}); give `database`, or set the variable CXRLENS_DATABASE"
    if isinstance(error, (IntegrityError, ProgrammingError, DataError)) or not isinstance(error, DatabaseError):
        return None
    remedy = next((text for sign, text in _REMEDIES.items() if sign in reason), "check the file and its rights")
    return f"cannot be read or written ({reason}); {remedy}"


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")  # deleted results may have held patient data
    except BaseException:
        connection.close()
        raise
    return connection


def _begin(connection: Connection) -> None:
    """A writer holds the lock from the beginning on: what it reads stays true until it has written."""
    options: Any = connection.get_execution_options()
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")
