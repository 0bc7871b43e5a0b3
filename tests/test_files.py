"""Files are written whole or not at all."""

from __future__ import annotations

import csv
import errno
import io
from pathlib import Path

import pytest

from cxrlens.files import replacing, to_csv


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
