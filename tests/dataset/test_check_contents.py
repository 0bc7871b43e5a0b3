"""What a data set folder holds, in each layout, and the published counts of Object-CXR."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrlens.dataset.check.contents import load_contents
from cxrlens.dataset.check.findings import Finding
from cxrlens.dataset.check.published import is_object_cxr, published_counts, published_findings
from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.dataset.layouts import AFFECTED, CLASS_NAMES, NORMAL, Split
from cxrlens.inputs.dataset.manifest import MANIFEST, ManifestRow, write_manifest


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def csv(path: Path, *rows: str) -> None:
    path.write_text("\n".join(["image_name,annotation", *rows]) + "\n", encoding="utf-8")


def told(findings: tuple[Finding, ...] | list[Finding]) -> list[tuple[str, tuple[str, ...]]]:
    return [(finding.kind.id, finding.images) for finding in findings]


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """The challenge's layout, where the rows are the labels."""
    touch(tmp_path / "train", "1.jpg", "2.jpg")
    touch(tmp_path / "dev", "3.jpg", "4.jpg")
    csv(tmp_path / "train.csv", "1.jpg,0 1 2 3 4", "2.jpg,")
    csv(tmp_path / "dev.csv", "3.jpg,0 1 2 3 4", "4.jpg,")
    return tmp_path


def labels(split: Split) -> dict[str, int | None]:
    return {item.name: item.label for item in split.items}


def test_the_official_layout(official: Path) -> None:
    contents = load_contents(Dataset(official))
    assert contents.findings == ()
    assert [labels(split) for split in contents.splits] == [
        {"1.jpg": AFFECTED, "2.jpg": NORMAL},
        {"3.jpg": AFFECTED, "4.jpg": NORMAL},
    ]


def test_an_image_without_a_row_is_left_out_and_named(official: Path) -> None:
    touch(official / "dev", "5.jpg")
    csv(official / "train.csv", "1.jpg,0 1 2 3 4", "2.jpg,", "9.jpg,", "1.jpg,")
    contents = load_contents(Dataset(official))
    assert told(contents.findings) == [
        ("second-row", ()),
        ("row-without-image", ()),
        ("image-without-row", ("dev/5.jpg",)),
    ]
    assert "train.csv: there is no image 9.jpg in 'train'" in contents.findings[1].message


def test_good_rows_count_beside_bad_ones(official: Path) -> None:
    csv(official / "dev.csv", "3.jpg,0 1 2 three 4", "4.jpg,1 1 2 3 4", ",0 1 2 3 4", "5.jpg,")
    contents = load_contents(Dataset(official))
    assert told(contents.findings) == [("bad-row", ()), ("bad-row", ()), ("row-without-image", ())]
    assert labels(contents.splits[1]) == {"3.jpg": None, "4.jpg": AFFECTED}


def test_a_csv_that_is_none_is_named_and_the_images_are_still_there(official: Path) -> None:
    (official / "dev.csv").write_bytes(b"\xff\xfe\x00")
    contents = load_contents(Dataset(official))
    assert told(contents.findings) == [("unusable-split", ())]
    assert str(official / "dev.csv") in contents.findings[0].message
    assert labels(contents.splits[1]) == {"3.jpg": None, "4.jpg": None}


def test_an_empty_split_is_named_and_the_others_are_there(official: Path) -> None:
    for path in (official / "dev").iterdir():
        path.unlink()
    contents = load_contents(Dataset(official))
    assert told(contents.findings) == [("unusable-split", ())]
    assert [len(split.items) for split in contents.splits] == [2, 0]
    for path in (official / "train").iterdir():
        path.unlink()
    with pytest.raises(NothingToDoError, match="holds no images"):
        load_contents(Dataset(official))


def test_images_of_no_split_are_one_finding_without_hidden_folders(official: Path) -> None:
    touch(official, "loose.png")
    touch(official / "test", *(f"{number}.jpg" for number in range(6)))  # no CSV: no split
    touch(official / ".cache", "hidden.jpg")
    (finding,) = load_contents(Dataset(official)).findings
    assert finding.kind.id == "unused-image"
    assert finding.images == ("loose.png", *(f"test/{number}.jpg" for number in range(6)))
    assert "and 2 more belong to no split" in finding.message


def test_a_plain_folder_takes_labels_from_folders_and_rows(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "normal", "a.jpg")
    touch(tmp_path / "in", "b.jpg", "c.jpg")
    csv(tmp_path / "rows.csv", "a.jpg,0 1 2 3 4", "b.jpg,0 1 2 3 4")
    contents = load_contents(Dataset(tmp_path / "in"), tmp_path / "rows.csv")
    assert labels(contents.splits[0]) == {"a.jpg": NORMAL, "b.jpg": AFFECTED, "c.jpg": None}
    assert told(contents.findings) == [("image-without-row", ("c.jpg",)), ("contradiction", ("normal/a.jpg",))]
    with pytest.raises(UsageError, match=r"absent\.csv"):
        load_contents(Dataset(tmp_path / "in"), tmp_path / "absent.csv")


