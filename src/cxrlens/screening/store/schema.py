"""The tables: results in the order in which they came, and the audit log, of which the standing verdicts are a view.

They are as queries have them; what makes them, in a new store and in one of an earlier version, is in `revisions`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    column,
    false,
    select,
    table,
    true,
)

metadata = MetaData()
_Id = BigInteger().with_variant(Integer(), "sqlite")
_CodePoints = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that sorts by code point, as Python's does; SQLite compares bytes of UTF-8, which is the same."""

facts = Table(
    "facts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

results = Table(
    "results",
    metadata,
    Column("id", _Id, primary_key=True, comment="rises as results come"),
    Column("name", _CodePoints, nullable=False),
    Column("key", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("decision", Text),
    Column("triage", Text),
    Column("probability", Double),
    Column("rank", Double, nullable=False, comment="see `rank_of`"),
    Column("is_newest", Boolean, nullable=False, comment="of its name"),
    Column("record", Text, nullable=False, comment="the whole result as a line of results.jsonl"),
    Column("is_remarked", Boolean, nullable=False, server_default=false(), comment="has doubts among its remarks"),
    Column("state", Text, nullable=False, server_default="", comment="of its file when that was read, see `State`"),
    sqlite_autoincrement=True,
)
_is_newest = results.c.is_newest == true()  # as queries have it: SQLite compares the text of conditions
Index(
    "newest_of_name",
    results.c.name,
    unique=True,
    sqlite_where=_is_newest,
    postgresql_where=_is_newest,
)
Index(  # with all that counts and filters ask for, so that records are not read for them
    "worklist",
    results.c.rank,
    results.c.name,
    results.c.status,
    results.c.decision,
    results.c.triage,
    results.c.key,
    results.c.is_newest,
    sqlite_where=_is_newest,
    postgresql_where=_is_newest,
)
_is_remarked = _is_newest & (results.c.is_remarked == true())
Index(  # its first column is the same in all: SQLite prefers an index whose first column is asked for
    "remarked",
    results.c.is_remarked,
    results.c.rank,
    results.c.name,
    sqlite_where=_is_remarked,
    postgresql_where=_is_remarked,
)
Index("results_of_key", results.c.key, results.c.id)


def _with_default(name: str, default: str, comment: str) -> Column[str]:
    """What entries of earlier versions have as the default."""
    return Column(name, Text, nullable=False, server_default=default, comment=comment)


audit = Table(
    "audit",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("time", Text, nullable=False),
    Column("key", Text, CheckConstraint("length(key) = 64"), nullable=False),
    Column("name", Text, nullable=False),
    Column("verdict", Text, CheckConstraint("verdict IN ('accept', 'retake', 'none')"), nullable=False),
    Column("replaced", Text, CheckConstraint("replaced IN ('accept', 'retake', 'none')"), nullable=False),
    Column("probability", Double),
    Column("model_sha256", Text, nullable=False),
    Column("request", Text, comment="the client's own number of what it asked for, where it gave one"),
    _with_default("reader", "", "name of who gave it; empty where it is not known"),
    _with_default("reason", "", "id of why it is to be retaken; empty where none was given"),
    _with_default("comment", "", "what the reader wrote"),
    _with_default("marks", "[]", "what the reader drew, as JSON"),
    sqlite_autoincrement=True,
)
Index("audit_of_key", audit.c.key, audit.c.reader, audit.c.id)
Index("audit_of_request", audit.c.request, unique=True)

_STANDING = ("key", "name", "verdict", "probability", "time", "id", "reader", "reason", "comment", "marks")
verdicts = table("verdicts", *(column(name) for name in _STANDING))
"""A view: the last entry of each key and reader in the audit log, but for those that withdraw a verdict."""


def fact(connection: Connection, name: str) -> str | None:
    """A fact that the store keeps of itself."""
    return connection.scalar(select(facts.c.value).where(facts.c.name == name))


def set_fact(connection: Connection, name: str, value: str) -> None:
    """Keep a fact, in place of what it was before."""
    connection.execute(facts.delete().where(facts.c.name == name))
    connection.execute(facts.insert().values(name=name, value=value))
