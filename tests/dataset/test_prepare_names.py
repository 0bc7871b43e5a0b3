"""Names in CSVs, COCO files, class and mask folders meet the right image, or it is said why not."""

from __future__ import annotations

import json
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_sources import files, write, zipped

from cxrlens.dataset.check.contents import load_contents
from cxrlens.dataset.prepare.classes import label_classes
from cxrlens.dataset.prepare.record import ClassNames, Found
from cxrlens.dataset.prepare.sources import KINDS, detect_kind
from cxrlens.dataset.prepare.tree import Tree
from cxrlens.errors import UsageError
from cxrlens.inputs.annotations.shapes import Rectangle
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.dataset.layouts import AFFECTED, NORMAL, load_folder
from cxrlens.inputs.matching import folded, without_ending
from image_files import dicom, dicom_bytes, levels

COMPOSED, APART = "\u00dcbung", "U\u0308bung"
OBJECT = {"category_id": 1, "bbox": [70, 4, 21, 12]}
OBJECT_SHAPES = (Rectangle(69.5, 3.5, 90.5, 15.5),)


def scan(source: Path, kind: str | None = None) -> Found:
    tree = Tree(source if source.is_dir() else source.parent)
    return (KINDS[kind] if kind else detect_kind(source, tree)).scan(source, tree, ClassNames())


def labels(found: Found) -> dict[str, int | None]:
    """By the place of the file."""
    return {str(record.origin): record.label for record in found.records}


# -- UIDs, folders ----------------------------------------------------------------------------------------------------


