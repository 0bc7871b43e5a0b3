"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxrlens.files import is_partial, open_private, printable, replacing, text_of_cell, to_csv, write_text


def test_every_line_break_in_a_csv_is_quoted() -> None:
    names = ["a\rb", "a\nb", "a\r\nb", "a,b", 'a"b', "plain", ""]
    text = to_csv(("name", "n"), ({"name": name, "n": 0.5} for name in names))
    assert [row["name"] for row in csv.DictReader(io.StringIO(text, newline=""))] == names
    assert '"a\rb","0.5"' in text
    assert "plain,0.5" in text


def write_half(path: Path) -> None:
    with replacing(path) as partial:
        partial.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    """A failing write gives an error without a name, which the command line needs for its one sentence."""
    path = tmp_path / "result.csv"
    path.write_text("the old one")
    with pytest.raises(OSError, match="No space left") as caught:
        write_half(path)
    assert caught.value.filename == str(path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("result.csv", "the old one")]


def test_an_error_that_names_a_file_keeps_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "result.csv"):
        (tmp_path / "gone").read_bytes()
    assert caught.value.filename == str(tmp_path / "gone")


_WRITERS = """
import os, sys
os.getpid = lambda: 1  # as in every container
from pathlib import Path
from cxrlens.files import write_text
path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(count):
    write_text(path, f"{name} {number} " * 50)
"""


def test_two_processes_of_one_number_never_share_a_file(tmp_path: Path) -> None:
    """Two containers on one share have the same process numbers; all 3,000 writes of each are whole."""
    path = tmp_path / "result.txt"
    begun = [
        subprocess.Popen([sys.executable, "-c", _WRITERS, str(path), name, "3000"], stderr=subprocess.PIPE, text=True)
        for name in ("a", "b")
    ]
    torn = 0
    while any(process.poll() is None for process in begun):
        with contextlib.suppress(FileNotFoundError):
            text = path.read_text()
            torn += len(set(text.split(" ")[0:-1:2])) != 1 or len(text.split()) != 100
    assert [process.communicate()[1] for process in begun] == ["", ""]
    assert [process.returncode for process in begun] == [0, 0]
    assert torn == 0
    assert [file.name for file in tmp_path.iterdir()] == ["result.txt"]


def test_a_name_that_is_taken_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["0" * 16, "1" * 16])
    monkeypatch.setattr("cxrlens.files.secrets.token_hex", lambda _: next(drawn))
    other = tmp_path / f".{'0' * 16}.partial.a.txt"
    other.write_text("of another writer")
    write_text(tmp_path / "a.txt", "mine")
    assert other.read_text() == "of another writer"
    assert is_partial(other.name)
    assert (tmp_path / "a.txt").read_text() == "mine"


@pytest.mark.parametrize("name", [".mine.partial.txt", "a.partial.b", ".partial.a", ".1.partial.", ".x1.partial.a"])
def test_names_that_are_no_unfinished_file(name: str) -> None:
    assert not is_partial(name)


def test_the_longest_name_has_room_for_its_unfinished_file(tmp_path: Path) -> None:
    for name in ("x" * 255, "ä" * 127):
        write_text(tmp_path / name, "")
        assert (tmp_path / name).exists()


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_private_files_are_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "private", "", private=True)
        write_text(tmp_path / "open", "")
        (tmp_path / "shared").touch()
        (tmp_path / "shared").chmod(0o640)
        write_text(tmp_path / "shared", "", private=True)
        with open(tmp_path / "log", "ab", opener=open_private):
            pass
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"private": 0o600, "open": 0o666 & ~umask, "shared": 0o640, "log": 0o600}


FORMULAS = ["=1+1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1", " =1", "'=1", "''@x", '=HYPERLINK("x")', "-rf"]


@pytest.mark.parametrize("text", [*FORMULAS, "plain", "'tis", "a=b", "-5", "+1.5e3", ".5", "", "'", "a;b", "2-3"])
def test_texts_read_back_from_cells_that_are_no_formulas(text: str) -> None:
    written = to_csv(("text",), [{"text": text}])
    [[_], *rest] = csv.reader(io.StringIO(written, newline=""))
    cell = rest[0][0] if rest and rest[0] else ""
    assert text_of_cell(cell) == text
    assert not cell.lstrip().startswith(tuple("=+-@＝＋－＠")) or cell in ("-5", "+1.5e3")
    assert (cell == text) == (text not in FORMULAS)


@pytest.mark.parametrize("name", FORMULAS)
def test_paths_in_cells_stay_the_same_path(name: str) -> None:
    [[_], [cell]] = csv.reader(io.StringIO(to_csv(("path",), [{"path": name}], paths=("path",)), newline=""))
    assert (cell, Path("/in") / cell) == (f"./{name}", Path("/in") / name)


def test_a_semicolon_begins_no_formula(tmp_path: Path) -> None:
    """Where the language writes lists with semicolons, a cell that is not quoted would end there."""
    assert to_csv(("a",), [{"a": "x;=1+1"}]) == 'a\n"x;=1+1"\n'
    assert to_csv(("a",), [{"a": "x; y"}]) == "a\nx; y\n"


def test_numbers_are_no_texts() -> None:
    assert to_csv(("a", "b"), [{"a": -0.5, "b": -3}]) == "a,b\n-0.5,-3\n"


def test_nothing_printable_is_changed_and_nothing_else_reaches_a_terminal() -> None:
    assert printable("Müller 胸部\u200c, 0.5\u00a0%") == "Müller 胸部\u200c, 0.5\u00a0%"
    assert printable("\x1b[31mred\x9b0m\n\x07\u202egpj.exe") == r"\x1b[31mred\x9b0m\n\x07\u202egpj.exe"
