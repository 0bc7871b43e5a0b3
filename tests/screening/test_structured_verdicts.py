"""Verdicts with reader, reason, comment and drawn objects: kept as given, by each reader's own, in both databases."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store import moving, upgrading
from cxrlens.screening.store.marks import Mark, UnfitMarkError, check_marks
from cxrlens.screening.store.postgresql import Server, reached
from cxrlens.screening.store.store import Store
from cxrlens.screening.store.verdicts import NO_GROUNDS, GivenVerdict, Grounds, StaleVerdictError, Verdict
from postgresql import PostgresServer
from stores import opened, screened

KEYS = [f"{number:064x}" for number in range(6)]
IMAGES = [
    ScreenedImage(name=f"{number}.png", key=key, probability=0.5, height=80, width=120)
    for number, key in enumerate(KEYS)
]
BOX = Mark(kind="box", points=((90.5, 10.0), (110.0, 30.25)))
OUTLINE = Mark(kind="outline", points=((100.0, 5.0), (119.5, 5.0), (119.5, 20.0)))
GROUNDS = Grounds(reason="foreign_object", comment='<b>Kette</b>; "links"\n=1+1', marks=(BOX, OUTLINE))


@pytest.fixture
def store(server: Server | None, tmp_path: Path) -> Store:
    store = opened(tmp_path, server)
    store.add(IMAGES)
    return store


def give(store: Store, number: int, verdict: Verdict, reader: str = "", **options: Any) -> GivenVerdict:
    given = store.verdicts.give(KEYS[number], verdict, lambda: "d" * 64, reader=reader, **options)
    assert given is not None
    return given


def test_all_that_was_said_is_kept(store: Store) -> None:
    given = give(store, 1, "retake", "Anna", grounds=GROUNDS)
    [kept] = store.verdicts.standing()
    [entry] = store.verdicts.audit()[1]
    for found in (given, kept, entry):
        assert (found.id, found.verdict, found.reader) == (1, "retake", "Anna")
        assert Grounds(reason=found.reason, comment=found.comment, marks=found.marks) == GROUNDS
    assert give(store, 1, "retake", "Anna", grounds=GROUNDS).changed is False
    changed = give(store, 1, "retake", "Anna", grounds=Grounds(reason="motion"))
    assert (changed.changed, changed.replaced, changed.id) == (True, "retake", 2)
    [kept] = store.verdicts.standing()
    assert (kept.reason, kept.comment, kept.marks) == ("motion", "", ())


def test_each_reader_has_a_verdict_of_their_own(store: Store) -> None:
    give(store, 1, "retake", "Anna", seen="none")
    give(store, 1, "accept", "Ben", seen="none")
    give(store, 1, "accept", seen="none")
    with pytest.raises(StaleVerdictError):
        give(store, 1, "accept", "Anna", seen="none")
    assert [(kept.reader, kept.verdict) for kept in store.verdicts.standing()] == [
        ("Anna", "retake"), ("Ben", "accept"), ("", "accept")
    ]  # fmt: skip
    give(store, 1, "none", "Ben")
    assert [kept.reader for kept in store.verdicts.standing()] == ["Anna", ""]
    assert [(entry.reader, entry.replaced) for entry in store.verdicts.audit()[1]] == [
        ("Anna", "none"), ("Ben", "none"), ("", "none"), ("Ben", "accept")
    ]  # fmt: skip


def test_another_reason_than_was_seen_is_not_replaced(store: Store) -> None:
    """Two browsers of a server that does not know its readers."""
    give(store, 1, "retake", seen="none", grounds=Grounds(reason="motion"))
    with pytest.raises(StaleVerdictError):
        give(store, 1, "retake", seen="none", grounds=Grounds(reason="positioning"))
    give(store, 1, "retake", seen="none", grounds=Grounds(reason="motion"))  # they agree


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        (Grounds(comment="theirs"), "another reader has changed the comment of the verdict at 20"),
        (Grounds(marks=(BOX,)), "has changed the drawn objects of the verdict"),
        (Grounds(reason="motion", comment="theirs"), "has changed the reason and the comment of the verdict"),
    ],
)
def test_other_grounds_than_were_seen_are_not_replaced(store: Store, theirs: Grounds, said: str) -> None:
    """Two who share one verdict, each of whom changes what goes along with it."""
    give(store, 1, "retake", grounds=NO_GROUNDS)
    give(store, 1, "retake", seen="retake", seen_grounds=NO_GROUNDS, grounds=theirs)
    mine = Grounds(comment="mine")
    with pytest.raises(StaleVerdictError, match=said) as raised:
        give(store, 1, "retake", seen="retake", seen_grounds=NO_GROUNDS, grounds=mine)
    assert raised.value.standing == "retake"
    give(store, 1, "retake", seen="retake", seen_grounds=NO_GROUNDS, grounds=theirs)  # they agree
    [kept] = store.verdicts.standing()
    assert Grounds(reason=kept.reason, comment=kept.comment, marks=kept.marks) == theirs
    give(store, 1, "retake", seen="retake", seen_grounds=theirs, grounds=mine)  # now that it is seen
    give(store, 1, "retake", seen="retake", grounds=NO_GROUNDS)  # an earlier client, which sends the verdict alone
    assert store.verdicts.audit()[0] == 4


def test_a_reader_is_told_by_name_of_their_own_other_page(store: Store) -> None:
    give(store, 1, "accept", "Anna")
    with pytest.raises(StaleVerdictError, match=r"1\.png: Anna, on another page, has given the verdict 'accept' at 20"):
        give(store, 1, "retake", "Anna", seen="none")


@pytest.mark.parametrize(
    ("kind", "points", "said"),
    [
        ("box", [(1, 2)], "a box of 1 points"),
        ("box", [(1, 2), (1, 20)], "has no area"),
        ("box", [(100, 70), (119.6, 75)], "reaches outside the picture of 120 x 80"),
        ("box", [(-0.6, 0), (5, 5)], "reaches outside"),
        ("box", [(79, 100), (20, 119)], "reaches outside"),  # which it would not if x and y were taken for another
        ("outline", [(1, 2), (30, 20)], "an outline of 2 points, which needs three"),
        ("outline", [(1, 2), (30, 20), (59, 38)], "has no area"),
        ("outline", [(10, 10), (50, 40), (50, 10), (10, 40)], "crosses itself"),
    ],
)
def test_what_is_no_object_is_refused(kind: Any, points: list[tuple[float, float]], said: str) -> None:
    mark = Mark(kind=kind, points=tuple(points))
    with pytest.raises(UnfitMarkError, match=f"the drawn object 2 .*{said}.*; draw it again"):
        check_marks([BOX, mark], height=80, width=120)


def test_what_lies_at_the_edges_is_an_object() -> None:
    whole = Mark(kind="box", points=((119.5, 79.5), (-0.5, -0.5)))
    hollow = Mark(kind="outline", points=((0, 0), (100, 0), (100, 70), (50, 10), (0, 70)))
    check_marks([BOX, OUTLINE, whole, hollow], height=80, width=120)


def test_a_store_refuses_them_and_keeps_nothing(store: Store) -> None:
    crossed = Mark(kind="outline", points=((10, 10), (50, 40), (50, 10), (10, 40)))
    with pytest.raises(UnfitMarkError, match="crosses itself"):
        give(store, 1, "retake", grounds=Grounds(marks=(crossed,)))
    assert store.verdicts.audit() == (0, [])


def test_a_folder_moves_with_all_that_was_said(postgres: PostgresServer, tmp_path: Path) -> None:
    with opened(tmp_path) as file:
        file.add(IMAGES)
        give(file, 1, "retake", "Anna", grounds=GROUNDS)
        give(file, 1, "accept", "Ben")
        before = file.verdicts.standing(), file.verdicts.audit()
    with Store(ScreenedFolder(tmp_path), reached(postgres.address())) as moved:
        assert (moved.verdicts.standing(), moved.verdicts.audit()) == before


def test_a_database_of_the_second_revision_loses_nothing(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, database = screened(tmp_path), reached(postgres.address())
    with monkeypatch.context() as patch:
        patch.setattr(upgrading, "REVISION", "0002")
        moving.move(folder, None, database)
    known = folder.database()
    assert known is not None
    columns = "time, key, name, verdict, replaced, model_sha256, request"
    postgres.ask(
        f"INSERT INTO cxrlens_{known.screening}.audit ({columns}) VALUES "
        f"('t', '{KEYS[1]}', 'a', 'accept', 'none', '', 'r'), ('t', '{KEYS[2]}', 'b', 'retake', 'none', '', 's')"
    )
    with Store(folder, database) as store:
        found = [kept.model_dump(exclude={"key", "name", "time", "probability"}) for kept in store.verdicts.standing()]
    unsaid = {"reader": "", "reason": "", "comment": "", "marks": ()}
    assert found == [{"id": 1, "verdict": "accept", **unsaid}, {"id": 2, "verdict": "retake", **unsaid}]


def test_sixteen_readers_at_once(server: Server | None, tmp_path: Path) -> None:
    """Each sends everything twice; what stands of each is the last that was answered, whole."""
    opened(tmp_path, server).add(IMAGES)
    start = threading.Barrier(16)

    def read(number: int) -> tuple[int, dict[tuple[str, str], tuple[str, str]]]:
        store, draw, reader = Store(ScreenedFolder(tmp_path), server), random.Random(number), f"reader {number % 8}"
        entries, last = 0, {}
        start.wait()
        for place in range(12):
            image, verdict = draw.randrange(3) + 3 * (number // 8), draw.choice(("accept", "retake"))
            grounds = Grounds(comment=f"{number} {place}", marks=(BOX,) * (place % 3))
            options = {"grounds": grounds, "request": f"{number:016x}{place:016x}"}
            once, again = (give(store, image, verdict, reader, **options) for _ in range(2))
            assert once == again
            entries += once.changed
            last[KEYS[image], reader] = verdict, grounds.comment
        store.database.close()
        return entries, last

    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(read, range(16)))
    store = Store(ScreenedFolder(tmp_path), server)
    assert store.verdicts.audit()[0] == sum(entries for entries, _ in found) == 16 * 12
    standing = {(kept.key, kept.reader): (kept.verdict, kept.comment) for kept in store.verdicts.standing()}
    assert standing == {place: said for _, last in found for place, said in last.items()}