def test_files_called_by_uids_take_no_other_row(tmp_path: Path) -> None:
    content = dicom_bytes(dicom(levels()))
    write(tmp_path, {f"train/2.25.7.1.{n}": content for n in range(1, 5)})
    write(tmp_path, {f"dev/2.25.7.2.{n}": content for n in range(1, 3)})
    for split, uid in (("train", "2.25.7.1"), ("dev", "2.25.7.2")):
        write(tmp_path, {f"{split}.csv": f"image_name,annotation\n{uid}.1,0 1 2 3 4\n{uid}.2,\n"})
    found = scan(tmp_path)
    assert {record.name: record.label for record in found.records} == {
        "train/2.25.7.1.1": AFFECTED,
        "train/2.25.7.1.2": NORMAL,
        "dev/2.25.7.2.1": AFFECTED,
        "dev/2.25.7.2.2": NORMAL,
    }
    assert found.remarks == ("train: 2 images have no row in train.csv: 2.25.7.1.3, 2.25.7.1.4",)
    findings = load_contents(Dataset(tmp_path)).findings
    assert [(f.kind.id, f.images) for f in findings] == [
        ("image-without-row", ("train/2.25.7.1.3",)),
        ("image-without-row", ("train/2.25.7.1.4",)),
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_one_name_in_several_folders(tmp_path: Path, turned: bool) -> None:
    names = [f"patient{n}/study1/view1_frontal.jpg" for n in (1, 2, 3, 4)]
    write(tmp_path / "images", files(*names))
    rows = [f"{name},{'0 30 30 90 90' if 'patient4' in name else ''}\n" for name in names]
    text = "".join(["image_path,annotation\n", *(reversed(rows) if turned else rows)])
    write(tmp_path, {"rows.csv": text})
    split = load_folder(tmp_path / "images", tmp_path / "rows.csv")
    assert [item.label for item in split.items] == [NORMAL, NORMAL, NORMAL, AFFECTED]
    assert split.remarks == ()


def test_one_name_in_both_classes(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        names = [f"{split}/{kind}/{n}.jpg" for kind in ("affected", "normal") for n in (1, 2)]
        write(tmp_path, files(*names))
        rows = [f"{name},{'0 30 30 90 90' if 'affected' in name else ''}\n" for name in names]
        write(tmp_path, {f"{split}.csv": "".join(["image_path,annotation\n", *rows])})
    found = scan(tmp_path)
    for record in found.records:
        assert (len(record.shapes), record.label) == ((1, AFFECTED) if "affected" in record.name else (0, NORMAL))
    assert found.remarks == ()
    assert load_contents(Dataset(tmp_path)).findings == ()
    write(tmp_path, {"dev.csv": "image_name,annotation\n1.jpg,0 30 30 90 90\n2.jpg,\n"})
    split = Dataset(tmp_path).split("dev")
    assert all(item.shapes is None for item in split.items)
    assert split.remarks[-1] == (
        "dev: dev.csv: 1.jpg could mean normal/1.jpg or affected/1.jpg; no such row counts (and 1 more such doubts)"
    )


# -- accents ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("on_disk", "in_table"), [(COMPOSED, APART), (APART, COMPOSED)])
def test_accents_in_either_form(tmp_path: Path, on_disk: str, in_table: str) -> None:
    write(tmp_path / "csv", {**files(f"{on_disk}.jpg", "b.jpg"),
                             "rows.csv": f"path,label\n{in_table}.jpg,affected\nb.jpg,normal\n"})  # fmt: skip
    write(tmp_path / "coco", files(f"{on_disk}.jpg", "b.jpg") | {"o.json": json.dumps({
        "images": [{"id": 1, "file_name": f"{in_table}.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 1, **OBJECT}],
    })})  # fmt: skip
    write(tmp_path / "masks", files(f"images/{on_disk}.jpg", "images/b.jpg", f"masks/{in_table}.png"))
    for source in (tmp_path / "csv" / "rows.csv", tmp_path / "coco" / "o.json", tmp_path / "masks"):
        found = scan(source)
        (one,) = [record for record in found.records if record.origin.place.stem == on_disk]
        assert (one.label, one.mask is None) == ((None, False) if source.name == "masks" else (AFFECTED, True))
        assert found.refused == ()
        assert "with its accents in another Unicode form" in found.remarks[0]
        assert found.remarks[0].startswith("1 ")


# -- CSV --------------------------------------------------------------------------------------------------------------


def test_one_path_in_several_spellings(tmp_path: Path) -> None:
    write(tmp_path, files(*(f"scans/{n}.jpg" for n in (1, 2, 3, 4))))
    (tmp_path / "link").symlink_to("scans")
    table = tmp_path / "rows.csv"
    table.write_text(
        "path,label,split\nscans/1.jpg,normal,train\n./scans/2.jpg,affected,train\nscans/3.jpg,normal,dev\n"
        "scans//4.jpg,affected,dev\nscans\\1.jpg,affected,dev\nscans/2.jpg,normal,dev\n"
        f"{tmp_path}/scans/3.jpg,normal,dev\nlink/4.jpg,affected,dev\n"
    )
    found = scan(table)
    assert {r.name: (r.label, r.split) for r in found.records} == {
        "scans/1.jpg": (NORMAL, "train"),
        "scans/2.jpg": (AFFECTED, "train"),
        "scans/3.jpg": (NORMAL, "dev"),
        "scans/4.jpg": (AFFECTED, "dev"),
    }
    assert found.remarks == (
        f"{table}: 4 rows name an image again and are left out, 2 of them with another label, split or objects, such "
        "as line 6: scans\\1.jpg",
    )


def test_what_is_doubtful_is_left_out_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path, files("x/a.jpg", "x/A.JPG", "x/b.jpg", "p/c.jpg", "q/c.jpg"))
    table = tmp_path / "rows.csv"
    table.write_text("path,label\nx/A.jpg,1\nx/B.jpg,1\nx/b.JPG,0\nc.jpg,1\np/c.jpg,0\nx/gone.jpg,1\n")
    found = scan(table)
    assert labels(found) == {f"{tmp_path}/p/c.jpg": NORMAL}
    assert found.refused == (
        f"x/A.jpg: there are 2 images of this name, such as x/A.JPG and x/a.jpg ({table}, line 2)",
        f"c.jpg: there are 2 images of this name, such as p/c.jpg and q/c.jpg ({table}, line 5)",
        f"x/gone.jpg: there is no such image in {tmp_path} ({table}, line 7)",
        f"{tmp_path}/x/b.jpg: could be meant by x/B.jpg or x/b.JPG ({table}, line 3)",
    )


def test_masks_of_rows_in_other_spellings(tmp_path: Path) -> None:
    write(tmp_path, files("a.jpg", "b.jpg", "m/A.png", "m/B.png", "m/b.PNG"))
    table = tmp_path / "rows.csv"
    table.write_text("path,label,mask\na.jpg,1,m\\a.png\nb.jpg,1,m/b.png\n")
    found = scan(table)
    assert [str(record.mask) for record in found.records] == [f"{tmp_path}/m/A.png"]
    assert "b.jpg: its mask m/b.png could be" in found.refused[0]


# -- COCO -------------------------------------------------------------------------------------------------------------


def coco(path: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]], **more: Any) -> Path:
    path.write_text(json.dumps({"images": images, "annotations": annotations, **more}))
    return path


def test_an_image_id_is_that_of_one_image(tmp_path: Path) -> None:
    write(tmp_path, files("im1.jpg", "im2.jpg"))
    images = [{"id": 1, "file_name": "im1.jpg"}, {"id": "1", "file_name": "im2.jpg"}]
    source = coco(tmp_path / "o.json", images, [{"image_id": 1, **OBJECT}])
    with pytest.raises(UsageError, match=r"o\.json: im1\.jpg and im2\.jpg share the image id 1, .*give each image its"):
        scan(source)
    images[1]["id"] = 2
    source = coco(tmp_path / "o.json", images, [{"image_id": "1", **OBJECT}])  # a number as text
    assert labels(scan(source)) == {f"{tmp_path}/im1.jpg": AFFECTED, f"{tmp_path}/im2.jpg": NORMAL}
    source = coco(tmp_path / "o.json", images, [], categories=[{"id": 1, "name": "pin"}, {"id": 1, "name": "tube"}])
    tree = Tree(tmp_path)
    with pytest.raises(UsageError, match="the categories 'pin' and 'tube' have the same id 1"):
        KINDS["coco"].scan(source, tree, ClassNames(affected=("pin",)))


def test_an_image_that_is_listed_again(tmp_path: Path) -> None:
    write(tmp_path, files("1.jpg", "2.jpg", "3.jpg"))
    images = [{"id": n, "file_name": name} for n, name in enumerate(["1.jpg", "./1.jpg", "2.jpg", "2.jpg", "3.jpg"])]
    annotations = [{"image_id": 0, **OBJECT}, {"image_id": 1, **OBJECT}, {"image_id": 2, **OBJECT}]
    found = scan(coco(tmp_path / "o.json", images, annotations))
    assert {r.name: (r.label, r.shapes) for r in found.records} == {
        "1.jpg": (AFFECTED, OBJECT_SHAPES),
        "3.jpg": (NORMAL, ()),
    }
    assert found.remarks == ("o.json: 1 entries list an image again and are left out, such as ./1.jpg",)
    assert found.refused == (
        f"{tmp_path}/2.jpg: o.json lists it 2 times, with different objects, sizes or names; keep one entry",
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8", "utf-16", "utf-16-le", "utf-32"])
def test_encodings_of_json(tmp_path: Path, encoding: str) -> None:
    write(tmp_path, files("1.jpg", "2.jpg"))
    source = coco(
        tmp_path / "o.json", [{"id": n, "file_name": f"{n}.jpg"} for n in (1, 2)], [{"image_id": 2, **OBJECT}]
    )
    source.write_bytes(source.read_text().encode(encoding))
    assert labels(scan(source)) == {f"{tmp_path}/1.jpg": NORMAL, f"{tmp_path}/2.jpg": AFFECTED}
    source.write_bytes(b'{"images": [], "x": "\xff"}')
    with pytest.raises(UsageError, match=r"o\.json: is no COCO JSON of objects: is not UTF-8 text"):
        scan(source)


@pytest.mark.parametrize("number", ["1e308", "-1e300", "1e999", "NaN", "Infinity", "1" + "0" * 5000, '"NaN"'])
def test_numbers_that_are_no_place(tmp_path: Path, number: str) -> None:
    write(tmp_path, files("1.jpg"))
    text = '{"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [{"image_id": 1, "bbox": [0, 0, %s, 1]}]}'
    (tmp_path / "o.json").write_text(text % number)
    with pytest.raises(UsageError, match=r"o\.json: is no COCO JSON of objects: "):
        scan(tmp_path / "o.json")


# -- masks ------------------------------------------------------------------------------------------------------------


def test_a_mask_that_may_be_that_of_two_images(tmp_path: Path) -> None:
    write(tmp_path, files("a.jpg", "a.png", "b.jpg", "B.jpg", "c.jpg", "C.jpg", "d.jpg", "D.jpg"))
    write(tmp_path, files("masks/a.bmp", "masks/b.png", "masks/c.png", "masks/C.png", "masks/D.PNG"))
    found = scan(tmp_path)
    masks = {record.name: record.mask and record.mask.place.name for record in found.records}
    assert masks == {
        **{"b.jpg": "b.png", "B.jpg": None, "c.jpg": "c.png", "C.jpg": "C.png", "D.jpg": "D.PNG", "d.jpg": None}
    }
    assert [reason.partition(": ")[0] for reason in found.refused] == [f"{tmp_path}/a.jpg", f"{tmp_path}/a.png"]
    assert found.refused[0].endswith(
        "the mask masks/a.bmp may be that of another image of this name; give them names of their own"
    )


def test_masks_of_files_called_by_uids(tmp_path: Path) -> None:
    content = dicom_bytes(dicom(levels()))
    write(tmp_path, {f"images/1.2.840.{n}": content for n in (1, 2, 3)} | files("masks/1.2.840.2.png"))
    assert {record.name: record.mask is not None for record in scan(tmp_path).records} == {
        "images/1.2.840.1": False,
        "images/1.2.840.2": True,
        "images/1.2.840.3": False,
    }


# -- classes, network storage -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [("fall \u00e9", "fall \u00e8"), ("metal+", "metal-"), ("\u80f8", "\u80f8\u90e8"), ("a<b", "a>b.c")]
)
def test_different_classes_stay_different(names: tuple[str, str]) -> None:
    one, other = names
    assert label_classes(names, ClassNames((one,), (other,)), where="x") == {one: AFFECTED, other: NORMAL}


def test_one_class_in_two_unicode_forms() -> None:
    assert label_classes([COMPOSED, APART, "b"], ClassNames((APART.lower(),)), where="x") == {
        COMPOSED: AFFECTED,
        APART: AFFECTED,
        "b": NORMAL,
    }


def test_uncertain_is_not_affected() -> None:
    """CheXpert's labels."""
    with pytest.raises(UsageError, match="cannot tell whether the class '-1' means"):
        label_classes(["0", "1", "-1"], ClassNames(), where="x")


def test_thumbnails_of_network_storage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    names = [f"{kind}/{n}.jpg" for kind in ("affected", "normal") for n in (1, 2)]
    thumbnails = [f"{Path(name).parent}/@eaDir/{Path(name).name}/SYNOPHOTO_THUMB_M.jpg" for name in names]
    write(tmp_path / "a", files(*names, *thumbnails))
    zipped(tmp_path / "b" / "train.zip", files(*names, *thumbnails, "#recycle/9.jpg"))
    found = scan(tmp_path / "a")
    assert [record.name for record in found.records] == names
    assert caplog.messages == [
        "2 folders of the storage's own (thumbnails, deleted files) are not searched: "
        f"{tmp_path}/a/affected/@eaDir, {tmp_path}/a/normal/@eaDir"
    ]
    found = scan(tmp_path / "b")
    assert sorted(record.name for record in found.records) == [f"train/{name}" for name in names]
    assert found.remarks == (
        "train.zip: 5 members in folders of a storage's own (thumbnails, deleted files) are left out",
    )


# -- random names on a disk -------------------------------------------------------------------------------------------

letters = st.sampled_from(["a", "A", "\u00e9", "e\u0301", "\u00c9", "\u80f8", "1", ".", " ", "-"])
parts = st.lists(letters, min_size=1, max_size=3).map("".join).filter(lambda part: part.strip(" .") and part[0] != ".")
endings = st.sampled_from([".jpg", ".JPG", ".png", ".1.jpg"])
names = st.builds(
    lambda folders, stem, end: "/".join([*folders, stem + end]), st.lists(parts, max_size=2), parts, endings
)
SPELLINGS = {
    "as it is": lambda name: name,
    "dot": lambda name: f"./{name}",
    "doubled": lambda name: name.replace("/", "//"),
    "Windows": lambda name: name.replace("/", "\\"),
    "composed": lambda name: unicodedata.normalize("NFC", name),
    "apart": lambda name: unicodedata.normalize("NFD", name),
    "case": str.swapcase,
    "blanks": lambda name: f"  {name} ",
    "no ending": without_ending,
    "bare": lambda name: name.rpartition("/")[2],
}


def bones(name: str) -> str:
    return folded(without_ending(name.rpartition("/")[2].strip())).replace(" ", "")


@given(st.data())
def test_every_image_gets_its_own_label_or_the_reason_is_said(data: st.DataObject) -> None:
    """By CSV, COCO and annotation CSV alike; the class of an image is drawn, and known from its path alone."""
    drawn = data.draw(st.lists(names, min_size=2, max_size=6, unique=True))
    images = [name for name in drawn if not any(other.startswith(f"{name}/") for other in drawn)]
    truth = {name: data.draw(st.integers(0, 1)) for name in images}
    rows = []
    for name in images:
        alone = sum(bones(other) == bones(name) for other in images) == 1
        among = sorted(SPELLINGS) if alone else ["as it is", "dot", "doubled", "Windows"]
        if not alone and not any("/" not in other and bones(other) == bones(name) for other in images):
            among.append("bare")  # else it is the path of another
        if data.draw(st.integers(0, 4)):
            rows.append((SPELLINGS[data.draw(st.sampled_from(among))](name), name))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        write(root, dict.fromkeys([*images, "anchor.jpg"], b""))
        quoted = {text: '"' + text.replace('"', '""') + '"' for text, _ in rows}
        lines = [f"{quoted[text]},{truth[name]}\n" for text, name in rows]
        objects = [f"{quoted[text]},{'0 1 2 3 4' if truth[name] else ''}\n" for text, name in rows]
        write(root, {"rows.csv": "".join(["path,label\nanchor.jpg,0\n", *lines])})
        write(root, {"objects.csv": "".join(["image_path,annotation\nanchor.jpg,\n", *objects])})
        entries = [{"id": place, "file_name": text} for place, (text, _) in enumerate(rows)]
        coco(root / "o.json", [{"id": "x", "file_name": "anchor.jpg"}, *entries],
             [{"image_id": place, **OBJECT} for place, (_, name) in enumerate(rows) if truth[name]])  # fmt: skip
        for kind in ("csv", "coco"):
            found = scan(root / ("rows.csv" if kind == "csv" else "o.json"), kind)
            got = {Path(str(r.origin)).relative_to(root).as_posix(): r.label for r in found.records}
            assert got.items() <= {**truth, "anchor.jpg": NORMAL}.items(), (kind, rows)
            lost = {name for _, name in rows} - set(got)
            assert len(found.refused) + len(found.remarks) >= bool(lost), (kind, rows)
            assert set(got) <= {name for _, name in rows} | {"anchor.jpg"} or len(set(map(bones, images))) < len(images)
        split = load_folder(root, root / "objects.csv")
        got = {item.path.relative_to(root).as_posix(): item.label for item in split.items if item.label is not None}
        assert got.items() <= {**truth, "anchor.jpg": NORMAL}.items(), ("objects", rows)
        assert split.remarks or set(got) == {*images, "anchor.jpg"}
