"""Folders of earlier versions, which had results.jsonl and verdicts.sqlite, are taken over, and nothing is lost."""

from __future__ import annotations

import csv
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event

from cxrlens.errors import UsageError
from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store import sqlite
from cxrlens.screening.store.store import Store
from cxrlens.screening.worklist import write_worklist

MADE = Path(__file__).with_name("format1")
"""Written by version 0.1.0 before it had a store; the verdicts as the statements that make their file."""

A, B = "a" * 64, "b" * 64


def image(name: str, key: str = A) -> ScreenedImage:
    return ScreenedImage(name=name, key=key, probability=0.5, decision="affected")


def line(image: ScreenedImage) -> bytes:
    return image.model_dump_json().encode() + b"\n"


@pytest.fixture
def old(tmp_path: Path) -> ScreenedFolder:
    folder = ScreenedFolder(tmp_path / "old")
    folder.path.mkdir()
    for name in ("screening.json", "results.jsonl"):
        shutil.copy(MADE / name, folder.path / name)
    shutil.copy(MADE / "committed", folder.committed_file)
    with closing(sqlite3.connect(folder.path / "verdicts.sqlite")) as connection:
        connection.executescript((MADE / "verdicts.sql").read_text("utf-8"))
    return folder


def entries(path: Path) -> list[tuple[object, ...]]:
    columns = "id, time, key, name, verdict, replaced, probability, model_sha256"
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT {columns} FROM audit ORDER BY id").fetchall()


def taken_over(folder: ScreenedFolder) -> None:
    """The folder says what the earlier version's did, and has lost nothing of it."""
    with Store(folder) as store:
        assert [f"{record}\n" for record in store.results.records()] == (
            (MADE / "results.jsonl").read_text("utf-8").splitlines(keepends=True)
        )
        assert [(kept.name, kept.verdict, kept.time) for kept in store.verdicts.standing()] == [
            ("a.png", "accept", "2026-11-28T17:03:44.411+00:00"),
            ("d.png", "retake", "2026-11-28T17:03:44.439+00:00"),
        ]
        store.go_on()
        write_worklist(store, Path("/archive"), keep_tags=())
    assert entries(folder.store_file) == entries(folder.path / "verdicts.sqlite")
    assert len(entries(folder.store_file)) == 5
    assert folder.results_file.read_bytes() == (MADE / "results.jsonl").read_bytes()
    was, now = (
        list(csv.DictReader(path.read_text("utf-8").splitlines()))
        for path in (MADE / "worklist.csv", folder.worklist_file)
    )
    for row in was:  # the columns that have come since
        row |= {"remarks": "", "doubts": "", "refusals": "", "flip": "0"}
        row |= {"grid": "areas", "interpolation": "bilinear"} if row["method"] else {"grid": "", "interpolation": ""}
    assert now == was
    before, after = (json.loads(path.read_text()) for path in (MADE / "screening.json", folder.info_file))
    come = {"format": 2, "grid": "areas", "interpolation": "bilinear", "flip": False, "precision": "f32"} | {
        "assess_any": False
    }
    assert before.pop("keep_tags") is False  # which is not told, as no tags are kept
    assert after == before | come
    assert not list(folder.path.glob("*aside*"))


def test_a_folder_of_an_earlier_version_is_taken_over(old: ScreenedFolder) -> None:
    verdicts = (old.path / "verdicts.sqlite").read_bytes()
    taken_over(old)
    assert (old.path / "verdicts.sqlite").read_bytes() == verdicts
    taken_over(old)  # and opened again


def test_verdicts_go_on_where_they_were(old: ScreenedFolder) -> None:
    store = Store(old)
    key = store.verdicts.standing()[0].key
    given = store.verdicts.give(key, "retake", lambda: A)
    assert given is not None
    assert (given.id, given.replaced) == (6, "accept")
    assert Store(old).verdicts.audit()[0] == 6


def test_a_server_that_was_killed_left_verdicts_in_its_journal(old: ScreenedFolder) -> None:
    path = old.path / "verdicts.sqlite"

    def killed() -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"INSERT INTO audit VALUES (6, 'later', '{A}', 'x', 'accept', 'none', 0.5, '{B}')")
        os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=killed)
    process.start()
    process.join()
    assert path.with_name(f"{path.name}-wal").stat().st_size
    assert Store(old).verdicts.audit()[1][-1].time == "later"


