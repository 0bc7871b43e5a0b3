"""Every kind of source gives the same record of the same image."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from small_sources import BOX, HEIGHT, WIDTH, files, mask_file, write, zipped

from cxrlens.dataset.prepare.classes import label_classes
from cxrlens.dataset.prepare.record import ClassNames, Found, Record, distinct, split_in, split_of
from cxrlens.dataset.prepare.sources import KINDS, detect_kind
from cxrlens.dataset.prepare.sources import coco as coco_source
from cxrlens.dataset.prepare.tree import Tree
from cxrlens.errors import UsageError
from cxrlens.inputs.annotations.shapes import Ellipse, Polygon, Rectangle, rasterize
from cxrlens.inputs.dataset.layouts import AFFECTED, NORMAL
from cxrlens.inputs.dataset.manifest import MANIFEST, ManifestRow, safe_name, write_manifest
from cxrlens.inputs.origin import FileOrigin

TEXT = "0 70 4 90 15"  # BOX
NO_NAMES = ClassNames()


def scan(source: Path, kind: str, names: ClassNames = NO_NAMES, root: Path | None = None) -> Found:
    """What is found, after checking that the kind is recognised."""
    tree = Tree(root or (source if source.is_dir() else source.parent))
    assert detect_kind(source, tree).id == kind
    return KINDS[kind].scan(source, tree, names)


def facts(found: Found) -> dict[str, tuple[Any, ...]]:
    return {r.name: (r.split, r.label, r.shapes, r.patient_id) for r in found.records}


EXPECTED = {
    "train/1.jpg": ("train", AFFECTED, (BOX,), ""),
    "train/2.jpg": ("train", NORMAL, (), ""),
    "dev/3.jpg": ("dev", AFFECTED, (BOX, Ellipse(1, 2, 3, 4)), ""),
    "dev/4.jpg": ("dev", NORMAL, (), ""),
}
TABLES = {
    "train.csv": f"image_name,annotation\n1.jpg,{TEXT}\n2.jpg,\n",
    "dev.csv": f"image_path,annotation\n4.jpg,\n3.jpg,{TEXT};1 1 2 3 4\n",
}


# -- Object-CXR -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "train/", "object-CXR/train/"])
def test_object_cxr_as_it_is_downloaded(tmp_path: Path, prefix: str) -> None:
    write(tmp_path, TABLES)
    zipped(tmp_path / "train.zip", {
        **{prefix + name: content for name, content in files("1.jpg", "2.jpg").items()},
        f"__MACOSX/{prefix}._1.jpg": b"x",
        f"{prefix}.hidden.jpg": b"x",
        f"{prefix}notes.txt": "x",
    })  # fmt: skip
    zipped(tmp_path / "dev.zip", files("dev/3.jpg", "dev/4.jpg"))
    found = scan(tmp_path, "object-cxr")
    assert facts(found) == EXPECTED
    assert found.refused == found.remarks == ()
    (first,) = [record for record in found.records if record.name == "train/1.jpg"]
    assert first.origin.read() == files("1.jpg")["1.jpg"]
    assert first.origin.below(tmp_path) == f"train.zip/{prefix}1.jpg"


def test_object_cxr_unpacked_or_half_unpacked(tmp_path: Path) -> None:
    write(tmp_path, TABLES | files("train/1.jpg", "train/2.jpg", "dev/3.jpg", "dev/4.jpg"))
    found = scan(tmp_path, "object-cxr")
    assert facts(found) == EXPECTED
    zipped(tmp_path / "train.zip", files("1.jpg", "2.jpg", "9.jpg"))
    found = scan(tmp_path, "object-cxr")
    assert facts(found) == EXPECTED
    assert found.remarks == ("train.zip is not read: the folder 'train' beside it holds images",)


def test_object_cxr_in_class_folders_within_an_archive(tmp_path: Path) -> None:
    write(tmp_path, {"dev.csv": f"image_name,annotation\n3.jpg,{TEXT}\n4.jpg,{TEXT}\n"})
    write(tmp_path, files("train/affected/1.jpg", "train/normal/2.jpg"))
    zipped(tmp_path / "dev.zip", files("affected/3.jpg", "normal/4.jpg", "normal/5.jpg"))
    found = scan(tmp_path, "object-cxr")
    assert facts(found) == {
        "train/affected/1.jpg": ("train", AFFECTED, (), ""),
        "train/normal/2.jpg": ("train", NORMAL, (), ""),
        "dev/affected/3.jpg": ("dev", AFFECTED, (BOX,), ""),
        "dev/normal/4.jpg": ("dev", NORMAL, (BOX,), ""),
        "dev/normal/5.jpg": ("dev", NORMAL, (), ""),
    }
    assert found.remarks == (
        "dev: 1 image has no row in dev.csv: 5.jpg",
        "4.jpg: lies in 'normal' but its row has objects; the folder counts",
    )


def test_object_cxr_says_what_it_leaves_out(tmp_path: Path) -> None:
    write(tmp_path, TABLES | files("train/1.jpg", "train/2.jpg", "val/3.jpg", "val/4.jpg", "test/5.jpg", "more/6.jpg"))
    (tmp_path / "dev.csv").rename(tmp_path / "val.csv")
    found = scan(tmp_path, "object-cxr")
    assert facts(found) == {name.replace("dev", "val"): fact for name, fact in EXPECTED.items()}
    assert found.remarks == (
        "more: is left out; it is called neither train, dev nor test",
        "test: is left out; nothing says which image is affected, test.csv is missing",
    )


# -- class folders ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", ["", "chest/x rays/"])
def test_class_folders_of_each_split(tmp_path: Path, shared: str) -> None:
    names = ["train/Foreign_Objects/a.jpg", "train/clean/a.jpg", "val/foreign-objects/deep/b.png", "val/clean/c.jpg"]
    write(tmp_path, files(*(shared + name for name in names)))
    assert facts(scan(tmp_path, "image-folder")) == {
        shared + names[0]: ("train", AFFECTED, (), ""),
        shared + names[1]: ("train", NORMAL, (), ""),
        shared + names[2]: ("dev", AFFECTED, (), ""),
        shared + names[3]: ("dev", NORMAL, (), ""),
    }


def test_class_folders_without_splits_and_images_beside_them(tmp_path: Path) -> None:
    write(tmp_path, files("pacemaker/a.jpg", "pins/b.jpg", "plain/c.jpg", "stray.jpg"))
    with pytest.raises(UsageError, match=r"class 'pacemaker' means affected or normal; its classes are 'pacemaker', "):
        scan(tmp_path, "image-folder")
    found = scan(tmp_path, "image-folder", ClassNames(affected=("pacemaker", "pins"), normal=("plain",)))
    assert facts(found) == {
        "pacemaker/a.jpg": ("", AFFECTED, (), ""),
        "pins/b.jpg": ("", AFFECTED, (), ""),
        "plain/c.jpg": ("", NORMAL, (), ""),
    }
    assert found.remarks == (f"{tmp_path}: 1 image lies in no class folder and is left out",)
    found = scan(tmp_path, "image-folder", ClassNames(("pins",), ("plain",)))
    assert set(facts(found)) == {"pins/b.jpg", "plain/c.jpg"}
    assert f"{tmp_path}: 1 image lies in the class 'pacemaker' and is left out" in found.remarks


@pytest.mark.parametrize(
    ("classes", "given", "labels"),
    [
        (["Affected", "NORMAL"], ClassNames(), {"Affected": 1, "NORMAL": 0}),
        (["0", "1"], ClassNames(), {"0": 0, "1": 1}),
        (["0.0", "1.0", "1", "1,00"], ClassNames(), {"0.0": 0, "1.0": 1, "1": 1, "1,00": 1}),  # as spreadsheets write
        (["0.0", "-1.0"], ClassNames(affected=("-1",)), {"0.0": 0, "-1.0": 1}),
        (["no_finding", "Artefacts"], ClassNames(), {"no_finding": 0, "Artefacts": 1}),
        (["x", "y"], ClassNames(affected=("X",)), {"x": 1, "y": 0}),
        (["x", "y"], ClassNames(normal=("x",)), {"x": 0, "y": 1}),
        (["normal", "Normal", "bad"], ClassNames(), {"normal": 0, "Normal": 0, "bad": 1}),
        (["normal", "x"], ClassNames(affected=("normal",)), {"normal": 1, "x": 0}),  # what is given counts
        (["a", "b", "good"], ClassNames(affected=("a", "b")), {"a": 1, "b": 1, "good": 0}),
        (["a", "b", "c"], ClassNames(("a",), ("b",)), {"a": 1, "b": 0, "c": None}),
        (["胸", "plain"], ClassNames(("胸",)), {"胸": 1, "plain": 0}),
    ],
)
def test_classes(classes: list[str], given: ClassNames, labels: Mapping[str, int | None]) -> None:
    assert label_classes(classes, given, where="x") == labels


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (ClassNames(), "x: cannot tell whether the class 'odd' means affected or normal"),
        (ClassNames(("od",)), "x: has no class 'od'; its classes are 'good', 'odd', 'other'"),
        (ClassNames(("odd",), ("ODD",)), "cannot be both"),
        (ClassNames(("odd",)), "cannot tell whether the class 'other'"),
    ],
)
def test_classes_that_cannot_be_told(given: ClassNames, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        label_classes(["odd", "good", "other"], given, where="x")
    assert reason in str(caught.value)


# -- COCO -------------------------------------------------------------------------------------------------------------


def coco(images: Mapping[str, list[dict[str, Any]]]) -> str:
    """A file of images with their annotations."""
    return json.dumps({
        "info": {"year": 2020},
        "images": [
            {"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH} for i, name in enumerate(images)
        ],
        "annotations": [
            {"id": 100 * i + k, "image_id": i, "category_id": 7, "iscrowd": 0, **each}
            for i, some in enumerate(images.values())
            for k, each in enumerate(some)
        ],
        "categories": [{"id": 7, "name": "button"}, {"id": 8, "name": "tube"}],
    })  # fmt: skip


OBJECT = {"bbox": [70, 4, 21, 12], "segmentation": []}  # the pixels of BOX: 21 columns from 70 on, 12 rows from 4 on


def test_coco_boxes_cover_the_pixels_that_they_enclose(tmp_path: Path) -> None:
    write(tmp_path, files("images/1.jpg", "images/2.jpg") | {"objects.json": coco({"1.jpg": [OBJECT], "2.jpg": []})})
    found = scan(tmp_path / "objects.json", "coco")
    one, two = found.records
    assert (one.name, one.split, one.label, one.stated) == ("1.jpg", "", AFFECTED, (HEIGHT, WIDTH))
    assert (two.name, two.label, two.shapes) == ("2.jpg", NORMAL, ())
    covered = np.zeros((HEIGHT, WIDTH), bool)
    covered[4:16, 70:91] = True
    np.testing.assert_array_equal(rasterize(one.shapes, height=HEIGHT, width=WIDTH), covered)
    assert found.remarks == found.refused == ()


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0, 20)), min_size=3, max_size=6))
def test_coco_polygons_count_from_the_edge_of_the_picture(points: list[tuple[float, float]]) -> None:
    """A pixel lies inside when its middle, half a pixel from its edge, lies inside the polygon."""
    annotation = coco_source._Annotation(image_id=0, segmentation=[[value for point in points for value in point]])
    (shape,) = coco_source._shapes(annotation, Counter())
    assert isinstance(shape, Polygon)
    assert shape.points == tuple((x - 0.5, y - 0.5) for x, y in points)
    x, y = np.meshgrid(np.arange(30.0), np.arange(20.0))
    middles = np.column_stack([x.ravel() + 0.5, y.ravel() + 0.5])
    area = 0.5 * sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, points[1:] + points[:1], strict=True))
    inner = Outline([*points, points[0]], closed=True).contains_points(middles, radius=-0.01 if area > 0 else 0.01)
    if len(points) == 3:  # larger ones may cross themselves, where matplotlib follows another rule
        assert shape.contains(x.ravel(), y.ravel())[inner].all()


def test_coco_of_each_split_with_objects_of_every_form(tmp_path: Path) -> None:
    polygons = [[1, 2, 9, 2, 9, 8.5], [20, 20, 30, 20, 30, 30, 20, 30]]
    train = {
        "1.jpg": [{"bbox": [1, 2, 8, 6.5], "segmentation": polygons}, {**OBJECT, "category_id": 8}],
        "2.jpg": [{"bbox": [70, 4, 21, 12], "segmentation": {"counts": [3, 4], "size": [40, 100]}, "iscrowd": 1}],
        "3.jpg": [{"segmentation": [[1, 2, 3, 4]]}],
        "4.jpg": [],
        "gone.jpg": [],
        "../../etc/passwd.jpg": [],
    }
    write(tmp_path, files("train2017/1.jpg", "train2017/2.jpg", "train2017/3.jpg", "train2017/4.jpg"))
    zipped(tmp_path / "val2017.zip", files("1.jpg", "5.jpg"))
    write(tmp_path, {
        "annotations/instances_train2017.json": coco(train),
        "annotations/instances_val2017.json": coco({"5.jpg": [OBJECT], "1.jpg": []}),
    })  # fmt: skip
    found = scan(tmp_path, "coco")
    half = [tuple((x - 0.5, y - 0.5) for x, y in zip(p[::2], p[1::2], strict=True)) for p in polygons]
    box = Rectangle(69.5, 3.5, 90.5, 15.5)
    assert facts(found) == {
        "train/2.jpg": ("train", AFFECTED, (box,), ""),
        "train/3.jpg": ("train", AFFECTED, (), ""),
        "train/4.jpg": ("train", NORMAL, (), ""),
        "dev/5.jpg": ("dev", AFFECTED, (box,), ""),
    }
    assert found.refused == (
        "1.jpg: there are 2 images of this name, such as train2017/1.jpg and val2017/1.jpg (instances_train2017.json)",
        f"gone.jpg: there is no such image in {tmp_path} (instances_train2017.json)",
        f"../../etc/passwd.jpg: there is no such image in {tmp_path} (instances_train2017.json)",
        "1.jpg: there are 2 images of this name, such as train2017/1.jpg and val2017/1.jpg (instances_val2017.json)",
    )
    assert [remark.partition(": ")[2] for remark in found.remarks] == [
        "1 annotations are given as run lengths and count as their box",
        "1 annotations have a polygon that cannot be used and count as their box",
        "1 annotations have no box: their image is affected, but where is not known",
    ]
    (tmp_path / "train2017" / "1.jpg").rename(tmp_path / "train2017" / "10.jpg")
    write(tmp_path, {"annotations/instances_train2017.json": coco({"10.jpg": train["1.jpg"]})})
    shapes = facts(scan(tmp_path, "coco"))["train/10.jpg"][2]
    assert shapes == (Polygon(half[0]), Polygon(half[1]), box)
    shapes = facts(scan(tmp_path, "coco", ClassNames(affected=("tube",))))["train/10.jpg"][2]
    assert shapes == (box,)  # the button does not count


def test_coco_beside_its_images_in_folders_of_one_name(tmp_path: Path) -> None:
    for folder in ("train", "valid"):
        write(tmp_path / folder, files("a.jpg") | {"_annotations.coco.json": coco({"a.jpg": [OBJECT]})})
    found = scan(tmp_path, "coco")
    assert {r.name: r.origin for r in found.records} == {
        "train/a.jpg": FileOrigin(tmp_path / "train" / "a.jpg"),
        "dev/a.jpg": FileOrigin(tmp_path / "valid" / "a.jpg"),
    }


@pytest.mark.parametrize(
    ("content", "names", "reason"),
    [
        ("[1]", ClassNames(), "is no COCO JSON of objects"),
        ("{", ClassNames(), "is no COCO JSON of objects"),
        ('{"images": [{"id": 1}]}', ClassNames(), "images[0].file_name is missing"),
        (coco({"1.jpg": [{"bbox": [0, 0, "NaN", 1]}]}), ClassNames(), "annotations[0].bbox[2]"),
        (coco({}), ClassNames(affected=("x",)), "has no category 'x'; its categories are button, tube"),
        (coco({}), ClassNames(normal=("x",)), "leave --normal out"),
    ],
)
def test_coco_that_cannot_be_used(tmp_path: Path, content: str, names: ClassNames, reason: str) -> None:
    write(tmp_path, {"o.json": content})
    with pytest.raises(UsageError) as caught:
        scan(tmp_path / "o.json", "coco", names)
    assert reason in str(caught.value)
    assert str(tmp_path / "o.json") in str(caught.value)


def test_several_cocos_must_name_their_split(tmp_path: Path) -> None:
    write(tmp_path, files("1.jpg") | {"train.json": coco({"1.jpg": []}), "other.json": coco({})})
    with pytest.raises(UsageError, match=r"other\.json: its name speaks of neither"):
        scan(tmp_path, "coco")


# -- CSV --------------------------------------------------------------------------------------------------------------


def test_a_csv_of_ones_own(tmp_path: Path) -> None:
    outside = write(tmp_path / "else", files("p/a.jpg", "q/a.jpg"))
    write(tmp_path / "here", files("x/c.jpg", "d.dat.jpg"))
    zipped(tmp_path / "here" / "more.zip", files("e.jpg"))
    (tmp_path / "here" / "d.dat.jpg").rename(tmp_path / "here" / "d.dat")  # has no ending of an image
    table = tmp_path / "here" / "labels.csv"
    table.write_text(
        "\ufeffLabel,Path,patient_id,split,annotation\n"
        f"bad,{outside}/p/a.jpg,p1,training,{TEXT}\n"
        f"good,../else/q/a.jpg,p1,val,\n"
        "\n"
        "good,x\\c.jpg,p2,test,\n"
        "bad,d.dat,,train,\n"
        "good,more/e.jpg,,train,\n"
        "good,gone.jpg,,train,\n"
        "bad,x\\c.jpg,p2,train,\n",
        encoding="utf-8",
    )
    found = scan(table, "csv")
    assert facts(found) == {
        f"{str(outside)[1:]}/p/a.jpg": ("train", AFFECTED, (BOX,), "p1"),
        "else/q/a.jpg": ("dev", NORMAL, (), "p1"),
        "x/c.jpg": ("test", NORMAL, (), "p2"),
        "d.dat": ("train", AFFECTED, (), ""),
        "more/e.jpg": ("train", NORMAL, (), ""),
    }
    assert found.refused == (f"gone.jpg: there is no such image in {table.parent} ({table}, line 8)",)
    assert found.remarks == (
        f"{table}: 1 row names an image again and is left out, 1 of them with another label, split or objects, such "
        "as line 9: x\\c.jpg",
    )


def test_a_table_whose_images_are_all_where_it_says_searches_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may lie among anything: a home folder, archives that have nothing to do with it."""
    write(tmp_path, files("x/a.jpg", "b.jpg"))
    image = {"id": 1, "file_name": "a.jpg"}
    write(tmp_path, {
        "t.csv": f"path,label\nx/a.jpg,1\n{tmp_path}/b.jpg,0\n",
        "x/train.json": json.dumps({"images": [image]}),
        "other.zip": "no archive",
    })  # fmt: skip
    monkeypatch.setattr("cxrlens.dataset.prepare.tree.list_images", lambda *_, **__: pytest.fail("searched"))
    assert set(facts(scan(tmp_path / "t.csv", "csv"))) == {"x/a.jpg", "b.jpg"}
    assert set(facts(scan(tmp_path / "x" / "train.json", "coco", root=tmp_path))) == {"train/a.jpg"}


