"""All that is particular to PostgreSQL: the server's address, connections, locks, and a schema for each screening."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, create_engine, event, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError as UrlError
from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, IntegrityError

from cxrlens.errors import UsageError
from cxrlens.screening.store.database import Database, StoreError

SECONDS = 20
"""For which a writer waits for another one."""

_FORM = "postgresql://USER@HOST:5432/NAME"
_CONNECTING = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # ms
    "application_name": "cxrlens",
    "prepare_threshold": None,  # poolers between here and the server know no prepared statements
}
"""A server that is gone is noticed, also where its machine says nothing any more."""

_PLACE = re.compile(r"^connection failed: (?:connection to server .* failed: )?(?:FATAL: *)?")
"""What libpq says before the reason: where it was connecting to."""
_PASSWORD = "give the right user and password, such as in $CXRLENS_DATABASE, $PGPASSWORD or ~/.pgpass"
_RIGHTS = (
    "let its administrator grant the user the rights to write there (GRANT, or ownership of what others have made)"
)
_WRITABLE = "give the server that may be written to, or have it made so (default_transaction_read_only)"
_START = "it is starting or ending; try again in a moment"
_REMEDIES = {
    "28": _PASSWORD,
    "3D000": "make the database, such as with 'createdb NAME'",
    "42501": _RIGHTS,
    "25006": _WRITABLE,
    "53100": "check the space there",
    "53300": "let its administrator allow more connections",
    "55P03": f"another process has written for {SECONDS} seconds; end it, or try again",
    "57P": _START,
    "3F000": "its tables have been removed; restore them from a copy",
    "42P01": "its tables have been removed; restore them from a copy",
}
"""By how the codes of SQLSTATE begin."""
_REMEDIES_OF_WORDS = {
    "password": _PASSWORD,
    "does not exist": "make the database, such as with 'createdb NAME', or name one that is there",
    "permission denied": _RIGHTS,
    "no pg_hba.conf entry": "let its administrator allow this user and machine (pg_hba.conf)",
    "resolve host": "check the host's name",
    "translate host": "check the host's name",
    "Name or service": "check the host's name",
    "starting up": _START,
    "shutting down": _START,
    "in recovery": _START,
    "too many": "let its administrator allow more connections",
}
"""By words of what the server says before a connection stands, which has no code."""


class Server:
    """A database of a PostgreSQL server, which holds the stores of any number of screenings, each in its own schema.

    Attributes:
        place: host, port and name, for error texts and files; never user or password.

    Raises:
        UsageError: when it is no address of such a database, or the driver is not installed.
    """

    def __init__(self, address: str) -> None:
        self._url = _url(address)
        host = self._url.host or self._url.query.get("host") or ""
        port = self._url.port or 5432
        self.place = f"postgresql://{host}:{port}/{self._url.database}"
        _require_driver()

    def database(self, screening: str) -> Database:
        """The store of a screening; a connection is made with the first transaction."""
        engine = create_engine(
            self._url, connect_args=_CONNECTING, pool_size=5, max_overflow=30, pool_pre_ping=True, hide_parameters=True
        )
        schema, lock = schema_of(screening), int(screening[:15], 16)

        def begin(connection: Connection) -> None:
            """A writer shuts out the others of its screening, as SQLite's does: what it reads stays true."""
            options: Any = connection.get_execution_options()
            if options.get("writes"):
                first = f"SET LOCAL lock_timeout = '{SECONDS}s'; SELECT pg_advisory_xact_lock({lock})"
            else:
                first = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
            connection.exec_driver_sql(f"{first}; SET LOCAL search_path TO {schema}")

        event.listen(engine, "begin", begin)
        return Database(engine, self.place, _sentence)


