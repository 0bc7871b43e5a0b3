"""A screening by the workers of a real Ray cluster leaves what one of this computer leaves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from bright import COUNT, MODEL, Bright, HiddenOrigin, OpenBright, lines, write_white

from cxrlens.cluster.ray_cluster import ClusterSettings
from cxrlens.screening.engine import Engine
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.local_engine import LocalEngine
from cxrlens.screening.ray_engine import RayEngine
from cxrlens.screening.ray_worker import contents_of, is_among
from cxrlens.screening.reading import ImageToRead
from cxrlens.screening.screen import Screening
from cxrlens.screening.store.store import Store

BATCH = 3
OpenEngine = Callable[..., AbstractContextManager[RayEngine]]


@pytest.fixture
def open_engine(computers: Any, tmp_path: Path) -> OpenEngine:
    """An engine of one worker, unless more are asked for, whose inspector notes in a file of this name what it does."""
    model = tmp_path / MODEL
    model.write_bytes(b"weights")

    def opened(log: str = "log", ends: int = 0, workers: int = 1, **changes: Any) -> RayEngine:
        open_model = OpenBright(tmp_path / log, ends)
        settings: dict[str, Any] = {"maps": "all", "batch_size": BATCH, **changes}
        return RayEngine(ClusterSettings(computers.address, workers), open_model, model, tmp_path / "out", **settings)

    return opened


def run(engine: Engine, images: Path, out: Path, looks: int | None = None) -> Screening:
    """Screens all images, or so many and then is left."""
    out.mkdir(exist_ok=True)
    with Store(ScreenedFolder(out), keep_connections=True) as store:
        store.go_on()
        found = Screening(store, images, engine)
        looking: Iterator[None] = found.run(sorted(images.iterdir()))
        for place, _ in enumerate(looking, 1):
            if place == looks:
                looking.close()  # type: ignore[attr-defined]
                break
    return found


def files(out: Path) -> dict[str, bytes]:
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if not name.startswith("store.sqlite")}


def whole(images: Path, out: Path) -> dict[str, bytes]:
    """What a screening of this computer leaves."""
    run(LocalEngine(Bright(out.parent / "local"), maps="all", batch_size=BATCH), images, out)
    return files(out)


def seen(log: Path) -> int:
    return lines(log).count("seen")


def test_all_files_are_the_same(images: Path, tmp_path: Path, open_engine: OpenEngine) -> None:
    """By two workers, with twins, a damaged file and one that is no image."""
    shutil.copy(images / "01.png", images / "twin.png")
    (images / "torn.png").write_bytes((images / "02.png").read_bytes()[:200])
    (images / "text.png").write_text("no image")
    with open_engine(workers=2) as engine:
        assert run(engine, images, tmp_path / "out").computed == COUNT
    found = files(tmp_path / "out")
    assert found == whole(images, tmp_path / "whole")
    assert found["results.jsonl"].count(b"\n") == COUNT + 3
    assert len(found) == 1 + 2 * COUNT


def test_an_image_that_ends_workers_is_an_unreadable_row_and_all_others_have_results(
    images: Path, tmp_path: Path, open_engine: OpenEngine
) -> None:
    expected = whole(images, tmp_path / "whole")
    write_white(images / "06b.png")
    with open_engine(ends=100) as engine:
        run(engine, images, tmp_path / "out")
    found = files(tmp_path / "out")
    ends, others = lines(tmp_path / "log").count("end"), found["results.jsonl"].splitlines()
    (row,) = [line for line in others if b"06b.png" in line]
    others.remove(row)
    assert ends == 3  # with its block, and that block alone, and alone
    assert b'"key":"","status":"unreadable","reason":"reading or inspecting it ended processes of Ray worker' in row
    assert sorted(others) == sorted(expected["results.jsonl"].splitlines())
    assert found.keys() == expected.keys()


def test_a_killed_worker_leaves_the_same(images: Path, tmp_path: Path, open_engine: OpenEngine) -> None:
    write_white(images / "06b.png")
    with open_engine(ends=1) as engine:
        run(engine, images, tmp_path / "out")
    assert lines(tmp_path / "log").count("end") == 1
    assert files(tmp_path / "out") == whole(images, tmp_path / "whole")


def test_it_goes_on_where_it_was_left_and_sees_nothing_twice(
    images: Path, tmp_path: Path, open_engine: OpenEngine
) -> None:
    out = tmp_path / "out"
    with open_engine("first") as engine:
        left = run(engine, images, out, looks=7)
    done = len((out / "results.jsonl").read_text().splitlines())
    assert (done, left.computed) == (6, 6)
    for number in range(4):  # known contents under other names
        (images / f"{number:02}.png").rename(images / f"z{number:02}.png")
    with open_engine("second") as engine:
        assert run(engine, images, out).computed == COUNT - done
        assert run(engine, images, out).computed == 0
    assert seen(tmp_path / "second") == COUNT - done
    with Store(ScreenedFolder(out)) as store:
        assert {image.name for image in store.results.newest()} >= {path.name for path in images.iterdir()}


def test_previews_and_maps_that_are_gone_are_made_again(images: Path, tmp_path: Path, open_engine: OpenEngine) -> None:
    out = tmp_path / "out"
    expected = whole(images, out)
    names = sorted(expected)
    for gone in (name for name in names if name.startswith(("maps/0", "maps/1", "maps/2", "maps/3", "pictures/a"))):
        (out / gone).unlink()
    (images / "03.png").rename(images / "moved.png")
    (out / next(name for name in names if name.startswith("maps/f") or name.startswith("maps/"))).unlink(
        missing_ok=True
    )
    with open_engine() as engine:
        run(engine, images, out)
    found = files(out)
    assert {name: content for name, content in found.items() if name != "results.jsonl"} == {
        name: content for name, content in expected.items() if name != "results.jsonl"
    }


def test_what_only_seemed_to_be_known_is_seen(images: Path, tmp_path: Path, open_engine: OpenEngine) -> None:
    """A content whose result has gone from the store since the workers were told."""
    out = tmp_path / "out"
    with open_engine() as engine:
        run(engine, images, out)
    with open_engine() as engine:
        out.mkdir(exist_ok=True)
        with Store(ScreenedFolder(out), keep_connections=True) as store:
            store.go_on()
            with engine.at_work(store):
                store.results.clear()
            list(Screening(store, images, engine).run(sorted(images.iterdir())))
            assert len(list(store.results.newest(status="ok"))) == COUNT


def test_a_file_that_workers_do_not_find_is_told(
    images: Path, tmp_path: Path, computers: Any, open_engine: OpenEngine
) -> None:
    hidden = ImageToRead(HiddenOrigin(images / "00.png", os.getpid()), "00.png")
    plain = ImageToRead(HiddenOrigin(images / "01.png", -1), "01.png")
    out = tmp_path / "out"
    out.mkdir()
    with open_engine() as engine, Store(ScreenedFolder(out)) as store, engine.at_work(store) as work:
        first, second = work.read([hidden, plain])
    assert not first.is_read
    assert "does not find this file; put the images where all computers of the cluster find them" in first.reason
    assert not second.is_read
    assert "cluster" not in second.reason  # it is found nowhere


def test_a_folder_that_no_worker_finds_is_refused(tmp_path: Path, open_engine: OpenEngine) -> None:
    with pytest.raises(Exception, match=r"the Ray worker on .*: does not find .*nowhere; the images must lie"):
        open_engine(folders=[tmp_path / "nowhere"])


def test_contents_are_found_among_others() -> None:
    keys = [f"{number:016x}".ljust(64, "0") for number in (3, 5, 2**64 - 1, 0)]
    contents = contents_of(keys)
    assert all(is_among(key, contents) for key in keys)
    assert not any(is_among(f"{number:016x}".ljust(64, "0"), contents) for number in (1, 4, 2**63))
    assert not is_among(keys[0], contents_of(()))