def test_absolute_paths_lose_the_folders_that_they_share(tmp_path: Path) -> None:
    write(tmp_path, files("p/a.jpg", "p/deep/b.jpg"))
    table = tmp_path / "labels.csv"
    table.write_text(f"path,label\n{tmp_path}/p/a.jpg,1\n{tmp_path}/p/deep/b.jpg,0\n")
    assert {name: fact[1] for name, fact in facts(scan(table, "csv")).items()} == {"a.jpg": 1, "deep/b.jpg": 0}


def test_a_csv_whose_labels_are_its_annotations_and_whose_images_lie_elsewhere(tmp_path: Path) -> None:
    write(tmp_path / "images", files("1.jpg", "sub/2.jpg"))
    table = write(tmp_path, {"rows.csv": f"image_name,annotation\n1.jpg,{TEXT}\n2.jpg,\n"}) / "rows.csv"
    found = scan(table, "csv", root=tmp_path / "images")
    assert facts(found) == {"1.jpg": ("", AFFECTED, (BOX,), ""), "2.jpg": ("", NORMAL, (), "")}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b\n1,2\n", "the first line should name the columns path,label[,split,patient_id], but it is 'a,b'"),
        ("path\nx.jpg\n", "but it is 'path'"),
        ("path,label\nx.jpg,\n", "line 2: the label is empty"),
        ("path,label\n,1\n", "line 2: the path is empty"),
        ("path,label,split\nx.jpg,1,fold3\n", "line 2: the split 'fold3' is none of"),
        ("path,label,annotation\nx.jpg,1,0 1 2\n", "line 2: cannot read the annotation: '0 1 2' should have 4"),
        ("path,label\nx.jpg,1.0\ny.jpg,0.5\n", "cannot tell whether the class '0.5'"),
        ("path,label\nx.jpg,yes\ny.jpg,perhaps\n", "cannot tell whether the class 'perhaps'"),
    ],
)
def test_a_csv_that_cannot_be_used(tmp_path: Path, text: str, reason: str) -> None:
    table = write(tmp_path, {"rows.csv": text}) / "rows.csv"
    with pytest.raises(UsageError) as caught:
        scan(table, "csv")
    assert str(table) in str(caught.value)
    assert reason in str(caught.value)


