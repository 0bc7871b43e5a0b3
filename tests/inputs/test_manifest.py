"""The manifest as a layout: what is written is read, wherever the images lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlens.errors import UsageError
from cxrlens.inputs.annotations.shapes import Ellipse, Polygon, Rectangle
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.dataset.layouts import (
    AFFECTED,
    CLASS_NAMES,
    NORMAL,
    SPLIT_NAMES,
    Item,
)
from cxrlens.inputs.dataset.manifest import (
    MANIFEST,
    ManifestRow,
    find_manifest,
    read_manifest,
    safe_name,
    write_manifest,
)
from cxrlens.inputs.origin import FileOrigin

BOX = Rectangle(1, 2, 3.5, 4)
ROWS = [
    ManifestRow("a.jpg", "images/a.jpg", "train", "affected", (BOX, Polygon(((0, 0), (9, 1), (4, 7.25))))),
    ManifestRow("b.jpg", "/somewhere/else/b.jpg", "train", "normal", patient_id="p1", sha256="0f", height=3, width=5),
    ManifestRow("deep/c.png", "../c.png", "dev", "affected", (), "masks/c.png", source="x.zip/c", source_sha256="1"),
    ManifestRow("d, \"d\"\nd.jpg", "d, \"d\"\nd.jpg", "dev", "", (Ellipse(0, 0, 2, 2),)),
]  # fmt: skip


def read(path: Path) -> list[ManifestRow]:
    return read_manifest(path, splits=SPLIT_NAMES, labels=CLASS_NAMES)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = [*ROWS, ManifestRow("Größe 胸部 \udcff.jpg", "Größe 胸部 \udcff.jpg", "test", "normal")]
    write_manifest(tmp_path / MANIFEST, rows)
    assert read(tmp_path / MANIFEST) == rows
    assert find_manifest(tmp_path) == tmp_path / MANIFEST
    assert Dataset(tmp_path).splits == ("train", "dev", "test")


def test_a_split_of_a_manifest(tmp_path: Path) -> None:
    write_manifest(tmp_path / MANIFEST, ROWS)
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "c.png").touch()
    train, dev = Dataset(tmp_path).split("train"), Dataset(tmp_path).split("dev")
    assert train.items == (
        Item(FileOrigin(tmp_path / "images" / "a.jpg"), AFFECTED, ROWS[0].annotation, None, "a.jpg"),
        Item(FileOrigin(Path("/somewhere/else/b.jpg")), NORMAL, (), None, "b.jpg", ("0f",)),
    )
    assert dev.items == (
        Item(FileOrigin(tmp_path / "../c.png"), AFFECTED, None, tmp_path / "masks/c.png", "deep/c.png", ("1",)),
        Item(FileOrigin(tmp_path / ROWS[3].path), None, (Ellipse(0, 0, 2, 2),), None, ROWS[3].name),
    )
    assert [item.has_object for item in (*train.items, *dev.items)] == [True, False, True, True]
    assert [item.name_in(tmp_path) for item in train.items] == ["a.jpg", "b.jpg"]
    assert train.remarks == dev.remarks == ()
    with pytest.raises(UsageError, match=r"there is no split 'test' \(it holds train, dev\)"):
        Dataset(tmp_path).split("test")


def test_what_is_odd_is_remarked(tmp_path: Path) -> None:
    rows = [
        ManifestRow("a.jpg", "a.jpg", "dev", "normal", (BOX,)),
        ManifestRow("b.jpg", "b.jpg", "dev", "affected", mask="gone.png"),
        ManifestRow("b.jpg", "b.jpg", "test", "affected"),
    ]
    write_manifest(tmp_path / MANIFEST, rows)
    split = Dataset(tmp_path).split("dev")
    assert [(item.label, item.shapes, item.mask) for item in split.items] == [
        (NORMAL, (BOX,), None),
        (AFFECTED, None, None),
    ]
    assert split.remarks == (
        "a.jpg: is labelled 'normal' but has objects; the label counts",
        f"b.jpg: its mask {tmp_path / 'gone.png'} is missing; it counts as not annotated",
        "dev: 1 of its 2 images are in 'test' too: b.jpg",
    )


def test_a_manifest_of_ones_own_needs_three_columns(tmp_path: Path) -> None:
    path = tmp_path / MANIFEST
    path.write_text("\ufeffsplit,label,path\r\ndev,normal,x/a.jpg\r\ntest,affected,/y/b.jpg\r\n", encoding="utf-8")
    assert read(path) == [
        ManifestRow("x/a.jpg", "x/a.jpg", "dev", "normal"),
        ManifestRow("b.jpg", "/y/b.jpg", "test", "affected"),
    ]


def test_some_other_manifest_is_none(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("file,size\na,1\n")
    assert find_manifest(tmp_path) is None
    assert Dataset(tmp_path).splits == ()
    with pytest.raises(UsageError, match=r"has no column label and path and split; prepare"):
        read(tmp_path / MANIFEST)
    with pytest.raises(UsageError, match=r"absent\.csv: no such file"):
        read(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a.jpg,val,normal,,", "the split 'val' is none of train, dev, test"),
        ("a.jpg,dev,sick,,", "the label 'sick' is none of normal, affected"),
        (",dev,normal,,", "the path is empty"),
        ("a.jpg,dev,affected,0 1 2 3,", "'0 1 2 3' should have 4 numbers"),
        ("a.jpg,dev,affected,,../../b.jpg", "the name '../../b.jpg' leads out of its folder"),
        ("x.jpg,dev,normal,,", "'x.jpg' is in 'dev' already"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / MANIFEST
    path.write_text(f"path,split,label,annotation,name\nx.jpg,dev,normal,,\n{line}\n")
    with pytest.raises(UsageError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}, line 3: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a/b.jpg", "a/b.jpg"),
        ("./a//b.jpg", "a/b.jpg"),
        ("a\\b.jpg", "a/b.jpg"),
        ("-a b..jpg", "-a b..jpg"),
        *((text, None) for text in ("", "/", "/a.jpg", "\\a.jpg", "../a.jpg", "a/../../b.jpg", "a\\..\\b", "C:/a.jpg",
                                    "c:a.jpg", "a\nb.jpg", "a\0.jpg")),
    ],
)  # fmt: skip
def test_safe_names(text: str, name: str | None) -> None:
    assert safe_name(text) == name


@given(st.text("./\\:aC\0", max_size=12))
def test_a_safe_name_stays_in_its_folder(text: str) -> None:
    name = safe_name(text)
    if name is not None:
        assert Path("/root/folder", name).resolve().is_relative_to("/root/folder/")
        assert Path("/root/folder", name).resolve() != Path("/root/folder")
        assert safe_name(name) == name


def test_names_of_a_split_are_distinct_and_splits_may_share_them(tmp_path: Path) -> None:
    row = ManifestRow("a.jpg", "a.jpg", "dev", "normal")
    write_manifest(tmp_path / MANIFEST, [row, replace(row, split="test")])
    assert len(read(tmp_path / MANIFEST)) == 2


def test_paths_that_another_system_wrote(tmp_path: Path) -> None:
    for name in ("images/a.jpg", "images/u\u0308.jpg", "images/B.jpg", "images/C.jpg", "images/c.JPG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / MANIFEST).write_text(
        "name,path,split,label\n"
        "1,images\\a.jpg,dev,normal\n2, images/\u00fc.jpg,dev,affected\n3,images/b.jpg,dev,normal\n"
        f"4,./images//a.jpg,dev,affected\n5,images/c.jpg,dev,normal\n6,{tmp_path}/images/B.jpg,test,normal\n",
        encoding="utf-8",
    )
    split = Dataset(tmp_path).split("dev")
    assert [item.path.relative_to(tmp_path).as_posix() for item in split.items] == [
        "images/a.jpg", "images/u\u0308.jpg", "images/B.jpg", "images/a.jpg", "images/c.jpg"
    ]  # fmt: skip
    assert split.remarks == (
        f"5: images/c.jpg could mean {tmp_path}/images/C.jpg or {tmp_path}/images/c.JPG; none is taken",
        "1 rows of manifest.csv name their image in another letter case, such as images/b.jpg for B.jpg",
        "1 rows of manifest.csv name their image with its accents in another Unicode form, such as images/\u00fc.jpg "
        "for u\u0308.jpg",
        "dev: 1 of its 5 images are listed again, 1 of them with another label: 4",
        "dev: 1 of its 5 images are in 'test' too: 3",
    )
