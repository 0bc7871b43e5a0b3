"""Tables of the present version: made where there are none, changed where they are of an earlier one."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from cxrlens.errors import UsageError
from cxrlens.screening.store.schema import fact, facts

REVISION = "0004"
"""That the queries are for: the last one in `revisions`."""

_TABLE = "alembic_version"
_REVISIONS = Path(__file__).with_name("revisions")


def bring_up(connection: Connection, place: str) -> bool:
    """Make the tables, or bring them to the present revision, within the transaction at hand; True where they are new.

    Raises:
        UsageError: when something else is kept there, or a store of a newer version.
    """
    found = _revision(connection, place)
    if found is not None and found > REVISION:
        raise UsageError(
            f"{place}: is a store of a newer version of cxrlens (revision {found}, this one knows {REVISION}); "
            "install that version, or a newer one"
        )
    if found != REVISION:
        _run(connection, found)
    return found is None


def _revision(connection: Connection, place: str) -> str | None:
    """None where there is nothing yet."""
    there = set(inspect(connection).get_table_names())
    if not there:
        return None
    if facts.name in there and _TABLE in there:
        return str(connection.scalar(text(f"SELECT version_num FROM {_TABLE}")))
    if facts.name in there and fact(connection, "format") == "1":  # made before revisions were counted
        return "0001"
    raise UsageError(f"{place}: holds no results of a screening; move it away, or name another place")


def _run(connection: Connection, found: str | None) -> None:
    from alembic import command  # takes long, and is hardly ever needed
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_REVISIONS).replace("%", "%%"))
    if found is not None:
        command.stamp(config, found)
    command.upgrade(config, REVISION)
