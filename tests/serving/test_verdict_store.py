"""Verdicts in SQLite: nothing is lost, doubled or changed, whoever writes at the same time."""

from __future__ import annotations

import itertools
import multiprocessing
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from serving_files import OTHER_MODEL, key_of

from cxrlens.errors import UsageError
from cxrlens.serving.answers import GivenVerdict, Verdict
from cxrlens.serving.verdicts import VerdictStore


@pytest.fixture
def store(tmp_path: Path) -> VerdictStore:
    return VerdictStore(tmp_path / "verdicts.sqlite")


def give(store: VerdictStore, number: int, verdict: Verdict) -> GivenVerdict:
    return store.give(key_of(number), f"{number}.png", verdict, probability=number / 100, model_sha256=OTHER_MODEL)


def test_the_last_verdict_stands(store: VerdictStore) -> None:
    for number, verdict in ((1, "accept"), (2, "retake"), (1, "retake"), (2, "none"), (3, "accept")):
        give(store, number, verdict)  # type: ignore[arg-type]
    standing = store.standing()
    assert [(key, kept.verdict, kept.probability) for key, kept in standing.items()] == [
        (key_of(1), "retake", 0.01), (key_of(3), "accept", 0.03)
    ]  # fmt: skip
    assert store.audit()[0] == 5


def test_withdrawing_what_is_not_there_is_no_entry(store: VerdictStore) -> None:
    given = give(store, 1, "none")
    assert (given.changed, given.id, given.replaced) == (False, None, "none")
    assert store.audit() == (0, [])


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
def test_the_log_only_grows(store: VerdictStore, statement: str) -> None:
    give(store, 1, "accept")
    before = store.audit()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection, pytest.raises(sqlite3.Error):
        connection.execute(statement)
    assert store.audit() == before


def test_ids_are_never_given_twice(store: VerdictStore) -> None:
    give(store, 1, "accept")
    with closing(sqlite3.connect(store.path)) as connection:
        connection.executescript("DROP TRIGGER audit_is_not_shortened; DELETE FROM audit;")
    assert give(store, 1, "accept").id == 2  # what somebody removed by force leaves a gap


def is_chain(store: VerdictStore) -> bool:
    """Whether every entry replaced what the entry before it of the same key had set, and changed it."""
    last: dict[str, str] = {}
    for entry in store.audit(limit=10**6)[1]:
        if entry.replaced != last.get(entry.key, "none") or entry.verdict == entry.replaced:
            return False
        last[entry.key] = entry.verdict
    return True


def test_threads_that_write_at_once(store: VerdictStore) -> None:
    verdicts: tuple[Verdict, ...] = ("accept", "retake", "none")
    tasks = [(number % 3, verdicts[(number // 3) % 3]) for number in range(90)]
    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(lambda task: give(store, *task), tasks))
    entries = store.audit()[1]
    changed = [each for each in given if each.changed]
    assert (
        sorted(each.id or 0 for each in changed) == [entry.id for entry in entries] == list(range(1, len(entries) + 1))
    )
    assert is_chain(store)


def _write(path: Path, begin: int, count: int) -> None:
    store = VerdictStore(path)
    for number, verdict in itertools.product(range(begin, begin + count), ("accept", "retake")):
        give(store, number, verdict)  # type: ignore[arg-type]


def test_processes_that_write_at_once_even_when_the_file_is_new(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.sqlite"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_write, args=(path, 10 * number, 10)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    store = VerdictStore(path)
    assert store.audit()[0] == 60
    assert {kept.verdict for kept in store.standing().values()} == {"retake"}
    assert len(store.standing()) == 30
    assert is_chain(store)


def test_other_files_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.sqlite"
    text.write_bytes(b"this is no database" * 100)
    with pytest.raises(UsageError, match=r"text\.sqlite"):
        VerdictStore(text)
    other = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE people (name TEXT)")
        connection.commit()
    with pytest.raises(UsageError, match="move it away"):
        VerdictStore(other)
    with pytest.raises(UsageError, match="missing"):
        VerdictStore(tmp_path / "missing" / "verdicts.sqlite")