def reached(address: str) -> Server:
    """The server of an address, which answers.

    Raises:
        UsageError: when it does not, or `Server` refuses the address.
    """
    server = Server(address)
    database = server.database("0" * 32)
    try:
        with database.reading() as connection:
            connection.scalar(select(1))
    except StoreError as error:
        raise UsageError(str(error)) from error
    finally:
        database.close()
    return server


def schema_of(screening: str) -> str:
    """The name of the schema that holds a screening's store."""
    return f"cxrlens_{screening}"


def is_there(connection: Connection, screening: str) -> bool:
    """Whether the database holds the schema of a screening."""
    found = text("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = :name")
    return connection.scalar(found, {"name": schema_of(screening)}) is not None


def require_rights(connection: Connection, place: str, screening: str) -> None:
    """Refuse a user who may not add to the store of a screening, or a server that may only be read.

    Raises:
        UsageError: with the remedy.
    """
    schema = schema_of(screening)
    may = "has_schema_privilege(:schema, 'USAGE')"
    if not connection.scalar(text(f"SELECT {may}"), {"schema": schema}):
        raise UsageError(f"{place}: this user may not use the schema {schema}; {_RIGHTS}")
    for table, right in (("audit", "INSERT"), ("results", "INSERT"), ("results", "UPDATE"), ("results", "DELETE")):
        may = "to_regclass(:table) IS NULL OR has_table_privilege(to_regclass(:table), :right)"
        if not connection.scalar(text(f"SELECT {may}"), {"table": table, "right": right}):
            raise UsageError(f"{place}: this user may only read the reviews there; {_RIGHTS}")
    if connection.scalar(text("SELECT current_setting('transaction_read_only')")) == "on":
        raise UsageError(f"{place}: may only be read; {_WRITABLE}")


def make_anew(connection: Connection, screening: str, remark: str) -> None:
    """Make the empty schema of a screening; whatever a process that was killed at it has left goes.

    Args:
        remark: what an administrator reads of it.
    """
    schema = schema_of(screening)
    if is_there(connection, screening):
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    said = remark.encode(errors="backslashreplace").decode().replace("'", "''").replace("%", "%%")
    connection.exec_driver_sql(f"COMMENT ON SCHEMA {schema} IS '{said}'")


def _url(address: str) -> URL:
    """The address as SQLAlchemy has it; no error text repeats it, as it may hold a password."""
    try:
        url = make_url(address.strip())
    except (UrlError, ValueError):
        raise UsageError(
            f"`database` is no address such as {_FORM}; signs such as @ or : in a password are written as %40 or %3A"
        ) from None
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise UsageError(f"`database` takes the address of a PostgreSQL database, such as {_FORM}")
    if "@" in (url.host or ""):
        raise UsageError("`database` has a password with the sign @; write it as %40")
    if not url.database:
        raise UsageError(f"`database` names no database; give an address such as {_FORM}")
    return url.set(drivername="postgresql+psycopg")


def _require_driver() -> None:
    try:
        import psycopg  # noqa: F401
    except ImportError:  # also where the library it rests on is missing
        raise UsageError(
            "a PostgreSQL database needs the package psycopg, which is not installed: pip install 'cxrlens[postgres]'"
        ) from None


def _sentence(error: DBAPIError) -> str | None:
    """What has failed and the user's remedy; None of a defect of the program."""
    code = getattr(error.orig, "sqlstate", None) or ""
    reason = _PLACE.sub("", str(error.orig).partition("\n")[0]).removesuffix(".")
    remedy = next((text for sign, text in _REMEDIES.items() if code.startswith(sign)), None)
    if remedy is None and not code:
        remedy = next((text for sign, text in _REMEDIES_OF_WORDS.items() if sign in reason), None)
    if remedy is None and (isinstance(error, (IntegrityError, DataError)) or not isinstance(error, DatabaseError)):
        return None
    if remedy is None and code.startswith(("42", "P0")):  # what is no statement, and what a trigger refuses
        return None
    return f"cannot be read or written ({reason}); {remedy or 'check that the server runs, and the address'}"
