"""CSV files at their limits: very long fields, quotation marks that nothing closes, columns that are there twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrlens.errors import UsageError
from cxrlens.inputs.annotations.table import read_annotations
from cxrlens.inputs.csv_files import lower_columns, open_csv


def rows(path: Path, text: str) -> list[dict[str, str]]:
    path.write_text(text, encoding="utf-8")
    with open_csv(path) as reader:
        return list(reader)


def test_an_outline_of_many_points(tmp_path: Path) -> None:
    """500,000 characters in a field."""
    points = " ".join(f"{number % 1000} {number % 777}" for number in range(70_000))
    path = tmp_path / "a.csv"
    path.write_text(f"image_name,annotation\na.jpg,2 {points}\n")
    assert len(points) > 500_000
    (shape,) = read_annotations(path).shapes["a.jpg"]
    assert len(shape.numbers()) == 140_000


@pytest.mark.parametrize(
    ("text", "line"),
    [('a,b\n1,"x\n2,y\n3,z\n', 2), ('a,b\n1,"x\n2,y\n3,"z"\n', 2), ('a,"b\n1,x\n', 1)],
    ids=["nothing closes it", "another opens", "header"],
)
def test_a_quotation_mark_out_of_place_takes_no_rows(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises(UsageError, match=rf"a\.csv, line {line}: cannot be read as CSV: .*; correct the row"):
        rows(path, text)


def test_quotation_marks_in_place(tmp_path: Path) -> None:
    assert rows(tmp_path / "a.csv", 'a,b\n"x ""y"", z\n2",5" lead\n') == [{"a": 'x "y", z\n2', "b": '5" lead'}]


def test_a_column_that_is_used_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(" Path,NOTE,note,label\n")
    with open_csv(path) as reader:
        assert lower_columns(path, reader, ("path", "label")) == ["path", "note", "note", "label"]
        with pytest.raises(UsageError, match=r"a\.csv: has the column 'note' twice; rename or delete one"):
            lower_columns(path, reader, ("note",))
