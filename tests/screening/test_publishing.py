"""Results at an address: whole, the index last, by one work folder, and nothing else there is touched."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cxrlens.errors import ServerLostError, UsageError
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.publishing import Publication
from cxrlens.screening.remote.object_store import ObjectStore, StoreFailedError
from cxrlens.screening.result_files import FOLDERS, TOP

fsspec = pytest.importorskip("fsspec")

KEYS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(3)]


@pytest.fixture(params=["memory", "sftp-like"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of an empty store; of the second kind, it shows files that are half written."""
    if request.param == "sftp-like":
        monkeypatch.setattr("cxrlens.screening.remote.object_store._WHOLE", set())
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield "memory://place/results"
    files.store.clear()


def there(address: str) -> dict[str, bytes]:
    files = fsspec.filesystem("memory")
    begin = f"/{address.partition('://')[2]}/"
    return {name.removeprefix(begin): files.cat_file(name) for name in files.store if name.startswith(begin)}


def fill(work: Path, keys: list[str], rows: int = 1) -> ScreenedFolder:
    """What a screening leaves in its folder, and files that are none of its own."""
    (work / "pictures").mkdir(parents=True, exist_ok=True)
    for key in keys:
        for name in (f"pictures/{key}.jpg", f"maps/{key}.png"):
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_bytes(name.encode())
    for name in ("worklist.csv", "report.html", "screening.json", "notes.txt", "pictures/holiday.jpg"):
        (work / name).write_text(f"{name} {rows}")
    with closing(sqlite3.connect(work / "store.sqlite")) as store, store:
        store.execute("CREATE TABLE IF NOT EXISTS results (id INTEGER)")
        store.executemany("INSERT INTO results VALUES (?)", [(number,) for number in range(rows)])
    return ScreenedFolder(work)


def publish(address: str, work: Path, keys: list[str], rows: int = 1, *, force: bool = False) -> None:
    publication = Publication(address, work)
    with publication.held(force=force):
        publication.publish(fill(work, keys, rows))


def check_whole(address: str, work: Path, keys: list[str]) -> None:
    found = there(address)
    index = json.loads(found["index.json"])
    tops = {"worklist.csv", "report.html", "screening.json", "store.sqlite"}
    inner = {f"pictures/{key}.jpg" for key in keys} | {f"maps/{key}.png" for key in keys}
    assert found.keys() == tops | inner | {"index.json", ".cxrlens.json"}
    assert index["files"].keys() == tops
    for name, facts in index["files"].items():
        assert facts == {"size": len(found[name]), "sha256": hashlib.sha256(found[name]).hexdigest()}
    for name in (tops - {"store.sqlite"}) | inner:
        assert found[name] == (work / name).read_bytes()
    assert index["folders"] == {"pictures": len(keys), "maps": len(keys), "report_files": 0, "dicom": 0}


