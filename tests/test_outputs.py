"""Output folders: nothing but what the program wrote is replaced, deleted, or left out as no image."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from unittest import mock

import pytest
from filelock import FileLock

from cxrlens.errors import UsageError
from cxrlens.inputs.finding import list_images
from cxrlens.outputs import (
    LOCK,
    MARK,
    claimed,
    locked,
    new_output,
    output_folder,
    own_names,
    remove_own,
    remove_partials,
    starts_with,
)

NAMES = ("overlays", "table.csv")


def write(folder: Path, *names: str, text: str = "mine") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder_is_taken_once_and_again_with_force(tmp_path: Path) -> None:
    out = new_output(tmp_path / "deep" / "out", NAMES)
    assert own_names(out) == {"overlays", "table.csv"}
    new_output(out, NAMES)  # a killed process had only begun
    write(out, "overlays/a.png", "table.csv")
    with pytest.raises(UsageError, match="already exists and is not empty; give another name or `force`"):
        new_output(out, NAMES)
    new_output(out, NAMES, force=True)
    new_output(out, ("scores.json",), force=True)  # of another command
    assert own_names(out) == {"overlays", "table.csv", "scores.json"}


def refuse_within(out: Path, *written: str, force: bool = False) -> None:
    def work() -> None:
        with output_folder(out, NAMES, force=force):
            assert {LOCK, MARK} <= {path.name for path in out.iterdir()}
            write(out, *written)
            raise UsageError("no such thing")

    with pytest.raises(UsageError, match="no such thing"):
        work()


def test_a_refusal_before_any_work_leaves_nothing(tmp_path: Path) -> None:
    new, empty, used = tmp_path / "deep" / "new", tmp_path / "empty", tmp_path / "used"
    empty.mkdir()
    write(used, "notes.txt")
    before = sorted(tmp_path.rglob("*"))
    for out in (new, empty, used):
        refuse_within(out, force=True)
        assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be made"), claimed(tmp_path / "file" / "out", "writing", "an `out`"):
        pass
    with claimed(new, "writing", "an `out`", private=False):  # within one that is held
        with pytest.raises(UsageError, match="another process is writing"), claimed(new, "writing", "an `out`"):
            pass
        assert files(new) == [LOCK]


def test_a_failure_after_some_work_and_an_interruption_leave_what_there_is(tmp_path: Path) -> None:
    out = tmp_path / "out"
    refuse_within(out, "table.csv")
    assert files(out) == [MARK, LOCK, "table.csv"]
    refuse_within(out, force=True)  # a second time, nothing new
    assert files(out) == [MARK, LOCK, "table.csv"]
    with pytest.raises(KeyboardInterrupt), output_folder(tmp_path / "other", NAMES):
        raise KeyboardInterrupt
    assert files(tmp_path / "other") == [MARK, LOCK]


def test_force_takes_a_folder_of_others_but_none_of_their_files(tmp_path: Path) -> None:
    write(tmp_path, "notes.txt")
    new_output(tmp_path, NAMES, force=True)
    assert own_names(tmp_path) == {"overlays", "table.csv"}  # and not the notes
    other = tmp_path / "other"
    write(other, "overlays/patient.png")
    with pytest.raises(UsageError, match=r"other/overlays: is there already, and was not written by cxrlens"):
        new_output(other, NAMES, force=True)
    assert files(other) == ["overlays/patient.png"]


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
def test_a_new_folder_is_for_its_owner_alone_and_one_that_is_there_keeps_its_rights(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert new_output(tmp_path / "new", NAMES).stat().st_mode & 0o777 == 0o700
        (tmp_path / "shared").mkdir(mode=0o750)
        assert new_output(tmp_path / "shared", NAMES).stat().st_mode & 0o777 == 0o750
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    "mark",
    ["", "{}", "[]", "\xff", '{"format": 1, "names": "overlays"}', '{"format": 2, "names": ["sub"]}',
     '{"format": 1, "names": ["../in", "sub/x", "", "..", 5]}'],
)  # fmt: skip
def test_a_mark_that_is_none_hides_nothing(tmp_path: Path, mark: str) -> None:
    (tmp_path / MARK).write_text(mark, encoding="latin-1")
    write(tmp_path, "sub/x/patient.jpg", "in/patient.jpg")
    assert [path.name for path in list_images(tmp_path, recursive=True)] == ["patient.jpg", "patient.jpg"]


def test_results_among_images_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "in/a.jpg", "in/b.jpg")
    new_output(tmp_path / "in" / "out", (*NAMES, "figure.png"))
    write(tmp_path, "in/out/overlays/a.png", "in/out/overlays/ward/b.png", "in/out/figure.png", "in/out/mine.png")
    with caplog.at_level("INFO", "cxrlens"):
        found = list_images(tmp_path, recursive=True)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["in/a.jpg", "in/b.jpg", "in/out/mine.png"]
    out = tmp_path / "in" / "out"
    assert caplog.messages == [
        f"3 images are results that cxrlens wrote, and are left out: {out}/figure.png, {out}/overlays"
    ]
    assert len(list_images(out / "overlays", recursive=True)) == 2  # where they are asked for by name


def test_explanations_of_an_earlier_version_are_known_by_their_table(tmp_path: Path) -> None:
    write(tmp_path, "overlays/a.png", "mine.png")
    write(tmp_path, "explanations.csv", text="image,other\n")
    assert len(list_images(tmp_path, recursive=True)) == 2
    write(tmp_path, "explanations.csv", text="image,probability,decision,triage,method\n")
    assert [path.name for path in list_images(tmp_path, recursive=True)] == ["mine.png"]


OWN = {r"config\.yaml": starts_with(b"own"), r"sub/\d+\.bin": None}


def test_own_files_go_and_nothing_else_does(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(run, "config.yaml", "sub/1.bin", ".0123456789abcdef.partial.x", LOCK, text="own")
    (run / "sub" / "2.bin").symlink_to(tmp_path / "elsewhere.bin")
    write(tmp_path, "elsewhere.bin")
    for foreign in ("patient.dcm", "sub/chest.bin", "sub/deeper/1.bin", "config.yaml~"):
        write(run, foreign)
        before = files(run)
        with pytest.raises(UsageError, match=rf"{foreign}: was not written by cxrlens"):
            remove_own(run, OWN)
        assert files(run) == before
        (run / foreign).unlink()
    (run / "linked").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="linked: was not written by cxrlens"):
        remove_own(run, OWN)
    (run / "linked").unlink()
    write(run, "config.yaml", text="of another program")
    with pytest.raises(UsageError, match=r"config\.yaml: was not written by cxrlens"):
        remove_own(run, OWN)
    write(run, "config.yaml", text="own")
    remove_own(run, OWN)
    assert [path.name for path in run.iterdir()] == [LOCK]
    assert files(tmp_path) == ["elsewhere.bin", f"run/{LOCK}"]


def test_what_makes_a_folder_known_goes_last(tmp_path: Path) -> None:
    write(tmp_path, "config.yaml", *(f"sub/{number}.bin" for number in range(9)), text="own")
    unlink = Path.unlink

    def killed(path: Path, **given: bool) -> None:
        if path.name == "5.bin":
            raise KeyboardInterrupt
        unlink(path, **given)

    with mock.patch.object(Path, "unlink", killed), pytest.raises(KeyboardInterrupt):
        remove_own(tmp_path, OWN, last=("config.yaml",))
    assert "config.yaml" in files(tmp_path)
    remove_own(tmp_path, OWN, last=("config.yaml",))
    assert files(tmp_path) == []


def test_what_killed_writers_left_goes_when_it_is_old(tmp_path: Path) -> None:
    old, young = f".{'0' * 16}.partial.a", f".{'1' * 16}.partial.a"
    write(tmp_path, old, young, f"sub/{old}", f"other/{old}", "sub/.mine.partial.a")
    for path in tmp_path.rglob(old):
        os.utime(path, (1, 1))
    remove_partials(tmp_path, ("sub", "absent"), unless_younger=3600)
    assert files(tmp_path) == [young, f"other/{old}", "sub/.mine.partial.a"]


def test_a_locked_folder_and_a_share_without_locks(tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / LOCK),
        pytest.raises(UsageError, match="another process is training into this folder"),
        locked(tmp_path, "training", "a `run_dir`"),
    ):
        raise AssertionError
    for error in (OSError(errno.ENOLCK, "No locks available"), NotImplementedError("no flock here")):
        with (
            mock.patch("cxrlens.outputs.FileLock.acquire", side_effect=error),
            pytest.raises(UsageError, match=r"cannot be locked \([Nn]o .*a `run_dir` on a local disk") as caught,
            locked(tmp_path, "training", "a `run_dir`"),
        ):
            raise AssertionError
        assert str(caught.value).startswith(str(tmp_path / LOCK))
    with locked(tmp_path, "training", "a `run_dir`"):
        pass


def test_the_mark_is_plain_json(tmp_path: Path) -> None:
    new_output(tmp_path / "out", NAMES)
    assert json.loads((tmp_path / "out" / MARK).read_text()) == {"format": 1, "names": ["overlays", "table.csv"]}
