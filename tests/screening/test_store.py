"""The store of results: whole batches, the newest of each name, its export, and shares that cannot hold it."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from cxrlens.errors import CxrlensError, UsageError
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage, worklist_order
from cxrlens.screening.store import results as result_queries
from cxrlens.screening.store import sqlite
from cxrlens.screening.store.database import StoreError
from cxrlens.screening.store.postgresql import Server
from cxrlens.screening.store.review import worklist_part
from cxrlens.screening.store.store import Store
from cxrlens.screening.worklist import RankedWorklist
from stores import opened

A, B = "a" * 64, "b" * 64


def image(name: str, key: str = A, probability: float = 0.5) -> ScreenedImage:
    return ScreenedImage(name=name, key=key, probability=probability, decision="affected")


@pytest.fixture
def at(server: Server | None) -> Callable[[Path], Store]:
    """Opens the store of a folder, in its file and in a database."""
    return partial(opened, server=server)


def lines(store: Store) -> list[str]:
    return store.folder.results_file.read_text("utf-8").split("\n")[:-1]


def names(store: Store) -> list[str]:
    return [json.loads(record)["name"] for record in store.results.records()]


def _key_of(store: Store, name: str) -> str | None:
    known = store.results.of_name(name)
    return None if known is None else known.key


def test_names_and_contents_are_known(at: Callable[[Path], Store], tmp_path: Path) -> None:
    store = at(tmp_path)
    store.add([image("a.jpg", A, 0.1), image("b.jpg", B, 0.2)])
    store.add([image("a.jpg", B, 0.2), ScreenedImage(name="c.jpg", key=A, status="unreadable", reason="no")])
    store.add([image("a.jpg", B, 0.2)])  # says nothing new
    store.add([])
    assert lines(store) == [*store.results.records()]
    for found in (store, at(tmp_path)):
        assert names(found) == ["a.jpg", "b.jpg", "a.jpg", "c.jpg"]
        assert [_key_of(found, name) for name in ("a.jpg", "c.jpg", "d.jpg")] == [B, None, None]
        known = found.results.of_content(A)
        assert known is not None
        assert known.probability == 0.1
        assert found.results.of_content("c" * 64) is None
        assert [each.name for each in found.results.newest()] == ["a.jpg", "b.jpg", "c.jpg"]


def test_a_name_that_comes_twice_at_once_is_one_line(at: Callable[[Path], Store], tmp_path: Path) -> None:
    store = at(tmp_path)
    store.add([image("a.jpg"), image("b.jpg"), image("a.jpg")])
    assert names(store) == ["a.jpg", "b.jpg"]
    store.add([image("a.jpg", B)])
    assert _key_of(store, "a.jpg") == B


def test_a_large_batch_of_twins(at: Callable[[Path], Store], tmp_path: Path) -> None:
    store = at(tmp_path)
    for key in (A, B):
        store.add([image(f"{number}.jpg", key) for number in range(1200)])
    assert {each.key for each in store.results.newest()} == {B}
    assert len(lines(store)) == 2400


def test_records_are_kept_to_the_last_digit(at: Callable[[Path], Store], tmp_path: Path) -> None:
    contour = ((0.1 + 0.2, 1e-17), (1 / 3, 2.0), (5e-324, 4.0))
    given_ = image("Größe\u2028胸部.jpg", probability=1 / 3).model_copy(update={"contours": (contour,)})
    store = at(tmp_path)
    store.add([given_])
    [found] = store.results.newest()
    assert found == given_
    assert store.folder.results_file.read_bytes() == given_.model_dump_json().encode() + b"\n"


PROBABILITIES = st.none() | st.floats(0, 1) | st.sampled_from([0.0, -0.0, 0.5, 1.0, 5e-324])
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=4)
ODD = st.sampled_from(["a", "A", "é", "e\u0301", "\uffff", "\U00010000", "a.", "a-", "a a", "", "_", "Z", "ä", "\n"])


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(NAMES | ODD, PROBABILITIES, max_size=25), st.integers(1, 7))
def test_the_order_is_the_worklist_s(
    server: Server | None, tmp_path_factory: pytest.TempPathFactory, given_: dict, rows: int
) -> None:  # type: ignore[type-arg]
    store = opened(tmp_path_factory.mktemp("order"), server)
    images = [
        ScreenedImage(name=name, key=A, probability=probability, status="unreadable" if probability is None else "ok")
        for name, probability in given_.items()
    ]
    store.results.add(images)
    expected = [each.name for each in worklist_order(images)]
    with mock.patch.object(result_queries, "_ROWS", rows):
        assert [each.name for each in store.results.newest()] == expected
    part = worklist_part(store.database, "all", 3, 5)
    assert [each.name for each, *_ in part.images] == expected[3:8]
    assert (part.total, part.shown) == (len(images), len(images))
    store.database.close()


def test_queries_use_the_indices(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.add([image("a.jpg")])
    with closing(sqlite3.connect(store.folder.store_file)) as connection:

        def plan(condition: str) -> str:
            rows = connection.execute(f"EXPLAIN QUERY PLAN SELECT record FROM results WHERE is_newest = 1 {condition}")
            return " ".join(row[3] for row in rows)

        assert "newest_of_name" in plan("AND name = 'a'")
        assert "worklist" in plan("ORDER BY rank, name LIMIT 10")
        assert "TEMP" not in plan("AND (rank, name) > (0.5, 'a') ORDER BY rank, name LIMIT 10")
        assert "results_of_key" in plan("AND key = 'a'")
        assert "remarked" in plan("AND is_remarked = 1 ORDER BY rank, name LIMIT 10")
        counting = "EXPLAIN QUERY PLAN SELECT count(*) FROM results WHERE is_newest = 1 AND"
        for condition, step in {
            "decision = 'affected'": "SCAN results USING COVERING INDEX worklist",
            "rank > 0 AND status != 'ok'": "SEARCH results USING COVERING INDEX worklist (rank>?)",
            "is_remarked = 1": "INDEX remarked (is_remarked=?)",
            "key IN (SELECT key FROM verdicts)": "SEARCH results USING INDEX results_of_key (key=?)",
        }.items():
            assert any(step in row[3] for row in connection.execute(f"{counting} {condition}")), condition


@pytest.mark.parametrize("torn", [b"{", b"all but the end", b"nothing", b"gone"])
def test_what_a_killed_run_left_out_of_the_export_is_added(
    at: Callable[[Path], Store], tmp_path: Path, torn: bytes
) -> None:
    store = at(tmp_path)
    store.add([image("a.jpg"), image("b.jpg", B)])
    whole = store.folder.results_file.read_bytes()
    first = whole.index(b"\n") + 1
    if torn == b"gone":
        store.folder.results_file.unlink()
    else:
        left = {b"{": whole[: first + 1], b"all but the end": whole[:-1], b"nothing": b""}[torn]
        store.folder.results_file.write_bytes(left)
    again = at(tmp_path)
    assert store.folder.results_file.read_bytes() == whole
    before = store.folder.results_file.stat().st_mtime_ns
    at(tmp_path)
    assert store.folder.results_file.stat().st_mtime_ns == before  # what agrees is left alone
    again.add([image("c.jpg")])
    assert lines(again) == [*again.results.records()]
    assert not list(tmp_path.glob("*aside*"))


def test_a_torn_line_behind_all_goes(at: Callable[[Path], Store], tmp_path: Path) -> None:
    store = at(tmp_path)
    store.add([image("a.jpg")])
    whole = store.folder.results_file.read_bytes()
    store.folder.results_file.write_bytes(whole + b'{"name":"x"')
    at(tmp_path)
    assert store.folder.results_file.read_bytes() == whole
    assert not list(tmp_path.glob("*aside*"))


@pytest.mark.parametrize(
    "change", ["edited", "edited at its end", "a line less", "a line more", "nonsense", "a line end"]
)
def test_what_a_person_changed_is_set_aside(
    at: Callable[[Path], Store], tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = at(tmp_path)
    store.add([image("a.jpg"), image("b.jpg", B), image("c.jpg")])
    file = store.folder.results_file
    whole = file.read_bytes()
    first, *rest = whole.splitlines(keepends=True)
    changed = {
        "edited": whole.replace(b"0.5", b"0.7"),
        "edited at its end": whole[:-1].replace(b"c.jpg", b"d.jpg"),
        "a line less": b"".join(rest),
        "a line more": whole + image("d.jpg").model_dump_json().encode() + b"\n",
        "nonsense": b"nonsense\n" + whole,
        "a line end": first + b"\n" + b"".join(rest),
    }[change]
    for number in (1, 2):
        file.write_bytes(changed)
        at(tmp_path)
        assert file.read_bytes() == whole
        assert (tmp_path / f"results-set-aside-{number}.jsonl").read_bytes() == changed
        assert f"results-set-aside-{number}.jsonl" in caplog.text
    assert [each.name for each in store.results.newest()] == ["a.jpg", "b.jpg", "c.jpg"]


def test_an_export_that_is_deleted_meanwhile_is_written_anew(at: Callable[[Path], Store], tmp_path: Path) -> None:
    store = at(tmp_path)
    store.add([image("a.jpg")])
    store.folder.results_file.unlink()
    store.add([image("b.jpg")])
    assert lines(store) == [*store.results.records()]


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _killed(at: Callable[[Path], Store], path: Path, moment: str, images: Sequence[ScreenedImage]) -> None:
    store = at(path)
    real = result_queries.row_of

    def last_row(one: ScreenedImage, record: str, state: str) -> dict[str, object]:
        if one is images[-1]:
            die()
        return real(one, record, state)

    if moment == "while the batch is made":
        result_queries.row_of = last_row
    elif moment == "before it is kept":
        event.listen(store.database._engine, "commit", die)
    elif moment == "before it is exported":
        store._export.append = die  # type: ignore[method-assign]
    store.add(images)
    die()


@pytest.mark.parametrize(
    ("moment", "kept"),
    [
        ("while the batch is made", 1),
        ("before it is kept", 1),
        ("before it is exported", 4),
        ("after", 4),
    ],
)
def test_a_batch_is_whole_or_not_there_when_killed(
    at: Callable[[Path], Store], tmp_path: Path, moment: str, kept: int
) -> None:
    at(tmp_path).add([image("a.jpg")])
    batch = [image("b.jpg"), image("a.jpg", B), image("c.jpg")]
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(at, tmp_path, moment, batch))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    store = at(tmp_path)
    assert len(names(store)) == kept
    assert _key_of(store, "a.jpg") == (B if kept == 4 else A)
    assert lines(store) == [*store.results.records()]


def test_results_that_are_deleted_leave_nothing_in_the_file(tmp_path: Path) -> None:
    """They may have held patient data, which a screening without --keep-tags must not."""
    with opened(tmp_path) as store:
        store.add([image("a.jpg").model_copy(update={"tags": {"PatientID": f"DISTINCT-{n}" * 100}}) for n in range(9)])
        assert b"DISTINCT" in store.folder.store_file.read_bytes() + b"".join(
            path.read_bytes() for path in tmp_path.glob("store.sqlite-wal")
        )
        store.results.clear()
    assert not [path for path in tmp_path.glob("store.sqlite*") if b"DISTINCT" in path.read_bytes()]


def test_readers_see_results_as_they_come_and_hold_up_nobody(server: Server | None, tmp_path: Path) -> None:
    writer, reader = opened(tmp_path, server), Store(ScreenedFolder(tmp_path), server)
    writer.add([image(f"{number:04}.jpg") for number in range(1200)])
    reading = reader.results.newest()
    next(reading)
    writer.add([image("later.jpg", B, 0.1)])
    reader.verdicts.give(B, "accept", lambda: A)
    assert [each.name for each in reading][-1] == "later.jpg"


def _refusing(statement: str, error: str) -> Callable[..., sqlite3.Connection]:
    """As `sqlite3.connect`; connections fail at statements that begin so."""

    class Refusing(sqlite3.Connection):
        def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
            if sql.startswith(statement):
                raise sqlite3.OperationalError(error)
            return super().execute(sql, *parameters)  # type: ignore[arg-type]

        def cursor(self, *_: object) -> sqlite3.Cursor:  # type: ignore[override]
            outer = self

            class Cursor(sqlite3.Cursor):
                def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
                    if sql.startswith(statement):
                        raise sqlite3.OperationalError(error)
                    return super().execute(sql, *parameters)  # type: ignore[arg-type]

            return super().cursor(lambda _: Cursor(outer))

    real = sqlite3.connect
    return lambda *arguments, **options: real(*arguments, **options, factory=Refusing)


@pytest.mark.parametrize("error", ["database is locked", "locking protocol", "disk I/O error"])
def test_a_share_without_locks_is_said_in_a_sentence(tmp_path: Path, error: str) -> None:
    refusing = mock.patch.object(sqlite.sqlite3, "connect", _refusing("BEGIN IMMEDIATE", error))
    with refusing, pytest.raises(UsageError, match=f"store.sqlite: .*{error}.*local disk") as raised:
        Store(ScreenedFolder(tmp_path))
    assert raised.value.exit_code == 2
    store = opened(tmp_path)
    with refusing, pytest.raises(StoreError, match=f"{error}.*local disk"):
        store.add([image("a.jpg")])
    assert names(store) == []


@pytest.mark.parametrize(
    ("error", "remedy"), [("database or disk is full", "space"), ("attempt to write a readonly database", "rights")]
)
def test_other_failures_have_their_remedy(tmp_path: Path, error: str, remedy: str) -> None:
    store = opened(tmp_path)
    with (
        mock.patch.object(sqlite.sqlite3, "connect", _refusing("INSERT", error)),
        pytest.raises(CxrlensError, match=f"{error}.*{remedy}"),
    ):
        store.add([image("a.jpg")])
    store.add([image("a.jpg")])
    assert len(lines(store)) == 1


def test_the_journal_is_what_the_file_system_allows(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert sqlite.choose_journal(store.folder.store_file) == "wal"
    with mock.patch.object(sqlite, "is_on_network", return_value=True):
        store = opened(tmp_path)
        assert sqlite.choose_journal(store.folder.store_file) == "delete"
        store.add([image("a.jpg")])
    with mock.patch.object(sqlite.sqlite3, "connect", _refusing("PRAGMA journal_mode = WAL", "locking protocol")):
        store = opened(tmp_path)
        assert sqlite.choose_journal(store.folder.store_file) == "delete"
        store.add([image("b.jpg")])
    assert names(store) == ["a.jpg", "b.jpg"]


def test_network_file_systems_are_known_by_their_mounts(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_bytes(
        b"overlay / overlay rw 0 0\nserver:/x /mnt/my\\040share nfs4 rw 0 0\n//s/y /mnt/win cifs rw 0 0\n"
        b"tmpfs /mnt/win/local tmpfs rw 0 0\ns: /home/caf\xc3\xa9 fuse.sshfs rw 0 0\n"
    )
    for place, expected in (
        ("/mnt/my share/a/store.sqlite", True),
        ("/mnt/my", False),
        ("/mnt/win/store.sqlite", True),
        ("/mnt/win/local/store.sqlite", False),
        ("/mnt/window/store.sqlite", False),
        ("/home/café/store.sqlite", True),
        ("/", False),
    ):
        assert sqlite.is_on_network(Path(place), mounts) == expected, place
    assert not sqlite.is_on_network(tmp_path, tmp_path / "no such file")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_lock_that_a_share_does_not_have_is_said(tmp_path: Path, number: int) -> None:
    from cxrlens.outputs import claimed

    error = OSError(number, os.strerror(number))
    with (
        mock.patch("fcntl.flock", side_effect=error),
        pytest.raises(UsageError, match=f"lock: cannot be locked .{os.strerror(number)}.*local disk"),
        claimed(tmp_path, "screening", "an --out"),
    ):
        pass


def test_counts_are_of_the_newest(at: Callable[[Path], Store], tmp_path: Path) -> None:
    store = at(tmp_path)
    store.add([image("a.jpg"), image("b.jpg")])
    store.add([ScreenedImage(name="a.jpg", key=A, probability=0.1, decision="normal", triage="pass")])
    store.add([ScreenedImage(name="b.jpg", status="unreadable")])
    counts = RankedWorklist.of(store.results, tmp_path).counts.as_dict()
    assert {name: count for name, count in counts.items() if count} == {
        "images": 2, "pass": 1, "normal": 1, "unreadable": 1
    }  # fmt: skip