def test_what_an_earlier_version_s_processes_add_meanwhile_is_taken_over_too(old: ScreenedFolder) -> None:
    store = Store(old)
    first, second = (kept.key for kept in store.verdicts.standing())
    store.verdicts.give(first, "retake", lambda: A)
    store.add([])
    with closing(sqlite3.connect(old.path / "verdicts.sqlite")) as connection:
        for id_, key, verdict, replaced in ((6, second, "accept", "retake"), (7, first, "none", "accept")):
            row = id_, f"time {id_}", key, "x.png", verdict, replaced, 0.5, B
            connection.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        connection.commit()
    with old.results_file.open("ab") as stream:
        stream.write(line(image("new.png")) + line(image("unfinished.png")))
    old.committed_file.write_text(str(old.results_file.stat().st_size - len(line(image("unfinished.png")))))
    for _ in range(2):
        store = Store(old)
        assert [kept.key for kept in store.verdicts.standing()] == [second]
        audit = store.verdicts.audit()[1]
        assert [(entry.id, entry.time, entry.replaced) for entry in audit[6:]] == [
            (7, "time 6", "retake"), (8, "time 7", "retake")
        ]  # fmt: skip
        assert next(image.name for image in store.results.newest()) == "new.png"
        assert sum(images for *_, images in store.results.tally()) == 8


def test_an_earlier_version_that_begins_the_folder_anew(old: ScreenedFolder) -> None:
    Store(old)
    old.info_file.write_bytes((MADE / "screening.json").read_bytes())
    old.results_file.write_bytes(line(image("alone.png")))
    old.committed_file.write_text(str(len(line(image("alone.png")))))
    store = Store(old)
    assert [each.name for each in store.results.newest()] == ["alone.png"]
    assert store.verdicts.audit()[0] == 5


def test_a_store_that_was_deleted_is_made_of_its_export(old: ScreenedFolder) -> None:
    taken_over(old)
    for file in old.path.glob("store.sqlite*"):
        file.unlink()
    taken_over(old)


def by_hand(path: Path, results: bytes, committed: str | bytes | None = None) -> ScreenedFolder:
    folder = ScreenedFolder(path)
    path.mkdir(exist_ok=True)
    folder.write_info(
        ScreeningInfo(
            format=1, root="/", model="m", model_sha256=A, threshold=0.5, review_threshold=None, method="", layers=""
        )
    )
    folder.results_file.write_bytes(results)
    if isinstance(committed, bytes):
        folder.committed_file.write_bytes(committed)
    return folder


def names(folder: ScreenedFolder) -> list[str]:
    with Store(folder) as store:
        store.go_on()
        return [json.loads(record)["name"] for record in store.results.records()]


@pytest.mark.parametrize("committed", ["as it was", None, b"", b"nonsense", b"99999", b"-1"])
def test_what_a_killed_run_left_of_a_batch_is_cut_away(tmp_path: Path, committed: str | bytes | None) -> None:
    finished = line(image("a.jpg")) + line(image("b.jpg"))
    is_known = committed == "as it was"
    text = finished + line(image("c.jpg")) + b'{"name"'
    folder = by_hand(tmp_path, text, str(len(finished)).encode() if is_known else committed)
    for _ in range(2):
        assert names(folder) == ["a.jpg", "b.jpg"] + ["c.jpg"] * (not is_known)
        assert folder.results_file.read_bytes() == (finished if is_known else finished + line(image("c.jpg")))
        assert not folder.committed_file.exists()
    assert not list(tmp_path.glob("*aside*"))


def test_a_server_leaves_the_export_to_the_screening(tmp_path: Path) -> None:
    text = line(image("a.jpg")) + line(image("b.jpg"))
    folder = by_hand(tmp_path, text, str(len(line(image("a.jpg")))).encode())
    with Store(folder) as store:
        assert [each.name for each in store.results.newest()] == ["a.jpg"]
    assert folder.results_file.read_bytes() == text
    assert names(folder) == ["a.jpg"]
    assert folder.results_file.read_bytes() == line(image("a.jpg"))


