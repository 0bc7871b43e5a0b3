"""The store's revisions, its way into a database, and what is said where a database cannot hold it."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event, text

from cxrlens.errors import UsageError
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store import moving, upgrading
from cxrlens.screening.store.database import StoreError
from cxrlens.screening.store.postgresql import Server, reached, schema_of
from cxrlens.screening.store.schema import metadata
from cxrlens.screening.store.store import Store
from postgresql import PASSWORD, PostgresServer
from stores import opened, screened
from waiting import PATIENCE

A, B = "a" * 64, "b" * 64
MADE = Path(__file__).with_name("format2") / "store.sql"
"""Written by version 0.1.0 before its store had revisions."""
RESULT_COLUMNS = "id, name, key, status, decision, triage, probability, rank, is_newest, record"
"""Of its results; later versions have more."""


@pytest.fixture
def database(postgres: PostgresServer) -> Server:
    return reached(postgres.address())


@pytest.fixture
def unrevised(tmp_path: Path) -> ScreenedFolder:
    """A folder whose store has no revisions yet."""
    return made(tmp_path / "unrevised")


def made(path: Path) -> ScreenedFolder:
    folder = screened(path)
    with closing(sqlite3.connect(folder.store_file)) as connection:
        connection.executescript(MADE.read_text("utf-8"))
    return folder


def image(name: str, key: str = A, probability: float = 0.5) -> ScreenedImage:
    return ScreenedImage(name=name, key=key, probability=probability, decision="affected")


def of_file(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of results and log of a store in a file."""
    with closing(sqlite3.connect(path)) as connection:
        columns = "id, time, key, name, verdict, replaced, probability, model_sha256"
        return {
            "results": connection.execute(f"SELECT {RESULT_COLUMNS} FROM results ORDER BY id").fetchall(),
            "audit": connection.execute(f"SELECT {columns} FROM audit ORDER BY id").fetchall(),
        }


def of_database(postgres: PostgresServer, folder: ScreenedFolder) -> dict[str, list[tuple[Any, ...]]]:
    """The same of a store in a database, as its own client sees them."""
    known = folder.database()
    assert known is not None
    schema = schema_of(known.screening)
    columns = "id, time, key, name, verdict, replaced, probability, model_sha256"
    return {
        "results": postgres.ask(f"SELECT {RESULT_COLUMNS} FROM {schema}.results ORDER BY id"),
        "audit": postgres.ask(f"SELECT {columns} FROM {schema}.audit ORDER BY id"),
    }


def says_what_was_made(store: Store) -> None:
    assert [json.loads(record)["name"] for record in store.results.records()] == [
        "a.jpg", "größe.jpg", "no.jpg", "a.jpg"
    ]  # fmt: skip
    assert [each.name for each in store.results.newest()] == ["a.jpg", "größe.jpg", "no.jpg"]
    assert [(kept.name, kept.verdict) for kept in store.verdicts.standing()] == [
        ("a.jpg", "retake"), ("größe.jpg", "retake")
    ]  # fmt: skip
    assert [entry.verdict for entry in store.verdicts.audit()[1]] == ["accept", "retake", "none", "retake"]


def test_revisions_make_the_tables_that_queries_are_for(server: Server | None, tmp_path: Path) -> None:
    with opened(tmp_path, server) as store, store.database.reading() as connection:
        options = {"compare_type": True, "include_object": lambda _, name, *__: name != "alembic_version"}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == upgrading.REVISION


def test_the_last_revision_is_the_one_that_queries_are_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(upgrading._REVISIONS))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [upgrading.REVISION]
    found = [each.revision for each in scripts.walk_revisions()]
    assert sorted(found, reverse=True) == found  # they are compared as texts


def test_a_store_without_revisions_is_brought_up(unrevised: ScreenedFolder) -> None:
    before = of_file(unrevised.store_file)
    for _ in range(2):
        with Store(unrevised) as store:
            says_what_was_made(store)
            assert of_file(unrevised.store_file) == before
    given = store.verdicts.give(B, "accept", lambda: A, "retake", "1" * 32)
    assert given is not None
    assert given.id == 5


