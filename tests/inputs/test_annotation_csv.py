"""The annotation CSV: what is accepted, what is refused and how, and which row belongs to which file."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from cxrlens.errors import UsageError
from cxrlens.inputs.annotations.shapes import Ellipse, Polygon, Rectangle
from cxrlens.inputs.annotations.table import AnnotationTable, clip_to_image, read_annotations, write_annotations

BOX = (Rectangle(1, 2, 3, 4),)


def table(tmp_path: Path, content: str | bytes) -> AnnotationTable:
    path = tmp_path / "dev.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_annotations(path)


def row_of(read: AnnotationTable, file: str, *others: str) -> str | None:
    """The name in the row of one of some files."""
    root = Path("some/folder")
    found = read.match(root, [root / name for name in (file, *others)]).rows.get(root / file)
    return found and found.name


def refusal(tmp_path: Path, content: str | bytes) -> str:
    with pytest.raises(UsageError) as caught:
        table(tmp_path, content)
    return str(caught.value)


@pytest.mark.parametrize("column", ["image_name", "image_path"])
def test_both_published_headers(tmp_path: Path, column: str) -> None:
    read = table(tmp_path, f"{column},annotation\na.jpg,0 1 2 3 4;1 5 6 7 8;2 0 0 9 0 9 9\nb.jpg,\n")
    assert read.shapes == {
        "a.jpg": (Rectangle(1, 2, 3, 4), Ellipse(5, 6, 7, 8), Polygon(((0, 0), (9, 0), (9, 9)))),
        "b.jpg": (),
    }
    assert read.remarks == ()


@pytest.mark.parametrize(
    "content",
    [
        "image_name,annotation\r\na.jpg,0 1 2 3 4\r\nb.jpg,\r\n",
        "\ufeffimage_name,annotation\na.jpg,0 1 2 3 4\nb.jpg,\n",
        "image_name,annotation\n\na.jpg,0 1 2 3 4\n\n\nb.jpg,\n\n",
        "image_name,annotation\na.jpg,0 1 2 3 4\n   \n,\n , \nb.jpg,\n,,\n",
        " image_name , annotation \n a.jpg , 0 1 2 3 4 \n b.jpg , \n",
        "annotation,image_name\n0 1 2 3 4,a.jpg\n,b.jpg\n",
        "image_name,reader,annotation\na.jpg,X,0 1 2 3 4\nb.jpg,Y,\n",
        'image_name,annotation\n"a.jpg","0 1 2 3 4"\n"b.jpg",""\n',
        "image_name,annotation\na.jpg,0 3 4 1 2\nb.jpg,",
        "image_path,annotation\n./a.jpg,0 1 2 3 4\n.\\x\\..\\b.jpg,\n",
    ],
    ids=[
        *("dos", "byte-order mark", "blank lines", "blank cells", "blanks", "other column order", "further column"),
        *("quotes", "swapped corners and no last line end", "paths"),
    ],
)
def test_spellings_of_the_same_table(tmp_path: Path, content: str) -> None:
    assert table(tmp_path, content).shapes == {"a.jpg": BOX, "b.jpg": ()}


def test_paths_keep_their_folders(tmp_path: Path) -> None:
    read = table(tmp_path, "image_path,annotation\n/mnt/x/a.jpg,0 1 2 3 4\nnormal\\b.jpg,\nx//./b.jpg ,\n")
    assert read.shapes == {"/mnt/x/a.jpg": BOX, "normal/b.jpg": (), "x/b.jpg": ()}
    assert read.remarks == ()


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ("a.jpg,0 1 2 3", "'0 1 2 3' should have 4 numbers after its code, not 3"),
        ("a.jpg,0 1 2 3 4;7 1 2 3 4", "'7 1 2 3 4' starts with '7'"),
        ("a.jpg,2 1 2 3 4", "'2 1 2 3 4' should have an even count of at least 6"),
        ("a.jpg,0 1 2 x 4", "'0 1 2 x 4'"),
        ("a.jpg,0 1 2 nan 4", "not finite"),
        ("a.jpg,0 1 2 1e999 4", "not finite"),
        ("a.jpg,0 1 2 1e308 4", "'0 1 2 1e308 4' holds a number beyond 1e+09, which is a place in no image"),
        ("a.jpg,2 0 0 9 0 9 -1e300", "holds a number beyond"),
        ("a.jpg,0 1,2 3 4", "'a.jpg,0 1,2 3 4'"),
        ("a.jpg", "'a.jpg'"),
        (",0 1 2 3 4", "',0 1 2 3 4'"),
    ],
)
def test_a_row_that_cannot_be_parsed_is_named(tmp_path: Path, row: str, part: str) -> None:
    message = refusal(tmp_path, f"image_name,annotation\n\nb.jpg,\n{row}\nc.jpg,\n")
    assert message.startswith(f"{tmp_path / 'dev.csv'}, line 4: cannot read")
    assert part in message
    assert message.endswith("correct the row or delete it")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("00001.jpg,0 1 2 3 4\n00002.jpg,\n", "'00001.jpg,0 1 2 3 4'"),
        ("image_name;annotation\na.jpg;\n", "'image_name;annotation'"),
        ("image_name,boxes\na.jpg,\n", "'image_name,boxes'"),
        ("", "''"),
    ],
    ids=["no header", "semicolons", "wrong column", "empty"],
)
def test_a_missing_header_is_shown(tmp_path: Path, content: str, part: str) -> None:
    message = refusal(tmp_path, content)
    assert "the first line should be 'image_name,annotation'" in message
    assert part in message


def test_other_encodings_and_missing_files_are_refused(tmp_path: Path) -> None:
    assert "save it as CSV in UTF-8" in refusal(tmp_path, "image_name,annotation\nGröße.jpg,\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"absent\.csv: no such file"):
        read_annotations(tmp_path / "absent.csv")
    with pytest.raises(UsageError, match="cannot be read as CSV"):
        read_annotations(tmp_path)


def test_a_second_row_replaces_the_first_and_is_reported(tmp_path: Path) -> None:
    read = table(tmp_path, "image_name,annotation\na.jpg,\nb.jpg,\na.jpg,0 1 2 3 4\n")
    assert read.shapes["a.jpg"] == BOX
    assert read.remarks == ("dev.csv, line 4: a second row for a.jpg replaces the first",)


@pytest.mark.parametrize(
    ("row", "file"),
    [
        ("a.jpg", "a.jpg"),
        ("a.jpg", "A.JPG"),
        ("a.jpg", "a.png"),
        ("IMG 1.JPEG", "img 1.dcm"),
        ("a", "a.png"),
        ("Thorax übung 胸部.jpg", "Thorax übung 胸部.jpg"),
        (unicodedata.normalize("NFC", "übung.jpg"), unicodedata.normalize("NFD", "übung.jpg")),
        (unicodedata.normalize("NFD", "Übung.jpg"), unicodedata.normalize("NFC", "übung.png")),
    ],
)
def test_the_row_of_a_file(tmp_path: Path, row: str, file: str) -> None:
    read = table(tmp_path, f"image_name,annotation\nother.jpg,\n{row},0 1 2 3 4\n")
    assert row_of(read, file, "c.jpg") == row
    assert row_of(read, "b.jpg", "c.jpg") is None


def test_the_exact_name_comes_before_another_ending(tmp_path: Path) -> None:
    read = table(tmp_path, "image_name,annotation\na.jpg,0 1 2 3 4\na.png,\n")
    assert [row_of(read, name) for name in ("a.png", "a.jpg")] == ["a.png", "a.jpg"]
    assert row_of(read, "a.dcm") is None
    root = Path("x")
    assert read.match(root, [root / "a.dcm"]).doubts == (
        "dev.csv: a.dcm could be meant by a.jpg or a.png; no such row counts",
    )
    assert read.match(root, [root / "a.jpg", root / "a.dcm"]).rows.keys() == {root / "a.jpg"}


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    rows = [
        ("a, b.jpg", (Rectangle(0, 0.5, 3, 4), Polygon(((0, 0), (9.25, 0), (9, 9))))),
        ("Größe.png", ()),
    ]
    write_annotations(tmp_path / "x.csv", rows)
    assert read_annotations(tmp_path / "x.csv").shapes == dict(rows)


def test_shapes_outside_the_picture_are_cut_or_left_out_and_reported() -> None:
    inside, box_to_the_edge = Ellipse(1, 1, 5, 5), Rectangle(3, 3, 20, 10)
    polygon = Polygon(((-4, 2), (6, 2), (6, 8)))
    kept, remarks = clip_to_image(
        [inside, Rectangle(-5, 2, 8, 30), Rectangle(30, 2, 40, 8), polygon, Ellipse(1, -9, 5, -3), box_to_the_edge],
        height=10,
        width=20,
        name="a.jpg",
    )
    assert kept == [inside, Rectangle(0, 2, 8, 9), polygon, Rectangle(3, 3, 19, 9)]
    cut, out = (
        "reaches outside the 20 x 10 picture and is cut",
        "lies wholly outside the 20 x 10 picture and is left out",
    )
    assert remarks == [f"a.jpg: an annotation {what}" for what in (cut, out, cut, out)]