def test_a_prepared_data_set_is_a_source(tmp_path: Path) -> None:
    write(tmp_path, files("images/dev/a.jpg") | {"masks/a.png": mask_file()})
    row = ManifestRow("dev/a.jpg", "images/dev/a.jpg", "dev", "affected", (BOX,), "masks/a.png", "p")
    again = ManifestRow("dev/a.jpg", "images/dev/a.jpg", "test", "affected", (BOX,), "masks/a.png", "p")
    write_manifest(tmp_path / MANIFEST, [row, again])
    found = scan(tmp_path, "csv")
    assert facts(found) == {"dev/a.jpg": ("dev", AFFECTED, (BOX,), "p")}
    assert found.records[0].mask == FileOrigin(tmp_path / "masks" / "a.png")
    assert found.remarks[0].endswith("line 3: images/dev/a.jpg")


# -- masks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("train/images/a.jpg", "train/masks/a.png"),
        ("images/train/a.jpg", "masks/train/a.png"),
        ("images/train/a.jpg", "masks/train/a_mask.png"),
        ("train/a.jpg", "train/a_mask.png"),
        ("train/a.jpg", "train/A-Mask.PNG"),
        ("train/a.jpg", "train/a.mask.png"),
        ("train/a.jpg", "train/masks/a.png"),
        ("train/image/a.jpg", "train/mask/a.bmp"),
    ],
)
def test_masks_find_their_image(tmp_path: Path, image: str, mask: str) -> None:
    other = image.replace("a.jpg", "b.jpg").replace("train", "val")
    write(tmp_path, files(image, other, mask))
    found = scan(tmp_path, "masks")
    one, two = sorted(found.records, key=lambda record: Path(record.name).name)
    assert (one.name, one.split, one.label, one.mask) == (image, "train", None, FileOrigin(tmp_path / mask))
    assert (two.name, two.split, two.label, two.mask) == (other, "dev", NORMAL, None)
    *loose, without = found.remarks
    assert without == f"{tmp_path}: 1 image has no mask and counts as normal"
    other_case = f"1 masks name their image in another letter case, such as {mask} for {image}"
    assert loose == ([other_case] if "A-Mask" in mask else [])