def test_doubts_of_results_without_revisions_are_found(unrevised: ScreenedFolder) -> None:
    """A remark of a record that does not tell of doubts is one."""
    with closing(sqlite3.connect(unrevised.store_file)) as connection, connection:
        rows = connection.execute("SELECT id, record FROM results WHERE is_newest ORDER BY id").fetchall()
        parts = [{"remarks": ["It is black."], "doubts": ["It is black."]}, {"remarks": ["It has 12 bits."]}]
        for (number, record), changes in zip(rows, parts, strict=False):
            told = json.loads(record) | changes
            if "doubts" not in changes:
                del told["doubts"]
            text_ = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
            connection.execute("UPDATE results SET record = ? WHERE id = ?", (text_, number))
        before = {**json.loads(rows[2][1]), "remarks": ['It says "doubts":["no"].']}
        text_ = json.dumps(before, ensure_ascii=False, separators=(",", ":"))
        connection.execute("UPDATE results SET record = ? WHERE id = ?", (text_, rows[2][0]))
    with Store(unrevised) as store:
        assert store.results.remarked() == 2
        assert [bool(each.doubts) for each in store.results.newest()] == [False, True, True]


def test_a_database_of_the_first_revision_is_brought_up(
    postgres: PostgresServer, database: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = screened(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(upgrading, "REVISION", "0001")
        moving.move(folder, None, database)
    known = folder.database()
    assert known is not None
    schema = schema_of(known.screening)
    assert postgres.ask(f"SELECT version_num FROM {schema}.alembic_version") == [("0001",)]
    postgres.ask(
        f"INSERT INTO {schema}.audit (time, key, name, verdict, replaced, model_sha256) "
        f"VALUES ('', '{A}', 'a', 'accept', 'none', '')"
    )
    at_once(lambda: Store(folder, database))
    assert postgres.ask(f"SELECT version_num FROM {schema}.alembic_version") == [(upgrading.REVISION,)]
    assert Store(folder, database).verdicts.audit()[0] == 1


def at_once(task: Callable[[], object], count: int = 4) -> None:
    """The same in several processes."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=task) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def test_a_store_of_a_newer_version_is_refused(server: Server | None, tmp_path: Path) -> None:
    with opened(tmp_path, server) as store, store.database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    with pytest.raises(UsageError, match=r"newer version of cxrlens \(revision 0999, .*install that version"):
        Store(ScreenedFolder(tmp_path), server)


def test_a_folder_moves_into_a_database(
    unrevised: ScreenedFolder, postgres: PostgresServer, database: Server, caplog: pytest.LogCaptureFixture
) -> None:
    stale = Store(unrevised)
    before = of_file(unrevised.store_file)
    with Store(unrevised, database) as store:
        says_what_was_made(store)
        store.go_on()
        assert of_database(postgres, unrevised) == before
        assert unrevised.results_file.read_text("utf-8").splitlines() == [*store.results.records()]
        store.add([image("new.jpg", "e" * 64)])
        given = store.verdicts.give("e" * 64, "accept", lambda: A)
        assert given is not None
        assert given.id == 5
    assert of_file(unrevised.store_file) == before
    with pytest.raises(StoreError, match=rf"its reviews have moved to {database.place}\); give `database`"):
        stale.verdicts.give(B, "accept", lambda: A)  # a server that was running all the time
    with pytest.raises(UsageError, match=rf"unrevised: its reviews are in the database {database.place}; give"):
        Store(unrevised)
    assert Store(unrevised, database).verdicts.audit()[0] == 5
    assert PASSWORD not in unrevised.info_file.read_text() + caplog.text


def test_a_move_that_is_killed_at_any_moment_begins_again(
    postgres: PostgresServer, database: Server, tmp_path: Path
) -> None:
    """Before each statement and each commit of either store, until it comes through."""

    def killed_before(statements: int, folder: ScreenedFolder) -> None:
        counter = itertools.count()

        def die(*_: object) -> None:
            if next(counter) == statements:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(Engine, "before_cursor_execute", die)
        event.listen(Engine, "commit", die)
        Store(folder, database)
        os._exit(0)

    context = multiprocessing.get_context("fork")
    for statements in itertools.count(0, 3):
        folder = made(tmp_path / str(statements))
        before = of_file(folder.store_file)
        process = context.Process(target=killed_before, args=(statements, folder))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        with Store(folder, database) as store:
            says_what_was_made(store)
        assert of_database(postgres, folder) == before
        if process.exitcode == 0:
            break
    assert statements > 20


def test_processes_that_move_a_folder_at_once(
    unrevised: ScreenedFolder, postgres: PostgresServer, database: Server
) -> None:
    before = of_file(unrevised.store_file)
    at_once(lambda: Store(unrevised, database))
    assert of_database(postgres, unrevised) == before


def test_folders_share_a_database(database: Server, tmp_path: Path) -> None:
    """They are told apart by a number of their own, which they keep wherever they are."""
    first, second = (opened(tmp_path / name, database) for name in ("first", "second"))
    first.add([image("a.jpg", A)])
    second.add([image("a.jpg", B)])
    assert first.verdicts.give(A, "accept", lambda: A)
    assert second.verdicts.give(A, "accept", lambda: A) is None
    (tmp_path / "first").rename(tmp_path / "elsewhere")
    (tmp_path / "second").rename(tmp_path / "first")
    assert Store(ScreenedFolder(tmp_path / "elsewhere"), database).verdicts.audit()[0] == 1
    assert Store(ScreenedFolder(tmp_path / "first"), database).verdicts.audit()[0] == 0


def test_a_folder_is_not_begun_in_another_database(postgres: PostgresServer, database: Server, tmp_path: Path) -> None:
    opened(tmp_path, database)
    postgres.ask("CREATE DATABASE elsewhere")
    try:
        with pytest.raises(UsageError, match=f"elsewhere: does not hold the reviews of .*{database.place}"):
            Store(ScreenedFolder(tmp_path), reached(postgres.address("elsewhere")))
    finally:
        postgres.ask("DROP DATABASE elsewhere WITH (FORCE)")


@pytest.fixture
def reader(postgres: PostgresServer) -> Iterator[str]:
    """A user without any rights."""
    postgres.ask("CREATE ROLE reader LOGIN PASSWORD 'r'")
    yield postgres.address(user="reader", password="r")
    postgres.ask("DROP OWNED BY reader; DROP ROLE reader")


def test_a_user_who_may_not_write_is_told(
    reader: str, postgres: PostgresServer, database: Server, tmp_path: Path
) -> None:
    new = screened(tmp_path / "new")
    with pytest.raises(UsageError, match=r"permission denied for database .*grant the user the rights"):
        Store(new, reached(reader))
    folder = screened(tmp_path / "old")
    with opened(folder.path, database) as store:
        store.add([image("a.jpg")])
    known = folder.database()
    assert known is not None
    schema = schema_of(known.screening)
    with pytest.raises(UsageError, match=rf"may not use the schema {schema}; .*grant the user the rights"):
        Store(folder, reached(reader))
    postgres.ask(f"GRANT USAGE ON SCHEMA {schema} TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader")
    with pytest.raises(UsageError, match=r"may only read the reviews there; .*grant the user the rights"):
        Store(folder, reached(reader))
    with pytest.raises(UsageError, match=r"may only be read; .*default_transaction_read_only"):
        Store(folder, reached(f"{postgres.address()}?options=-cdefault_transaction_read_only%3Don"))


SECRET = "Zx9-secret"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            f"postgresql://tester:{SECRET}@127.0.0.1:PORT/postgres",
            "password authentication failed.*right user and pass",
        ),
        (
            f"postgresql://nobody:{SECRET}@127.0.0.1:PORT/postgres",
            "password authentication failed.*right user and pass",
        ),
        ("postgresql://tester@127.0.0.1:PORT/postgres", r"password.*\$CXRLENS_DATABASE"),
        (f"postgresql://tester:{PASSWORD}@127.0.0.1:PORT/nothere", '"nothere" does not exist.*createdb'),
        (f"postgresql://a:{SECRET}@nohost.invalid/x", "nohost.invalid:5432/x: .*check the host's name"),
        (f"postgresql://a:{SECRET}@127.0.0.1:1/x", "127.0.0.1:1/x: .*Connection refused.*check that the server runs"),
        (f"postgresql://a:{SECRET}@x@host/name", "password with the sign @; write it as %40"),
        (f"postgresql://a:b:{SECRET}", "no address such as postgresql://"),
        (f"postgresql://a:{SECRET}@host", "names no database"),
        (f"mysql://a:{SECRET}@host/x", "takes the address of a PostgreSQL database"),
        (SECRET, "no address such as postgresql://"),
    ],
)
def test_a_database_that_cannot_be_used_is_said_in_a_sentence(
    postgres: PostgresServer, address: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        reached(address.replace("PORT", str(postgres.port)))
    assert raised.value.exit_code == 2
    for secret in (SECRET, PASSWORD):
        assert secret not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match=r"pip install 'cxrlens\[postgres\]'"):
        reached("postgresql://a@b/c")


def test_results_that_the_database_did_not_take_are_put_there_later(
    postgres: PostgresServer, database: Server, tmp_path: Path
) -> None:
    store = opened(tmp_path, database)
    store.add([image("a.jpg")])
    postgres.kill()
    try:
        for batch in ([image("b.jpg"), image("a.jpg", B)], [image("c.jpg")]):
            with pytest.raises(StoreError, match=r"cannot be read or written.*unstored\.jsonl, and the same command"):
                store.add(batch)
        with pytest.raises(UsageError, match="cannot be read or written"):
            Store(store.folder, database)
    finally:
        postgres.start()
    with store.folder.unstored_file.open("ab") as stream:
        stream.write(b'{"torn')
    again = opened(tmp_path, database)
    assert [json.loads(record)["name"] for record in again.results.records()] == ["a.jpg", "b.jpg", "a.jpg", "c.jpg"]
    assert store.folder.results_file.read_text("utf-8").splitlines() == [*again.results.records()]
    assert not store.folder.unstored_file.exists()
    store.add([image("d.jpg")])  # by connections that were there before


def test_a_database_that_is_killed_in_the_middle_of_writing(
    postgres: PostgresServer, database: Server, tmp_path: Path
) -> None:
    """Whatever was said to be kept is there, and nothing is there twice; no more than half before it is killed."""
    store = opened(tmp_path, database)
    store.add([image(f"{number}.jpg", f"{number:064x}") for number in range(400)])
    kept, failures, before_the_kill = Queue[int](), Queue[str](), threading.Semaphore(200)

    def write(begin: int) -> None:
        for number in range(begin, 400, 4):
            before_the_kill.acquire(timeout=PATIENCE)
            while True:
                try:
                    given = store.verdicts.give(f"{number:064x}", "retake", lambda: A, "none", f"{number:032x}")
                except StoreError as error:
                    failures.put(str(error))
                    time.sleep(0.2)
                    continue
                assert given is not None
                assert given.changed
                kept.put(number)
                break

    with ThreadPoolExecutor(4) as threads:
        writers = [threads.submit(write, begin) for begin in range(4)]
        for _ in range(40):
            kept.get(timeout=PATIENCE)
        postgres.kill()
        before_the_kill.release(400)
        assert failures.get(timeout=PATIENCE).startswith(database.place)
        postgres.start()
        for writer in writers:
            writer.result(PATIENCE)
    audit = store.verdicts.audit(limit=1000)[1]
    assert sorted(entry.key for entry in audit) == [f"{number:064x}" for number in range(400)]
