"""New labels of a training split: which images they change, add, and must not touch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cxrlens.errors import UsageError
from cxrlens.inputs.dataset.label_csv import read_labels, with_labels
from cxrlens.inputs.dataset.layouts import AFFECTED, NORMAL, Item, Split
from cxrlens.inputs.origin import FileOrigin


@pytest.fixture
def splits(tmp_path: Path) -> tuple[Split, Split]:
    for name in ("a.jpg", "b.jpg", "dev.jpg", "new.jpg", "more.jpg"):
        (tmp_path / name).write_text(name.replace("more", "else"))  # as long as new.jpg and the other way round
    train = Split(
        "train", (Item(FileOrigin(tmp_path / "a.jpg"), NORMAL), Item(FileOrigin(tmp_path / "b.jpg"), AFFECTED))
    )
    return train, Split("dev", (Item(FileOrigin(tmp_path / "dev.jpg"), NORMAL),))


def write(folder: Path, *lines: str, head: str = "path,label,verdict,name") -> Path:
    path = folder / "verdicts.csv"
    path.write_text("\n".join((head, *lines)) + "\n")
    return path


def test_labels_change_and_images_come(tmp_path: Path, splits: tuple[Split, Split]) -> None:
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    path = write(tmp_path, "link.jpg,affected,retake,x", f"{tmp_path}/new.jpg,normal,accept,y", "more.jpg,affected,,z",
                 "b.jpg,affected,retake,w", "dev.jpg,,,")  # fmt: skip
    found = with_labels(splits[0], read_labels(path), splits[1:])
    assert [(item.path.name, item.label) for item in found.split.items] == [
        ("a.jpg", AFFECTED),
        ("b.jpg", AFFECTED),
        ("new.jpg", NORMAL),
        ("more.jpg", AFFECTED),
    ]
    assert (found.changed, found.added) == (1, 2)
    assert found.split.name == "train"
    assert found.split.items[3].name_in(Path("/elsewhere")) == str(tmp_path / "more.jpg")


def test_labels_are_numbers_as_spreadsheets_write_them(tmp_path: Path, splits: tuple[Split, Split]) -> None:
    path = write(tmp_path, "a.jpg,1.0", "b.jpg,0", 'new.jpg," 0,00"', "more.jpg,1.", head="path,label")
    with pytest.raises(UsageError, match=r"line 5: the label '1\.' is neither 'normal' \(0\) nor 'affected' \(1\)"):
        read_labels(path)
    path = write(tmp_path, "a.jpg,1.0", "b.jpg,0", 'new.jpg," 0,00"', "more.jpg,1", head="path,label")
    found = with_labels(splits[0], read_labels(path), splits[1:])
    assert [item.label for item in found.split.items] == [AFFECTED, NORMAL, NORMAL, AFFECTED]


@pytest.mark.parametrize("label", ["0.5", "1.5", "2.0", "-1.0", "1.01", "01.0", "1e0"])
def test_a_number_that_is_no_class_is_refused(tmp_path: Path, splits: tuple[Split, Split], label: str) -> None:
    with pytest.raises(UsageError, match="is neither 'normal'"):
        read_labels(write(tmp_path, f"a.jpg,{label}", head="path,label"))


@pytest.mark.parametrize(
    ("lines", "head", "message"),
    [
        (["gone.jpg,normal", "a.jpg,normal", "lost.jpg,affected"], "path,label", r"2 of its images .*gone\.jpg, lost"),
        (["a.jpg,retake"], "path,label", r"line 2: the label 'retake'"),
        (["a.jpg,normal", "./a.jpg,affected"], "path,label", r"line 3: an earlier row"),
        (["a.jpg,"], "path,label", "no row has a label"),
        (["a.jpg"], "path", "should name the columns path and label"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, splits: tuple[Split, Split], lines: list[str], head: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        read_labels(write(tmp_path, *lines, head=head))


def test_images_of_other_splits_are_refused(tmp_path: Path, splits: tuple[Split, Split]) -> None:
    new = read_labels(write(tmp_path, "dev.jpg,normal,,"))
    with pytest.raises(UsageError, match=r"belong to 'dev' .*dev\.jpg"):
        with_labels(splits[0], new, splits[1:])


def test_an_image_is_known_by_its_content(tmp_path: Path, splits: tuple[Split, Split]) -> None:
    """A copy under another name, and what a prepared data set made of it, is the image itself."""
    train, dev = splits
    for name in ("a", "dev", "new"):
        (tmp_path / f"copy of {name}.jpg").write_bytes((tmp_path / f"{name}.jpg").read_bytes())
    new = read_labels(write(tmp_path, "copy of a.jpg,affected,,", "copy of new.jpg,normal,,", "new.jpg,normal,,"))
    found = with_labels(train, new, [dev])
    assert [(item.path.name, item.label) for item in found.split.items] == [
        ("a.jpg", AFFECTED),
        ("b.jpg", AFFECTED),
        ("copy of new.jpg", NORMAL),
    ]
    assert (found.changed, found.added) == (1, 1)
    with pytest.raises(UsageError, match=r"belong to 'dev' .*copy of dev\.jpg"):
        with_labels(train, read_labels(write(tmp_path, "copy of dev.jpg,normal,,")), [dev])
    source = hashlib.sha256(b"new.jpg").hexdigest()
    resized = Split("dev", (Item(FileOrigin(tmp_path / "b.jpg"), NORMAL, digests=("0" * 64, source)),))
    with pytest.raises(UsageError, match=r"belong to 'dev' .*new\.jpg"):
        with_labels(train, new, [resized])
    with pytest.raises(UsageError, match=r"line 3: an earlier row gives copy of a\.jpg, or a copy of it"):
        read_labels(write(tmp_path, "a.jpg,affected,,", "copy of a.jpg,normal,,"))


def test_there_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_labels(tmp_path / "gone.csv")


@pytest.mark.parametrize(
    "spelling",
    ["a.jpg", " a.jpg ", "./a.jpg", "x\\..\\a.jpg", "A.JPG", "{root}/a.jpg", "{root}\\a.jpg", "x//..//a.jpg"],
)
@pytest.mark.parametrize("label", ["affected", " Affected ", "AFFECTED"])
def test_paths_and_labels_as_people_write_them(
    tmp_path: Path, splits: tuple[Split, Split], spelling: str, label: str
) -> None:
    new = read_labels(write(tmp_path, f"{spelling.format(root=tmp_path)},{label}", head="Path , LABEL"))
    found = with_labels(splits[0], new, splits[1:])
    assert [(item.path.name, item.label) for item in found.split.items] == [("a.jpg", AFFECTED), ("b.jpg", AFFECTED)]
    assert (found.changed, found.added) == (1, 0)
    loose = ("1 rows of verdicts.csv name their image in another letter case, such as A.JPG for a.jpg",)
    assert found.split.remarks == new.remarks == (loose if "A" in spelling else ())


def test_accents_and_doubtful_names(tmp_path: Path, splits: tuple[Split, Split]) -> None:
    for name in ("u\u0308.jpg", "C.jpg", "c.JPG"):
        (tmp_path / name).write_text(name)
    new = read_labels(write(tmp_path, "\u00fc.jpg,affected", head="path,label"))
    assert [path.name for path in new.files.values()] == ["u\u0308.jpg"]
    with pytest.raises(
        UsageError, match=r"line 2: c\.jpg could mean .*/C\.jpg or .*/c\.JPG; write the file's own name"
    ):
        read_labels(write(tmp_path, "c.jpg,affected", head="path,label"))
    with pytest.raises(UsageError, match="line 2: the path is empty"):
        read_labels(write(tmp_path, " ,affected", head="path,label"))
    with pytest.raises(UsageError, match="has the column 'label' twice"):
        read_labels(write(tmp_path, "a.jpg,affected,normal", head="path,label, Label"))