def test_masks_that_are_odd(tmp_path: Path) -> None:
    write(tmp_path, files("affected/a.jpg", "normal/b.jpg", "normal/b_mask.png", "masks/gone.png"))
    found = scan(tmp_path, "masks")
    assert {r.name: (r.label, r.mask is None) for r in found.records} == {
        "affected/a.jpg": (AFFECTED, True),  # where its objects lie is not known
        "normal/b.jpg": (None, False),
    }
    assert found.remarks == (f"{tmp_path}: 1 mask belongs to no image, such as masks/gone.png",)
    write(tmp_path, files("normal/masks/b.png"))
    with pytest.raises(UsageError, match=r"normal/b_mask\.png and normal/masks/b\.png are masks of one image"):
        scan(tmp_path, "masks")


# -- what all kinds share ---------------------------------------------------------------------------------------------


def test_a_source_that_is_none(tmp_path: Path) -> None:
    write(tmp_path, files("a.jpg", "b.jpg"))
    with pytest.raises(UsageError, match="is none of the sources that are known"):
        detect_kind(tmp_path, Tree(tmp_path))
    archive = zipped(tmp_path / "x" / "train.zip", files("1.jpg"))
    with pytest.raises(UsageError, match=r"train\.zip: is one archive; give the folder in which it lies"):
        detect_kind(archive, Tree(archive.parent))