def test_what_a_screening_wrote_is_published_and_nothing_else(address: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    publish(address, work, KEYS[:2])
    check_whole(address, work, KEYS[:2])
    mark = json.loads(there(address)[".cxrlens.json"])
    assert {*FOLDERS, *TOP, "index.json"} == {*mark["names"]}


def test_a_database_is_published_as_it_is_at_one_moment(address: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    publication = Publication(address, work)
    with publication.held():
        folder = fill(work, [])
        with closing(sqlite3.connect(work / "store.sqlite", isolation_level=None)) as writer:
            writer.execute("PRAGMA journal_mode = WAL")
            writer.execute("INSERT INTO results VALUES (77)")  # not in the file itself yet
            publication.publish(folder)
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(there(address)["store.sqlite"])
    with closing(sqlite3.connect(copy)) as store:
        assert store.execute("SELECT count(*) FROM results WHERE id = 77").fetchone() == (1,)
    assert not [*work.glob(".*partial*")]


def test_only_what_is_new_is_sent_and_what_is_gone_is_removed(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, sent = tmp_path / "work", list[str]()
    publish(address, work, KEYS[:2])
    put = ObjectStore.put

    def noted(self: ObjectStore, file: Path, name: str) -> None:
        sent.append(name)
        put(self, file, name)

    monkeypatch.setattr(ObjectStore, "put", noted)
    (work / "pictures" / f"{KEYS[0]}.jpg").unlink()
    (work / "maps" / f"{KEYS[0]}.png").unlink()
    publication = Publication(address, work)
    fsspec.filesystem("memory").pipe_file("/place/results/pictures/somebodys.jpg", b"x")
    with publication.held():
        publication.publish(ScreenedFolder(work))
    assert not [name for name in sent if "/" in name]
    fsspec.filesystem("memory").rm_file("/place/results/pictures/somebodys.jpg")  # it was left alone
    check_whole(address, work, KEYS[1:2])


@pytest.mark.parametrize("after", range(8))
def test_a_publication_that_breaks_off_anywhere_goes_on(
    address: str, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, left = tmp_path / "work", after
    put = ObjectStore.put

    def breaking(self: ObjectStore, file: Path, name: str) -> None:
        nonlocal left
        if not left:
            raise StoreFailedError("the store fails (Unplugged)")
        left -= 1
        put(self, file, name)

    with monkeypatch.context() as patch:
        patch.setattr("cxrlens.screening.publishing._AT_ONCE", 1)
        patch.setattr(ObjectStore, "put", breaking)
        with pytest.raises(ServerLostError, match=r"Unplugged.; all results are in .*work, and the same command"):
            publish(address, work, KEYS[:2])
    assert "index.json" not in there(address)
    publish(address, work, KEYS[:2])
    check_whole(address, work, KEYS[:2])


def test_an_empty_work_folder_takes_over_and_the_former_one_is_refused(address: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    former = Publication(address, first)
    with former.held():
        former.publish(fill(first, KEYS[:2]))
        with Publication(address, second).held():
            pass
        with pytest.raises(UsageError, match=r"another work folder publishes there by now; all results are in .*first"):
            former.publish(fill(first, KEYS))
    check_whole(address, first, KEYS[:2])
    assert (second / "worklist.csv").read_bytes() == (first / "worklist.csv").read_bytes()
    publish(address, second, KEYS, rows=2)
    check_whole(address, second, KEYS)
    with pytest.raises(UsageError, match=r"holds a screening of another work folder than .*first"):
        publish(address, first, KEYS)
    check_whole(address, second, KEYS)


def test_a_work_folder_belongs_to_one_address(address: str, tmp_path: Path) -> None:
    publish(address, tmp_path / "work", KEYS[:1])
    with pytest.raises(UsageError, match=f"is the work folder of {address}"):
        publish(f"{address}-2", tmp_path / "work", KEYS[:1])
    assert there(f"{address}-2") == {}


def test_what_was_changed_there_is_not_fetched(address: str, tmp_path: Path) -> None:
    publish(address, tmp_path / "first", KEYS[:1])
    fsspec.filesystem("memory").pipe_file("/place/results/worklist.csv", b"changed")
    with pytest.raises(ServerLostError, match=r"worklist.csv is not as its index says"):
        publish(address, tmp_path / "second", KEYS[:1])
    assert not (tmp_path / "second" / "screening.json").exists()  # it is begun again, not gone on with


def test_files_of_somebody_else_are_left_alone(address: str, tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    files.pipe_file("/place/results/notes.txt", b"somebody's")
    with pytest.raises(UsageError, match="holds files that no screening has published"):
        publish(address, tmp_path / "work", KEYS[:1])
    assert there(address) == {"notes.txt": b"somebody's"}
    files.pipe_file("/place/results/worklist.csv", b"somebody's")
    with pytest.raises(UsageError, match=f"{address}/worklist.csv: is there already"):
        publish(address, tmp_path / "work", KEYS[:1], force=True)
    files.rm_file("/place/results/worklist.csv")
    publish(address, tmp_path / "work", KEYS[:1], force=True)
    assert there(address)["notes.txt"] == b"somebody's"


def test_an_address_stays_empty_where_nothing_was_screened(address: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model"), Publication(address, tmp_path / "work").held():
        raise UsageError("no model")
    assert there(address) == {}
