"""Readers' verdicts in SQLite: an audit log that only grows, and the verdicts that stand as a view of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cxrlens.errors import UsageError
from cxrlens.serving.answers import AuditEntry, GivenVerdict, KeptVerdict, Verdict

FILE = "verdicts.sqlite"
_FORMAT = 1
_SECONDS = 20.0  # how long a writer waits for another one

_SCHEMA = """
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time TEXT NOT NULL,
    key TEXT NOT NULL CHECK (length(key) = 64),
    name TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('accept', 'retake', 'none')),
    replaced TEXT NOT NULL CHECK (replaced IN ('accept', 'retake', 'none')),
    probability REAL,
    model_sha256 TEXT NOT NULL
);
CREATE INDEX audit_of_key ON audit (key, id);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
CREATE VIEW verdicts AS
SELECT key, name, verdict, probability, time, id FROM audit
WHERE id IN (SELECT max(id) FROM audit GROUP BY key) AND verdict <> 'none';
"""


class VerdictStore:
    """The verdicts of a screened folder, kept in its ``verdicts.sqlite``.

    Every call is a transaction of its own and is on the disk when it returns; threads and processes may share the
    file. What a killed process had not finished is as if it had not begun.

    Raises:
        UsageError: when the file cannot be opened or made, or is none of this kind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with self._transaction() as connection:
                (format_,) = connection.execute("PRAGMA user_version").fetchone()
                (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                if format_ == 0 and tables == 0:
                    for statement in _statements(_SCHEMA):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {_FORMAT}")
                elif format_ != _FORMAT:
                    raise UsageError(f"{path}: holds no verdicts, or those of another version of cxrlens; move it away")
        except sqlite3.Error as error:
            raise UsageError(
                f"{path}: verdicts cannot be kept there ({error}); check the file and its rights"
            ) from error

    def give(
        self, key: str, name: str, verdict: Verdict, *, probability: float | None, model_sha256: str
    ) -> GivenVerdict:
        """Let a verdict stand; the one that stands already is not recorded again.

        Raises:
            sqlite3.Error: when it cannot be kept (a full disk, a locked file); nothing is changed then.
        """
        with self._transaction() as connection:
            found = connection.execute(
                "SELECT id, time, verdict FROM audit WHERE key = ? ORDER BY id DESC LIMIT 1", (key,)
            ).fetchone()
            id_, time, before = found or (None, "", "none")
            if verdict != before:
                time = datetime.now(UTC).isoformat(timespec="milliseconds")
                id_ = connection.execute(
                    "INSERT INTO audit (time, key, name, verdict, replaced, probability, model_sha256)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (time, key, name, verdict, before, probability, model_sha256),
                ).lastrowid
        return GivenVerdict(
            key=key, name=name, verdict=verdict, replaced=before, changed=verdict != before, id=id_, time=time
        )

    def standing(self) -> dict[str, KeptVerdict]:
        """The verdicts that stand, by key, in the order in which they were given."""
        with closing(self._connect()) as connection:
            rows = connection.execute(
                "SELECT key, name, verdict, probability, time FROM verdicts ORDER BY id"
            ).fetchall()
        return {
            key: KeptVerdict(key=key, name=name, verdict=verdict, probability=probability, time=time)
            for key, name, verdict, probability, time in rows
        }

    def audit(self, after: int = 0, limit: int = 1000) -> tuple[int, list[AuditEntry]]:
        """The number of all entries, and so many of those whose id is larger, oldest first."""
        columns = ("id", "time", "key", "name", "verdict", "replaced", "probability", "model_sha256")
        with closing(self._connect()) as connection:
            (total,) = connection.execute("SELECT count(*) FROM audit").fetchone()
            rows = connection.execute(
                f"SELECT {', '.join(columns)} FROM audit WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
            ).fetchall()
        return total, [AuditEntry(**dict(zip(columns, row, strict=True))) for row in rows]

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")  # what is read stays true until it is written
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one, because `executescript` ends a transaction."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