def test_what_is_committed_may_end_in_a_line(tmp_path: Path) -> None:
    """Where a person has deleted a line, what is committed ends elsewhere."""
    first, second = line(image("a.jpg")), line(image("a name that is longer than that of the other one.jpg"))
    folder = by_hand(tmp_path, first + second, str(len(first) + 9).encode())
    assert names(folder) == ["a.jpg"]
    assert folder.results_file.read_bytes() == first


def test_the_first_batch_may_be_unfinished(tmp_path: Path) -> None:
    folder = by_hand(tmp_path, line(image("a.jpg")), b"0\n")
    assert names(folder) == []
    assert folder.results_file.read_bytes() == b""


def test_a_damaged_line_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    folder = by_hand(tmp_path, line(image("a.jpg")) + b"nonsense\n")
    for _ in range(2):
        with pytest.raises(UsageError, match="line 2 is damaged"):
            Store(folder)
        assert folder.info().format == 1
    folder.results_file.write_bytes(line(image("a.jpg")))
    assert names(folder) == ["a.jpg"]


@pytest.mark.parametrize("key", ["z" * 64, "../" * 22, "A" * 64, "a" * 63, " " * 64])
def test_a_key_that_is_no_digest_is_damage(tmp_path: Path, key: str) -> None:
    """Pictures, maps and DICOM results are named by it."""
    bad = line(image("a.jpg")).replace(A.encode(), key.encode())
    folder = by_hand(tmp_path, line(image("b.jpg")) + bad)
    with pytest.raises(UsageError, match="line 2 is damaged; delete that line"):
        Store(folder)


def test_a_verdict_on_what_is_no_digest_is_damage(old: ScreenedFolder) -> None:
    with closing(sqlite3.connect(old.path / "verdicts.sqlite")) as connection:
        connection.execute(
            "INSERT INTO audit (time, key, name, verdict, replaced, model_sha256) "
            "VALUES ('', ?, '', 'accept', 'none', '')",
            ("z" * 64,),
        )
        connection.commit()
    with pytest.raises(UsageError, match=r"verdicts\.sqlite: entry 6 of its audit log is on 'zzz.*move it away"):
        Store(old)


def test_a_long_folder(tmp_path: Path) -> None:
    folder = by_hand(tmp_path, b"".join(line(image(f"{number % 700}.jpg", A)) for number in range(1300)))
    assert len(names(folder)) == 1300
    with Store(folder) as store:
        assert len([*store.results.newest()]) == 700


def test_a_migration_that_is_killed_at_any_moment_begins_again(old: ScreenedFolder, tmp_path: Path) -> None:
    """After each so many-eth statement, and before it is kept, until it comes through."""
    context = multiprocessing.get_context("fork")

    def killed_after(statements: int, copy: ScreenedFolder) -> None:
        counter = itertools.count()
        real = sqlite.make_engine

        def die(*_: object) -> None:
            if next(counter) == statements:
                os.kill(os.getpid(), signal.SIGKILL)

        def make_engine(*arguments: object, **options: object) -> object:
            engine = real(*arguments, **options)  # type: ignore[arg-type]
            event.listen(engine, "before_cursor_execute", die)
            event.listen(engine, "commit", die)
            return engine

        sqlite.make_engine = make_engine  # type: ignore[assignment]
        Store(copy)
        os._exit(0)

    for statements in itertools.count(0, 3):
        copy = ScreenedFolder(tmp_path / f"copy{statements}")
        shutil.copytree(old.path, copy.path)
        process = context.Process(target=killed_after, args=(statements, copy))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        taken_over(copy)
        if process.exitcode == 0:
            break
    assert statements > 20


def test_processes_that_begin_at_once(old: ScreenedFolder) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=Store, args=(old,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    taken_over(old)


def test_no_verdicts_yet(tmp_path: Path) -> None:
    """A server of the earlier version was killed before its file was made."""
    folder = by_hand(tmp_path, line(image("a.jpg")))
    (tmp_path / "verdicts.sqlite").touch()
    assert Store(folder).verdicts.audit() == (0, [])
