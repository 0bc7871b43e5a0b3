"""Finding images, labels and shapes in the folder layouts of Object-CXR."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.inputs.annotations.shapes import Ellipse, Rectangle
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.dataset.layouts import (
    AFFECTED,
    NORMAL,
    list_images,
    load_folder,
    require_folder,
)

BOX = (Rectangle(1, 2, 3, 4),)


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def csv(path: Path, rows: Iterable[str], header: str = "image_name,annotation") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def sorted_data(tmp_path: Path) -> Path:
    """Our users' layout, without any CSV."""
    for split, first in (("train", 1), ("dev", 5)):
        touch(tmp_path / split / "affected", f"0000{first}.jpg", f"0000{first + 1}.jpg")
        touch(tmp_path / split / "normal", f"0000{first + 2}.jpg")
    return tmp_path


@pytest.fixture
def official_data(tmp_path: Path) -> Path:
    """The challenge's layout."""
    touch(tmp_path / "train", "1.jpg", "2.jpg")
    touch(tmp_path / "dev", "3.jpg", "4.jpg", "5.jpg")
    csv(tmp_path / "train.csv", ["1.jpg,0 1 2 3 4", "2.jpg,"])
    csv(tmp_path / "dev.csv", ["5.jpg,1 1 2 3 4;0 1 2 3 4", "3.jpg,0 1 2 3 4", "4.jpg,"])
    return tmp_path


def test_sorted_folders_give_the_labels_without_a_csv(sorted_data: Path) -> None:
    assert Dataset(sorted_data).splits == ("train", "dev")
    split = Dataset(sorted_data).split("dev")
    assert [(item.name, item.label, item.shapes) for item in split.items] == [
        ("00007.jpg", NORMAL, None),
        ("00005.jpg", AFFECTED, None),
        ("00006.jpg", AFFECTED, None),
    ]
    assert split.items[1].path == sorted_data / "dev" / "affected" / "00005.jpg"
    assert split.counts() == {"normal": 1, "affected": 2}
    assert split.remarks == ()


@pytest.mark.parametrize("header", ["image_name,annotation", "image_path,annotation"])
def test_sorted_folders_take_the_shapes_of_the_csv(sorted_data: Path, header: str) -> None:
    csv(sorted_data / "dev.csv", ["00006.jpg,0 1 2 3 4", "00007.jpg,", "00005.jpg,1 0 0 2 2"], header)
    split = Dataset(sorted_data).split("dev")
    assert {item.name: (item.label, item.shapes) for item in split.items} == {
        "00005.jpg": (AFFECTED, (Ellipse(0, 0, 2, 2),)),
        "00006.jpg": (AFFECTED, BOX),
        "00007.jpg": (NORMAL, ()),
    }
    assert split.remarks == ()
    assert all(item.shapes is None for item in Dataset(sorted_data).split("train").items)  # train.csv is optional


def test_the_official_layout_takes_labels_from_the_annotation(official_data: Path) -> None:
    split = Dataset(official_data).split("dev")
    assert [(item.name, item.label, len(item.shapes or ())) for item in split.items] == [
        ("3.jpg", AFFECTED, 1),
        ("4.jpg", NORMAL, 0),
        ("5.jpg", AFFECTED, 2),
    ]
    assert Dataset(official_data).split("train").counts() == {"normal": 1, "affected": 1}
    assert split.remarks == ()


def test_paths_in_the_name_column(official_data: Path) -> None:
    csv(official_data / "dev.csv", ["dev/3.jpg,0 1 2 3 4", "C:\\cxr\\dev\\4.jpg,", "/data/dev/5.jpg,0 1 2 3 4"],
        "image_path,annotation")  # fmt: skip
    split = Dataset(official_data).split("dev")
    assert [item.label for item in split.items] == [AFFECTED, NORMAL, AFFECTED]
    assert split.remarks == ()


def test_rows_without_an_image_and_images_without_a_row_are_reported(sorted_data: Path) -> None:
    csv(sorted_data / "dev.csv", ["00005.jpg,0 1 2 3 4", "90001.jpg,", "90000.jpg,0 1 2 3 4"])
    split = Dataset(sorted_data).split("dev")
    assert {item.name: item.shapes for item in split.items} == {"00005.jpg": BOX, "00006.jpg": None, "00007.jpg": None}
    assert split.remarks == (
        "dev: 2 images have no row in dev.csv: 00007.jpg, 00006.jpg",
        "dev: 2 rows of dev.csv have no image: 90000.jpg, 90001.jpg",
    )


def test_an_official_image_without_a_row_is_left_out_and_reported(official_data: Path) -> None:
    touch(official_data / "dev", *(f"x{i}.jpg" for i in range(7)))
    split = Dataset(official_data).split("dev")
    assert [item.name for item in split.items] == ["3.jpg", "4.jpg", "5.jpg"]
    assert split.remarks == ("dev: 7 images have no row in dev.csv: x0.jpg, x1.jpg, x2.jpg, x3.jpg, x4.jpg and 2 more",)


def test_the_folder_wins_over_a_contradicting_row_and_it_is_reported(sorted_data: Path) -> None:
    csv(sorted_data / "dev.csv", ["00005.jpg,", "00006.jpg,0 1 2 3 4", "00007.jpg,0 1 2 3 4"])
    split = Dataset(sorted_data).split("dev")
    assert {item.name: item.label for item in split.items} == {
        "00005.jpg": AFFECTED,
        "00006.jpg": AFFECTED,
        "00007.jpg": NORMAL,
    }
    assert split.remarks == (
        "00007.jpg: lies in 'normal' but its row has objects; the folder counts",
        "00005.jpg: lies in 'affected' but its row has no object; the folder counts",
    )


