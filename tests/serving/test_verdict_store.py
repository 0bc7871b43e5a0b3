"""Verdicts in SQLite and PostgreSQL: nothing is lost, doubled or changed, whoever writes at the same time."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from serving_files import OTHER_MODEL, key_of
from sqlalchemy.exc import DBAPIError

from cxrlens.errors import UsageError
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.postgresql import Server, reached
from cxrlens.screening.store.store import Store
from cxrlens.screening.store.verdicts import GivenVerdict, ReusedNumberError, StaleVerdictError, Verdict
from postgresql import PostgresServer
from stores import opened, screened

IMAGES = [ScreenedImage(name=f"{number}.png", key=key_of(number), probability=number / 100) for number in range(30)]


@pytest.fixture
def store(server: Server | None, tmp_path: Path) -> Store:
    store = opened(tmp_path, server)
    store.add(IMAGES)
    return store


@pytest.fixture
def in_file(tmp_path: Path) -> Store:
    store = opened(tmp_path)
    store.add(IMAGES)
    return store


def give(store: Store, number: int, verdict: Verdict) -> GivenVerdict:
    given = store.verdicts.give(key_of(number), verdict, lambda: OTHER_MODEL)
    assert given is not None
    return given


def test_the_last_verdict_stands(store: Store) -> None:
    for number, verdict in ((1, "accept"), (2, "retake"), (1, "retake"), (2, "none"), (3, "accept")):
        give(store, number, verdict)  # type: ignore[arg-type]
    standing = store.verdicts.standing()
    assert [(kept.key, kept.verdict, kept.probability) for kept in standing] == [
        (key_of(1), "retake", 0.01), (key_of(3), "accept", 0.03)
    ]  # fmt: skip
    assert store.verdicts.audit()[0] == 5


def test_withdrawing_what_is_not_there_is_no_entry(store: Store) -> None:
    given = give(store, 1, "none")
    assert (given.changed, given.id, given.replaced) == (False, None, "none")
    assert store.verdicts.audit() == (0, [])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET verdict = 'retake'",
        "UPDATE OR REPLACE audit SET id = 2 WHERE id = 1",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE id = 1",
        "REPLACE INTO audit SELECT 1, time, key, name, 'retake', replaced, probability, model_sha256 FROM audit",
        "INSERT INTO audit SELECT 1, time, key, name, 'retake', replaced, probability, model_sha256 FROM audit",
        "UPDATE verdicts SET verdict = 'retake'",
        "DELETE FROM verdicts",
    ],
)
def test_the_log_only_grows(in_file: Store, statement: str) -> None:
    give(in_file, 1, "accept")
    before = in_file.verdicts.audit()
    with (
        closing(sqlite3.connect(in_file.folder.store_file, isolation_level=None)) as connection,
        pytest.raises(sqlite3.Error),
    ):
        connection.execute(statement)
    assert in_file.verdicts.audit() == before


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit SET verdict = 'retake'", "DELETE FROM audit WHERE id = 1", "TRUNCATE audit", "DELETE FROM verdicts"],
)
def test_the_log_only_grows_in_a_database(postgres: PostgresServer, tmp_path: Path, statement: str) -> None:
    store = opened(tmp_path, reached(postgres.address()))
    store.add(IMAGES)
    give(store, 1, "accept")
    before = store.verdicts.audit()
    with pytest.raises(DBAPIError), store.database.writing() as connection:
        connection.exec_driver_sql(statement)
    assert store.verdicts.audit() == before


def test_ids_are_never_given_twice(in_file: Store) -> None:
    give(in_file, 1, "accept")
    with closing(sqlite3.connect(in_file.folder.store_file)) as connection:
        connection.executescript("DROP TRIGGER audit_is_not_shortened; DELETE FROM audit;")
    assert give(in_file, 1, "accept").id == 2  # what somebody removed by force leaves a gap


def is_chain(store: Store) -> bool:
    """Whether every entry replaced what the entry before it of the same key had set, and changed it."""
    last: dict[str, str] = {}
    for entry in store.verdicts.audit(limit=10**6)[1]:
        if entry.replaced != last.get(entry.key, "none") or entry.verdict == entry.replaced:
            return False
        last[entry.key] = entry.verdict
    return True


def test_threads_that_write_at_once(store: Store) -> None:
    verdicts: tuple[Verdict, ...] = ("accept", "retake", "none")
    tasks = [(number % 3, verdicts[(number // 3) % 3]) for number in range(90)]
    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(lambda task: give(store, *task), tasks))
    entries = store.verdicts.audit()[1]
    changed = [each for each in given if each.changed]
    assert (
        sorted(each.id or 0 for each in changed) == [entry.id for entry in entries] == list(range(1, len(entries) + 1))
    )
    assert is_chain(store)


def _write(path: Path, server: Server | None, begin: int, count: int) -> None:
    store = Store(ScreenedFolder(path), server)
    for number, verdict in itertools.product(range(begin, begin + count), ("accept", "retake")):
        give(store, number, verdict)  # type: ignore[arg-type]


def test_processes_that_write_at_once_even_when_the_store_is_new(server: Server | None, tmp_path: Path) -> None:
    screened(tmp_path)
    (tmp_path / "results.jsonl").write_text("".join(f"{image.model_dump_json()}\n" for image in IMAGES))
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_write, args=(tmp_path, server, 10 * number, 10)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    store = Store(ScreenedFolder(tmp_path), server)
    assert store.verdicts.audit()[0] == 60
    assert {kept.verdict for kept in store.verdicts.standing()} == {"retake"}
    assert len(store.verdicts.standing()) == 30
    assert sum(images for *_, images in store.results.tally()) == 30  # taken over once
    assert is_chain(store)


def test_a_request_that_is_sent_again_is_answered_as_at_first(store: Store) -> None:
    number = "1" * 32

    def retake() -> GivenVerdict | None:
        return store.verdicts.give(key_of(1), "retake", lambda: OTHER_MODEL, "none", number)

    first = retake()
    give(store, 1, "none")  # another reader, before the answer's loss was noticed
    assert retake() == first
    assert store.verdicts.standing() == []
    assert store.verdicts.audit()[0] == 2
    with pytest.raises(ReusedNumberError, match=r"1\.png: .*draw a new one"):
        store.verdicts.give(key_of(1), "accept", lambda: OTHER_MODEL, None, number)


def test_sixteen_readers_who_send_everything_twice(server: Server | None, tmp_path: Path) -> None:
    """Nothing is lost, doubled, or given over what another reader has said unseen."""
    opened(tmp_path, server).add(IMAGES)
    start = threading.Barrier(16)

    def reader(number: int) -> int:
        store, given, draw = Store(ScreenedFolder(tmp_path), server), set[str](), random.Random(number)
        start.wait()
        for place in range(24):
            image, seen = draw.randrange(6), "none"
            verdict: Verdict = draw.choice(("accept", "retake", "none"))
            for _ in range(20):
                request = f"{number:016x}{place:016x}"
                try:
                    once, again = (
                        store.verdicts.give(key_of(image), verdict, lambda: OTHER_MODEL, seen, request)  # type: ignore[arg-type]
                        for _ in range(2)
                    )
                except StaleVerdictError as error:
                    seen = error.standing
                    continue
                assert once is not None
                assert again is not None
                if once.changed or again.changed:
                    given.add(request)
                assert again == once or not once.changed
                break
            else:
                raise AssertionError("never got through")
        store.database.close()
        return len(given)

    with ThreadPoolExecutor(16) as threads:
        given = sum(threads.map(reader, range(16)))
    store = Store(ScreenedFolder(tmp_path), server)
    assert store.verdicts.audit()[0] == given > 100
    assert is_chain(store)
    last = {entry.key: entry.verdict for entry in store.verdicts.audit()[1]}
    standing = {kept.key: kept.verdict for kept in store.verdicts.standing()}
    assert standing == {key: verdict for key, verdict in last.items() if verdict != "none"}


def test_other_files_are_refused(tmp_path: Path) -> None:
    text, other, gone = (ScreenedFolder(tmp_path / name) for name in ("text", "other", "gone"))
    for folder in (text, other):
        folder.path.mkdir()
    text.store_file.write_bytes(b"this is no database" * 100)
    with pytest.raises(UsageError, match=r"text/store\.sqlite.*move it away"):
        Store(text)
    with closing(sqlite3.connect(other.store_file)) as connection:
        connection.execute("CREATE TABLE people (name TEXT)")
        connection.commit()
    before = other.store_file.read_bytes()
    with pytest.raises(UsageError, match="move it away"):
        Store(other)
    assert other.store_file.read_bytes() == before
    with pytest.raises(UsageError, match="gone"):
        Store(gone)
    with closing(sqlite3.connect(tmp_path / "text" / "verdicts.sqlite")) as connection:
        connection.execute("CREATE TABLE people (name TEXT)")
        connection.commit()
    text.store_file.unlink()
    with pytest.raises(UsageError, match=r"verdicts\.sqlite: holds no verdicts"):
        Store(text)