@pytest.mark.parametrize(
    ("name", "folder", "file"),
    [
        ("train", "train", "train"),
        ("val2017", "dev", "dev"),
        ("Validation", "dev", "dev"),
        ("TEST", "test", "test"),
        ("instances_val2017", "", "dev"),
        ("test_patients", "", "test"),
        ("train_and_test", "", ""),
        ("training-1", "train", "train"),
        ("evaluated", "", ""),
    ],
)
def test_names_of_splits(name: str, folder: str, file: str) -> None:
    assert (split_of(name), split_in(name)) == (folder, file)


parts = st.text("aAbé.", min_size=1, max_size=3).filter(lambda part: part.strip("."))
names = st.builds(lambda folders, stem, end: "/".join([*folders, stem + end]), st.lists(parts, max_size=2), parts,
                  st.sampled_from([".jpg", ".JPG", ".png"]))  # fmt: skip


@given(st.lists(names, max_size=8))
def test_names_become_distinct_whatever_ending_they_get(found: list[str]) -> None:
    records = [Record(name, FileOrigin(Path(str(place)))) for place, name in enumerate(found)]
    renamed = distinct(records)
    assert len({str(Path(record.name).with_suffix("")).casefold() for record in renamed}) == len(found)
    assert {record.origin for record in renamed} == {record.origin for record in records}
    assert distinct(reversed(records)) == renamed or len(set(found)) < len(found)
    for record in renamed:
        original = found[int(str(record.origin))]
        assert Path(record.name).suffix == Path(original).suffix
        assert Path(record.name).parent == Path(original).parent


def test_long_names_are_cut_and_stay_distinct() -> None:
    found = distinct(Record(f"{'é' * 150}{end}.jpg", FileOrigin(Path(end))) for end in "ab")
    assert len({record.name for record in found}) == 2
    assert all(len(record.name.encode()) < 200 and record.name.endswith(".jpg") for record in found)


@pytest.mark.parametrize("name", ["x/new\nline.jpg", "a\\b.jpg", "C:1.jpg", "\t.jpg"])
def test_names_that_no_manifest_takes_are_made_plain(name: str) -> None:
    (record,) = distinct([Record(name, FileOrigin(Path(name)))])
    assert record.name == re.sub(r"[\n\t\\:]", "_", name)
    assert safe_name(record.name) == record.name
    assert record.origin == FileOrigin(Path(name))
