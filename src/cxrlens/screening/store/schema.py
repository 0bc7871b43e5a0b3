"""The tables: results in the order in which they came, and the audit log, of which the standing verdicts are a view."""

from __future__ import annotations

from typing import Any

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
    event,
    exists,
    inspect,
    select,
    table,
    true,
)

from cxrlens.errors import UsageError

FORMAT = "1"

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
    sqlite_autoincrement=True,
)
_has = results.c.record.contains
is_remarked = _has('"doubts":["', autoescape=True) | (
    _has('"remarks":["', autoescape=True) & ~_has('"doubts":[', autoescape=True)
)
"""True of a record with doubts, or with remarks of which it does not tell: no text within one can hold this, as its
quotation marks are escaped."""
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
Index("results_of_key", results.c.key, results.c.id)

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
    sqlite_autoincrement=True,
)
Index("audit_of_key", audit.c.key, audit.c.id)

verdicts = table("verdicts", *(column(name) for name in ("key", "name", "verdict", "probability", "time", "id")))
"""A view: the last entry of each key in the audit log, but for those that withdraw a verdict."""
_later = audit.alias("later")
_standing = select(*(audit.c[each.name] for each in verdicts.c)).where(
    audit.c.verdict != "none", ~exists().where(_later.c.key == audit.c.key, _later.c.id > audit.c.id)
)


@event.listens_for(metadata, "after_create")
def _make_view(_: MetaData, connection: Connection, **_more: Any) -> None:
    statement = _standing.compile(connection, compile_kwargs={"literal_binds": True})
    connection.exec_driver_sql(f"CREATE VIEW verdicts AS {statement}")


def prepare(connection: Connection, place: str) -> bool:
    """Make the tables where there are none yet; True where they are new.

    Raises:
        UsageError: when something else is kept there, or a store of another version.
    """
    there = set(inspect(connection).get_table_names())
    if not there:
        metadata.create_all(connection)
        set_fact(connection, "format", FORMAT)
        return True
    if facts.name not in there or fact(connection, "format") != FORMAT:
        raise UsageError(
            f"{place}: holds no results of a screening, or those of another version of cxrlens; move it away"
        )
    return False


def fact(connection: Connection, name: str) -> str | None:
    """A fact that the store keeps of itself."""
    return connection.scalar(select(facts.c.value).where(facts.c.name == name))


def set_fact(connection: Connection, name: str, value: str) -> None:
    """Keep a fact, in place of what it was before."""
    connection.execute(facts.delete().where(facts.c.name == name))
    connection.execute(facts.insert().values(name=name, value=value))
