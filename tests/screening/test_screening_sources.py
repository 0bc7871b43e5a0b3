"""Which files are screened: of folders, lists and the standard input, and of a folder that is followed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from cxrlens.errors import UsageError
from cxrlens.screening import watching
from cxrlens.screening.sources import read_paths, take_sources
from cxrlens.screening.watching import Watch


def paths_of(*chunks: bytes) -> list[str]:
    """What is read from a pipe into which the chunks are written."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream:
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            for chunk in chunks:
                pipe.write(chunk)
        return [str(path) for path in read_paths(stream)]


def test_paths_of_the_standard_input() -> None:
    assert paths_of(b"a.jpg\nb c.jpg\r\n\n-d.jpg") == ["a.jpg", "b c.jpg", "-d.jpg"]
    assert paths_of(b"new\nline.jpg\0b.jpg\0") == ["new\nline.jpg", "b.jpg"]
    assert paths_of(b"one.jpg") == ["one.jpg"]
    assert paths_of(b"\xff.jpg\n") == [os.fsdecode(b"\xff.jpg")]
    assert paths_of() == []
    assert len(paths_of(*[b"x" * 50 + b".jpg\n"] * 1000)) == 1000


SCREENED = json.dumps({"format": 2, "root": "/in", "model": "m", "model_sha256": "0" * 64, "threshold": 0.5})


def files_in(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in take_sources([str(folder)]).files()]


def test_a_folder_is_searched_as_a_whole(tmp_path: Path) -> None:
    mark = bytes(128) + b"DICM"
    for name in ("b.jpg", "sub/a.PNG", ".hidden.jpg", ".hidden/x.jpg", "notes.txt", "z.jpg", "out/pictures/k.jpg",
                 "out/screening.json"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    (tmp_path / "out/screening.json").write_text(SCREENED)
    for name in ("image.ima", "IM1", "DICOMDIR", "c.txt"):
        (tmp_path / name).write_bytes(mark)
    (tmp_path / "sub" / "up").symlink_to("..")
    (tmp_path / "linked").symlink_to("sub")
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    assert files_in(tmp_path) == ["IM1", "b.jpg", "c.txt", "circle.jpg", "image.ima", "z.jpg", "sub/a.PNG"]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 2}', SCREENED.replace("0" * 64, "..")])
def test_no_file_makes_images_of_others_vanish(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    """A file that says nothing of a screening hides nothing; one that does hides what the screening has written."""
    (tmp_path / "sub/pictures").mkdir(parents=True)
    for name in ("sub/patient.jpg", "sub/pictures/a.jpg", "sub/pictures/b.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "sub/screening.json").write_text(content)
    with caplog.at_level("INFO", "cxrlens"):
        assert files_in(tmp_path) == ["sub/patient.jpg", "sub/pictures/a.jpg", "sub/pictures/b.jpg"]
        assert caplog.messages == []
        (tmp_path / "sub/screening.json").write_text(SCREENED)
        sources = take_sources([str(tmp_path)])
        for _ in range(3):
            assert [path.name for path in sources.files()] == ["patient.jpg"]
    left_out = f"2 images are results that cxrlens wrote, and are left out: {tmp_path}/sub/pictures"
    assert caplog.messages == [left_out]  # once, however often the folder is looked at


def test_lists_keep_their_order_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("b.jpg", "a.jpg", "sub/c.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "link.jpg").symlink_to("nowhere")
    sources = take_sources(["b.jpg", "./a.jpg", "sub", "link.jpg"])
    assert sources.root == tmp_path
    assert list(sources.files()) == [tmp_path / name for name in ("b.jpg", "a.jpg", "sub/c.jpg", "link.jpg")]
    with pytest.raises(UsageError, match=r"gone\.jpg: no such file"):
        take_sources(["b.jpg", "gone.jpg"])
    with pytest.raises(UsageError, match="stands alone"):
        take_sources(["-", "b.jpg"])
    assert take_sources(["-"]).from_stdin


class Clock:
    """The time of the watch, which only moves when told; ``wall`` is ahead of that of the files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
        self.now = 0.0
        real = watching.time.time() - 0.05  # a file's time is that of the system's last tick

        class Time:
            monotonic = staticmethod(lambda: self.now)
            time = staticmethod(lambda: real + ahead + self.now)

        monkeypatch.setattr(watching, "time", Time)


def test_a_file_is_taken_once_it_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, ahead=0.0)
    watch = Watch(take_sources([str(tmp_path)]), 5)

    def look(after: float) -> list[str]:
        clock.now += after
        return [path.name for path in watch.poll()]

    (tmp_path / "a.jpg").write_bytes(b"1")
    assert look(0) == []
    (tmp_path / "a.jpg").write_bytes(b"12")
    assert look(5) == []  # it has grown
    assert look(3) == []
    assert look(3) == ["a.jpg"]
    assert look(50) == []
    (tmp_path / "b.jpg").write_bytes(b"1")
    (tmp_path / "a.jpg").write_bytes(b"123")
    assert look(5) == []
    assert look(5) == ["a.jpg", "b.jpg"]
    (tmp_path / "c.jpg").symlink_to("nowhere")
    assert look(5) == []
    assert look(5) == ["c.jpg"]
    assert look(5) == []


def test_a_folder_that_is_away_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no file; the other folder is looked at all the same, and what was taken of it is not given again."""
    clock = Clock(monkeypatch, ahead=0.0)
    share, other = tmp_path / "share", tmp_path / "other"
    for folder in (share, other):
        folder.mkdir()
        (folder / "a.jpg").write_bytes(b"1")
    watch = Watch(take_sources([str(share), str(other)]), 5)

    def look() -> list[str]:
        clock.now += 5
        return [path.relative_to(tmp_path).as_posix() for path in watch.poll()]

    assert look() == []
    assert look() == ["share/a.jpg", "other/a.jpg"]
    share.rename(tmp_path / "away")
    (other / "b.jpg").write_bytes(b"1")
    assert look() == []
    assert [failure.split(": ")[1] for failure in watch.failures] == [
        "cannot be searched (No such file or directory); check its rights"
    ]
    assert look() == ["other/b.jpg"]
    (tmp_path / "away").rename(share)
    assert look() == []
    assert watch.failures == []


def test_a_file_whose_rights_change_is_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, ahead=0.0)
    (tmp_path / "a.jpg").write_bytes(b"1")
    watch = Watch(take_sources([str(tmp_path)]), 5)
    taken = []
    for turn in range(6):
        clock.now += 5
        taken += [(turn, path.name) for path in watch.poll()]
        if turn == 2:
            time.sleep(0.05)
            (tmp_path / "a.jpg").chmod(0o600)
    assert taken == [(1, "a.jpg"), (4, "a.jpg")]


def test_the_output_of_a_screening_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "screening.json").write_text(SCREENED)
    with pytest.raises(UsageError, match=r"is the output of a screening .* give the folder of the images"):
        take_sources([str(tmp_path)])


def test_old_files_are_taken_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, ahead=60.0)
    (tmp_path / "a.jpg").touch()
    watch = Watch(take_sources([str(tmp_path)]), 5)
    assert [path.name for path in watch.poll()] == ["a.jpg"]
    (tmp_path / "b.jpg").touch()
    assert list(watch.poll()) == []


def test_a_file_that_was_not_reached_is_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, ahead=60.0)
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    watch = Watch(take_sources([str(tmp_path)]), 5)
    look = watch.poll()
    next(look)
    look.close()  # type: ignore[attr-defined]
    assert [path.name for path in watch.poll()] == ["a.jpg", "b.jpg"]