def test_duplicate_rows_reach_the_remarks(official_data: Path) -> None:
    csv(official_data / "dev.csv", ["3.jpg,", "4.jpg,", "5.jpg,", "3.jpg,0 1 2 3 4"])
    split = Dataset(official_data).split("dev")
    assert split.items[0].shapes == BOX
    assert split.remarks == ("dev.csv, line 5: a second row for 3.jpg replaces the first",)


def test_endings_in_any_case_and_kind_beside_each_other(tmp_path: Path) -> None:
    names = ["a.JPG", "b.Jpeg", "c.PNG", "d.png", "e.DCM", "f.tif", "Größe 胸部.jpg", "with space.jpg"]
    touch(tmp_path / "dev", *names, ".hidden.jpg", "notes.txt", "Thumbs.db", "noending")
    (tmp_path / "dev" / "folder").mkdir()
    rows = [f"{Path(name).stem}.jpg,0 1 2 3 4" for name in names]  # every row says .jpg
    csv(tmp_path / "dev.csv", rows)
    assert {path.name for path in list_images(tmp_path / "dev")} == set(names)
    split = Dataset(tmp_path).split("dev")
    assert {item.name for item in split.items if item.shapes == BOX} == set(names)
    assert split.remarks == (
        "dev: 1 rows of dev.csv name their image in another letter case, such as a.jpg for a.JPG",
        "dev: 5 rows of dev.csv name their image with another ending, such as b.jpg for b.Jpeg",
    )


@pytest.mark.parametrize("missing", [False, True], ids=["empty", "missing"])
@pytest.mark.parametrize("class_name", ["affected", "normal"])
def test_a_class_folder_must_hold_images(sorted_data: Path, class_name: str, missing: bool) -> None:
    shutil.rmtree(sorted_data / "dev" / class_name)
    if not missing:
        touch(sorted_data / "dev" / class_name, "readme.txt")
    with pytest.raises(UsageError) as caught:
        Dataset(sorted_data).split("dev")
    assert str(caught.value).startswith(f"{sorted_data / 'dev' / class_name}: holds no images; put the {class_name}")


def test_splits_that_cannot_be_loaded(sorted_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no split 'test' \(it holds train, dev\)"):
        Dataset(sorted_data).split("test")
    with pytest.raises(UsageError, match="absent: no such folder"):
        Dataset(tmp_path / "absent").split("dev")
    csv(tmp_path / "file", [])
    with pytest.raises(UsageError, match="this is a file, a folder is needed"):
        require_folder(tmp_path / "file")
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="it holds none of train, dev and test"):
        Dataset(tmp_path / "other").split("dev")


def test_an_unsorted_split_needs_a_csv_of_its_images(official_data: Path) -> None:
    csv(official_data / "dev.csv", ["8.jpg,", "9.jpg,"])
    with pytest.raises(UsageError, match=r"dev\.csv: no row names an image in .*dev; is this the CSV"):
        Dataset(official_data).split("dev")
    (official_data / "dev.csv").unlink()
    with pytest.raises(UsageError, match=r"neither the folders 'affected' and 'normal' nor dev\.csv"):
        Dataset(official_data).split("dev")
    shutil.rmtree(official_data / "train")
    (official_data / "train").mkdir()
    with pytest.raises(UsageError, match="train: holds no images"):
        Dataset(official_data).split("train")


def test_a_row_that_cannot_be_parsed_stops_the_split(official_data: Path) -> None:
    csv(official_data / "dev.csv", ["3.jpg,0 1 2 3 4", "4.jpg,0 1 2 three 4"])
    with pytest.raises(UsageError) as caught:
        Dataset(official_data).split("dev")
    message = str(caught.value)
    assert message.startswith(f"{official_data / 'dev.csv'}, line 3:")
    assert "4.jpg" in message
    assert "'0 1 2 three 4'" in message


def test_a_plain_folder_is_searched_below_too(tmp_path: Path) -> None:
    touch(tmp_path / "in", "b.jpg")
    touch(tmp_path / "in" / "affected", "a.jpg", ".DS_Store", "._a.jpg")
    touch(tmp_path / "in" / "Normal" / "deep", "c.png")
    split = load_folder(tmp_path / "in")
    assert {item.name: (item.label, item.shapes) for item in split.items} == {
        "a.jpg": (AFFECTED, None),
        "b.jpg": (None, None),
        "c.png": (None, None),
    }
    rows = csv(tmp_path / "rows.csv", ["b.jpg,0 1 2 3 4", "a.jpg,", "c.jpg,"])
    split = load_folder(tmp_path / "in", rows)
    assert {item.name: (item.label, item.shapes) for item in split.items} == {
        "a.jpg": (AFFECTED, ()),
        "b.jpg": (AFFECTED, BOX),
        "c.png": (NORMAL, ()),
    }


def test_a_folder_without_images_is_nothing_to_do(tmp_path: Path) -> None:
    touch(tmp_path / "in", "notes.txt")
    with pytest.raises(NothingToDoError, match="in: holds no images"):
        load_folder(tmp_path / "in")
    with pytest.raises(UsageError, match="no such folder"):
        load_folder(tmp_path / "absent")
