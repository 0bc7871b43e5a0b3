"""The outbox: nothing is lost, nothing is done twice, and what is away is tried again."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from cxrlens.delivery import outbox as module
from cxrlens.delivery.destinations import DeliveryFailed
from cxrlens.delivery.outbox import Outbox, Tally, delay_after
from cxrlens.delivery.sending import Senders
from cxrlens.table_file import TableFileError
from waiting import until


@pytest.fixture
def box(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox.sqlite")


def file_in(folder: Path, name: str = "a.dcm") -> Path:
    path = folder / "dicom" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(name.encode())
    return path


def test_a_key_is_delivered_once_to_each_destination(box: Outbox, tmp_path: Path) -> None:
    file = file_in(tmp_path)
    for _ in range(2):
        box.put("1.2", [file], ["one", "two"])
    delivery = box.due("one")
    assert delivery is not None
    assert box.paths(delivery) == [file]
    box.delivered(delivery)
    box.put("1.2", [file], ["one", "two"])
    assert box.due("one") is None
    assert box.due("two") is not None
    assert box.tallies() == {"one": Tally(delivered=1), "two": Tally(waiting=1)}


def test_it_outlives_its_process_and_its_folder_may_move(box: Outbox, tmp_path: Path) -> None:
    box.put("1.2", [file_in(tmp_path)], ["one"])  # and the process is gone, nothing being closed
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    again = Outbox(moved / "outbox.sqlite")
    delivery = again.due("one")
    assert delivery is not None
    assert again.paths(delivery)[0].read_bytes() == b"a.dcm"


def test_what_failed_is_due_later_and_later(box: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(module.time, "time", lambda: now[0])
    box.put("1.2", [file_in(tmp_path)], ["one"])
    delays = []
    for _ in range(24):
        delivery = box.due("one")
        assert delivery is not None
        delays.append(box.failed(delivery, "is away"))
        assert box.due("one") is None
        now[0] += delays[-1]
    assert delays[1] > delays[0]
    assert 0.8 * module.FIRST_DELAY <= delays[0] <= 1.2 * module.FIRST_DELAY
    assert max(delays) <= 1.2 * module.LONGEST_DELAY
    assert sum(delays) > 3600  # an hour is no reason to give up
    assert delay_after(10_000) <= 1.2 * module.LONGEST_DELAY


def test_what_was_refused_waits_for_somebody_to_mend_the_destination(box: Outbox, tmp_path: Path) -> None:
    box.put("1.2", [file_in(tmp_path)], ["one"])
    delivery = box.due("one")
    assert delivery is not None
    box.refused(delivery, "takes no reports")
    assert box.due("one") is None
    assert box.tallies()["one"] == Tally(refused=1)
    assert box.try_refused() == 1
    assert box.due("one") is not None


def test_something_else_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "outbox.sqlite").write_text("no table, and longer than a header of one would be " * 40)
    with pytest.raises(TableFileError, match=r"outbox\.sqlite"):
        Outbox(tmp_path / "outbox.sqlite")


class Peer:
    """A destination that fails as told, and keeps what it got."""

    def __init__(self, name: str, *failures: DeliveryFailed) -> None:
        self.name = name
        self.got: list[str] = []
        self.failures = list(failures)
        self.tried = threading.Event()

    def deliver(self, files: Sequence[Path]) -> None:
        self.tried.set()
        if self.failures:
            raise self.failures.pop(0)
        self.got += [file.name for file in files]


def test_one_that_is_away_holds_up_no_other_and_gets_all_when_it_is_back(
    box: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 0.02)
    away = Peer("away", *(DeliveryFailed("away: is away", again=True) for _ in range(4)))
    there, delivered = Peer("there"), list[str]()
    for number in range(3):
        box.put(f"1.{number}", [file_in(tmp_path, f"{number}.dcm")], ["away", "there"])
    with Senders(box, [away, there], delivered=lambda each: delivered.append(f"{each.key} {each.destination}")):
        until(lambda: len(away.got) == 3)
        until(lambda: len(there.got) == 3)
        until(lambda: len(delivered) == 6)
    assert sorted(away.got) == sorted(there.got) == ["0.dcm", "1.dcm", "2.dcm"]
    assert len(set(delivered)) == 6
    assert box.tallies() == {"away": Tally(delivered=3), "there": Tally(delivered=3)}


def test_a_refused_file_and_one_that_is_gone_hold_up_no_other(box: Outbox, tmp_path: Path) -> None:
    class Reads(Peer):
        def deliver(self, files: Sequence[Path]) -> None:
            for file in files:
                file.read_bytes()
            super().deliver(files)

    peer = Reads("one", DeliveryFailed("one: refuses a report", again=False))
    box.put("gone", [tmp_path / "gone.dcm"], ["one"])
    box.put("refused", [file_in(tmp_path, "refused.dcm")], ["one"])
    box.put("good", [file_in(tmp_path, "good.dcm")], ["one"])
    with Senders(box, [peer]):
        until(lambda: peer.got == ["good.dcm"])
        until(lambda: box.tallies()["one"] == Tally(delivered=1, refused=2))


def test_a_failure_of_this_machine_is_told_and_loses_nothing(
    box: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer, errors = Peer("one"), list[BaseException]()
    box.put("1.2", [file_in(tmp_path)], ["one"])

    def full(*_: object) -> None:
        raise TableFileError("outbox.sqlite: cannot be written (disk is full)")

    monkeypatch.setattr(box, "delivered", full)
    with Senders(box, [peer], failed=errors.append):
        until(lambda: errors)
    assert isinstance(errors[0], TableFileError)
    monkeypatch.undo()
    delivery = box.due("one")
    assert delivery is not None  # sent again: the same UID
    with sqlite3.connect(tmp_path / "outbox.sqlite") as table:
        assert table.execute("SELECT state FROM deliveries").fetchall() == [("waiting",)]