def test_names_that_fit_loosely_or_several_images(official: Path) -> None:
    touch(official / "dev", "5.jpg", "5.JPG", "6.PNG")
    csv(official / "dev.csv", "3.jpg,0 1 2 3 4", "./4.jpg,", "5.Jpg,", "6.jpg,", "dev\\3.jpg,")
    contents = load_contents(Dataset(official))
    assert told(contents.findings) == [
        ("second-row", ()),
        ("doubtful-name", ()),
        ("loose-name", ()),
        ("image-without-row", ("dev/5.JPG",)),
        ("image-without-row", ("dev/5.jpg",)),
    ]
    assert [finding.message for finding in contents.findings if not finding.images] == [
        "dev.csv, line 2: the row of 3.jpg is replaced by that of dev/3.jpg, the same image",
        "dev.csv: 5.Jpg could mean 5.JPG or 5.jpg; no such row counts",
        "dev: 1 rows of dev.csv name their image with another ending, such as 6.jpg for 6.PNG",
    ]
    assert labels(contents.splits[1]) == {"3.jpg": NORMAL, "4.jpg": NORMAL, "6.PNG": NORMAL}


def test_images_of_a_manifest_in_other_spellings_belong_to_their_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "images", "a.jpg", "b.jpg")
    rows = [ManifestRow("a.jpg", f"{tmp_path}/x/../images/a.jpg", "train", "normal")]
    write_manifest(tmp_path / MANIFEST, [*rows, ManifestRow("b.jpg", "images//b.jpg", "train", "normal")])
    (tmp_path / "link").symlink_to(".")
    monkeypatch.chdir(tmp_path)
    for root in (Path(), tmp_path, tmp_path / "link"):
        assert load_contents(Dataset(root)).findings == ()


# -- Object-CXR -------------------------------------------------------------------------------------------------------


def object_cxr(root: Path, split: str, ids: range, affected: int) -> None:
    touch(root / split, *(f"{number:05d}.jpg" for number in ids))
    csv(
        root / f"{split}.csv",
        *(f"{number:05d}.jpg,{'0 1 2 3 4' if place < affected else ''}" for place, number in enumerate(ids)),
    )


def published(root: Path) -> list[tuple[str, str]]:
    return [(finding.kind.id, finding.message) for finding in published_findings(load_contents(Dataset(root)))]


def test_dev_offered_as_test_is_compared_as_dev(tmp_path: Path) -> None:
    rows = [
        ManifestRow(f"dev/{n:05}.jpg", f"/x/{n:05}.jpg", split, CLASS_NAMES[n % 2])
        for split in ("dev", "test")
        for n in range(8001, 9001)
    ]
    write_manifest(tmp_path / MANIFEST, rows)
    contents = load_contents(Dataset(tmp_path))
    assert [split.name for split in contents.splits] == ["dev", "test"]
    assert [(split.name, len(split.items)) for split in contents.own] == [("dev", 1000)]
    assert is_object_cxr(contents.own)
    assert published(tmp_path) == []
    write_manifest(tmp_path / MANIFEST, [*rows, ManifestRow("test/09001.jpg", "/x/09001.jpg", "test", "normal")])
    assert published(tmp_path) == [("published-part", "test: 1 of 1000 published images are there")]


def test_a_whole_split_is_as_published(tmp_path: Path) -> None:
    object_cxr(tmp_path, "dev", range(8001, 9001), 500)
    object_cxr(tmp_path, "test", range(9001, 10001), 500)
    assert is_object_cxr(load_contents(Dataset(tmp_path)).splits)
    assert published(tmp_path) == []
    assert published_counts("dev") == dict.fromkeys(CLASS_NAMES, 500)
    assert published_counts("train") == dict.fromkeys(CLASS_NAMES, 4000)
    object_cxr(tmp_path, "dev", range(8001, 9001), 499)
    assert published(tmp_path) == [
        ("published-classes", "dev: has 501 normal and 499 affected, published are 500 of each")
    ]


def test_missing_and_foreign_images_are_named(tmp_path: Path) -> None:
    object_cxr(tmp_path, "dev", range(8001, 9001), 500)
    for number in (8005, 8100, 8101, 8102, 9000):
        (tmp_path / "dev" / f"{number:05d}.jpg").unlink()
    touch(tmp_path / "dev", "00077.jpg", "scan.jpg")
    (tmp_path / "dev.csv").open("a").write("00077.jpg,\nscan.jpg,\n")
    assert published(tmp_path) == [
        ("published-foreign", "dev/00077.jpg: is no image of Object-CXR's 'dev'"),
        ("published-foreign", "dev/scan.jpg: is no image of Object-CXR's 'dev'"),
        (
            "published-incomplete",
            "dev: 995 of 1000 published images are there; missing: 08005, 08100 to 08102, 09000",
        ),
    ]


def test_a_part_of_it_is_a_note_and_many_gaps_are_counted(tmp_path: Path) -> None:
    object_cxr(tmp_path, "dev", range(8001, 8101), 50)
    assert published(tmp_path) == [("published-part", "dev: 100 of 1000 published images are there")]
    object_cxr(tmp_path, "dev", range(8001, 9001), 500)
    for number in range(8002, 9000, 4):
        (tmp_path / "dev" / f"{number:05d}.jpg").unlink()
    ((kind, message),) = published(tmp_path)
    assert kind == "published-incomplete"
    assert message.endswith("08034, 08038 and 240 more gaps")


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("dev", ["00001.jpg", "00002.jpg"]),  # numbered, but not as in Object-CXR
        ("train", ["08500.jpg"]),
        ("train", ["00001.jpg", *(f"image{number}.jpg" for number in range(4))]),
        ("train", ["1.jpg", "2.jpg"]),
    ],
)
def test_other_data_are_not_held_against_it(tmp_path: Path, split: str, names: list[str]) -> None:
    touch(tmp_path / split, *names)
    csv(tmp_path / f"{split}.csv", *(f"{name}," for name in names))
    assert published(tmp_path) == []
    assert not is_object_cxr(load_contents(Dataset(tmp_path)).splits)
