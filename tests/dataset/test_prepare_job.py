"""The whole job: files, manifest and annotations that fit each other, and runs that are stopped and go on."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_sources import BOX, HEIGHT, WIDTH, encoded, files, mask_file, object_mask, picture, write, zipped
from torch.nn import functional

from cxrlens.dataset.prepare import write as write_module
from cxrlens.dataset.prepare.journal import Journal, PreparedImage
from cxrlens.dataset.prepare.record import Record
from cxrlens.dataset.prepare.run import Options, prepare
from cxrlens.dataset.prepare.write import Form, ImagePreparer, ImageToPrepare, PreparedOutcome, geometry_of
from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.inputs.annotations.ground_truth import object_mask as mask_of
from cxrlens.inputs.annotations.masks import read_mask
from cxrlens.inputs.annotations.shapes import Ellipse, Polygon, Rectangle, Shape, rasterize
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.dataset.layouts import CLASS_NAMES, SPLIT_NAMES
from cxrlens.inputs.dataset.manifest import MANIFEST, ManifestRow, read_manifest
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Note, Radiograph, doubts, read
from cxrlens.inputs.reading import Unreadable, attempt

SIZE = 50


def rows_of(out: Path) -> dict[tuple[str, str], ManifestRow]:
    rows = read_manifest(out / MANIFEST, splits=SPLIT_NAMES, labels=CLASS_NAMES)
    return {(row.split, row.name): row for row in rows}


def too_small(count: int, example: Path) -> str:
    """What is said of so many pictures, which are smaller than what can be judged."""
    what = "images look wrong or were not taken as their files say"
    if count == 1:
        what = "image looks wrong or was not taken as its file says"
    return (
        f"{count} {what} ('cxrlens data check' lists them), such as "
        f"{example}: It is too small to be judged: {WIDTH} x {HEIGHT} pixels, and 64 a side are the least."
    )


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(out: Path) -> dict[str, bytes]:
    """All visible files but what says when and where they were made."""
    found = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith(".")}


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """Object-CXR as it is downloaded: three affected and three normal in train, one of each in dev."""
    root = tmp_path / "download"
    names = [f"{n}.jpg" for n in range(1, 9)]
    table = "image_name,annotation\n"
    write(root, {
        "train.csv": table + "".join(f"{n},{'0 70 4 90 15' if k % 2 else ''}\n" for k, n in enumerate(names[:6])),
        "dev.csv": table + f"{names[6]},0 70 4 90 15\n{names[7]},\n",
    })  # fmt: skip
    pictures = files(*names)
    zipped(root / "train.zip", {f"train/{name}": pictures[name] for name in names[:6]})
    zipped(root / "dev.zip", {f"dev/{name}": pictures[name] for name in names[6:]})
    return root


def folders(root: Path) -> Path:
    return write(root, files(*(f"{split}/{c}/{c[0]}{n}.png" for split in ("train", "dev") for c in CLASS_NAMES
                               for n in range(2))))  # fmt: skip


# -- files ------------------------------------------------------------------------------------------------------------


def test_members_of_archives_are_written_as_they_are(download: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = prepare(download, out, Options())
    assert result.counts == {"train": {"normal": 3, "affected": 3}, "dev": {"normal": 1, "affected": 1}}
    assert (result.made, result.reused, result.unreadable) == (8, 0, [])
    assert result.remarks == [too_small(8, download / "dev.zip" / "dev" / "7.jpg")]
    rows = rows_of(out)
    original = files(*(f"{n}.jpg" for n in range(1, 9)))
    for (split, name), row in rows.items():
        path = out / row.path
        assert row.path == f"images/{name}"
        assert path.read_bytes() == original[path.name]
        assert row.source == f"{split}.zip/{name}"
        assert row.sha256 == row.source_sha256 == sha256(path)
        assert (row.height, row.width) == (HEIGHT, WIDTH)
        assert row.annotation == ((BOX,) if row.label == "affected" else ())
    assert {path.name for path in out.iterdir()} == {
        "images", MANIFEST, "prepared.json", ".prepared.jsonl", ".lock"
    }  # fmt: skip


def test_files_are_named_where_they_lie_or_copied(tmp_path: Path) -> None:
    source = folders(tmp_path / "source")
    for name, options, expected in (
        ("absolute", Options(), f"{source}/dev/affected/a0.png"),
        ("relative", Options(relative=True), "../source/dev/affected/a0.png"),
        ("copied", Options(form=Form(copy=True)), "images/dev/affected/a0.png"),
    ):
        prepare(source, tmp_path / name, options)
        row = rows_of(tmp_path / name)["dev", "dev/affected/a0.png"]
        assert row.path == expected
        assert row.sha256 == sha256(tmp_path / name / row.path) == sha256(source / "dev" / "affected" / "a0.png")
        assert (tmp_path / name / "images").exists() == (name == "copied")
        split = Dataset(tmp_path / name).split("dev")
        assert split.counts() == {"normal": 2, "affected": 2}
        assert all(item.path.is_file() for item in split.items)
        assert split.remarks == ()


def decimated(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    source = torch.from_numpy(pixels)[None, None]
    return functional.interpolate(source, (height, width), mode="bilinear", antialias=True)[0, 0].numpy()


@pytest.mark.parametrize("deep", [False, True])
def test_resized_copies_keep_their_aspect_and_depth(tmp_path: Path, deep: bool) -> None:
    source = write(tmp_path / "source", {
        f"{name}/{split}.png": encoded(picture(n, deep=deep, height=140, width=103), "x.png")
        for n, (name, split) in enumerate((c, s) for c in CLASS_NAMES for s in ("x", "y"))
    })  # fmt: skip
    prepare(source, tmp_path / "out", Options(form=Form(SIZE), dev_share=0.5))
    for row in rows_of(tmp_path / "out").values():
        assert (row.height, row.width) == (50, 37)  # 103 * 50 / 140 = 36.8
        path = tmp_path / "out" / row.path
        assert path.suffix == (".png" if deep else ".jpg")
        with Image.open(path) as image:
            assert image.mode == ("I;16" if deep else "L")
        found, original = read(path).pixels, read(source / row.source).pixels
        np.testing.assert_allclose(found, decimated(original, 50, 37), atol=2e-5 if deep else 0.03)
        assert row.source_sha256 == sha256(source / row.source)
        assert row.sha256 == sha256(path) != row.source_sha256


def test_images_that_are_small_already_are_copied_as_they_are(tmp_path: Path) -> None:
    source = folders(tmp_path / "source")
    prepare(source, tmp_path / "out", Options(form=Form(WIDTH)))
    for row in rows_of(tmp_path / "out").values():
        assert (tmp_path / "out" / row.path).read_bytes() == (source / row.source).read_bytes()


def test_names_that_collide_stay_apart(tmp_path: Path) -> None:
    names = ["a/affected/x.jpg", "a/affected/x.png", "a/affected/X.jpg", "b/affected/x.jpg", "b/normal/x.jpg"]
    pictures = files(*names)
    source = write(tmp_path / "source", pictures)
    table = write(source, {"t.csv": "path,label,split\n" + "".join(f"{n},{n.split('/')[1]},dev\n" for n in names)})
    prepare(table / "t.csv", tmp_path / "out", Options(form=Form(SIZE)))
    rows = rows_of(tmp_path / "out").values()
    assert len({row.path.lower() for row in rows}) == len(names)
    assert {row.name for row in rows} == {*names[3:], "a/affected/X.jpg", "a/affected/x~2.jpg", "a/affected/x~3.png"}
    for row in rows:
        original = decimated(read(pictures[row.source]).pixels, row.height, row.width)
        np.testing.assert_allclose(read(tmp_path / "out" / row.path).pixels, original, atol=0.03)


# -- annotations ------------------------------------------------------------------------------------------------------


def written(image: np.ndarray, shape: Shape, size: int, folder: Path) -> tuple[np.ndarray, Shape]:
    """An image and its shape as they are in the data set."""
    text = f"{shape.code} {' '.join(map(repr, shape.numbers()))}"
    write(folder / "source", {
        "a.png": encoded(Image.fromarray(image), "a.png"),
        "t.csv": f"path,label,split,annotation\na.png,1,train,{text}\n",
    })  # fmt: skip
    prepare(folder / "source" / "t.csv", folder / "out", Options(form=Form(size)))
    row = rows_of(folder / "out")["train", "a.png"]
    return read(folder / "out" / row.path).pixels, row.annotation[0]


@settings(max_examples=15, deadline=None)
@given(st.integers(80, 220), st.integers(80, 220), st.floats(0.05, 0.6), st.floats(0.05, 0.6), st.integers(0, 2))
def test_a_shape_lies_on_its_object_in_the_resized_copy(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, left: float, top: float, kind: int
) -> None:
    """The object is drawn by its shape at full size; in the copy its light must lie in and about the copied shape.

    Drawing snaps edges to whole pixels of the full picture, by half a pixel at most; the resize itself keeps the sum
    and the middle of the light.
    """
    x1, y1 = left * width, top * height
    x2, y2 = x1 + 0.3 * width, y1 + 0.25 * height
    shape = (Rectangle(x1, y1, x2, y2), Ellipse(x1, y1, x2, y2), Polygon(((x1, y1), (x2, y1), (x2, y2))))[kind]
    image = rasterize([shape], height=height, width=width).astype(np.uint8) * 255
    pixels, moved = written(image, shape, 60, tmp_path_factory.mktemp("shape"))
    assert max(pixels.shape) == 60
    assert type(moved) is type(shape)
    scale = np.array([pixels.shape[1] / width, pixels.shape[0] / height])
    corners = np.array(moved.numbers()).reshape(-1, 2)
    light = np.where(pixels < 0.1, 0, pixels)  # without the noise of JPEG
    rows, columns = np.indices(light.shape)
    middle = np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()
    np.testing.assert_array_less(np.abs(middle - corners.mean(axis=0)), 0.5 * scale + 0.05)
    sides = np.ptp(corners, axis=0)
    area = sides.prod() * (1, np.pi / 4, 1 / 2)[kind]
    assert abs(light.sum() - area) < 2 * sides.sum() * 0.5 * scale.max()
    wanted = (np.array(shape.numbers()).reshape(-1, 2) + 0.5) * scale - 0.5
    np.testing.assert_allclose(corners, wanted, atol=6e-4)


def test_masks_follow_their_images(tmp_path: Path) -> None:
    source = write(tmp_path / "source", files("train/images/a.jpg", "train/images/b.jpg", "train/images/c.jpg"))
    write(source, {"train/masks/a.png": mask_file(), "train/masks/b.png": mask_file(empty=True)})
    for name, form in (("there", Form()), ("copied", Form(copy=True)), ("resized", Form(SIZE))):
        out = tmp_path / name
        prepare(source, out, Options(form=form))
        rows = {Path(row.name).stem: row for row in rows_of(out).values()}
        assert {stem: (row.label, bool(row.mask)) for stem, row in rows.items()} == {
            "a": ("affected", True),
            "b": ("normal", False),
            "c": ("normal", False),
        }
        assert [path.name for path in out.rglob("masks/**/*.png")] == ([] if name == "there" else ["a.png"])
        row = rows["a"]
        mask = read_mask(out / row.mask, height=row.height, width=row.width)
        full = rasterize([BOX], height=HEIGHT, width=WIDTH)
        if name == "resized":
            assert mask.shape == (20, 50)
            np.testing.assert_array_equal(mask, full[1::2, 1::2])  # centres fall on the lower right one of four
        else:
            np.testing.assert_array_equal(mask, full)
        item = next(item for item in Dataset(out).split("train").items if item.mask)
        np.testing.assert_array_equal(mask_of(item, *mask.shape, Preprocessing(height=mask.shape[0],
                                                                              width=mask.shape[1])), mask)  # fmt: skip


def test_a_mask_that_does_not_fit_leaves_its_image_out(tmp_path: Path) -> None:
    source = write(tmp_path / "source", files("a.jpg", "b.jpg"))
    wrong = encoded(Image.fromarray(object_mask().T.astype(np.uint8)), "x.png")
    write(source, {"a_mask.png": wrong, "b_mask.png": mask_file()})
    result = prepare(source, tmp_path / "out", Options(dev_share=0))
    assert [row.name for row in rows_of(tmp_path / "out").values()] == ["b.jpg"]
    assert result.unreadable == [f"{source}/a_mask.png: the mask has 40 x 100 pixels, its image 100 x 40"]


def test_sizes_that_contradict_the_source_are_remarked(tmp_path: Path) -> None:
    source = write(tmp_path / "source", files("a.jpg"))
    image = {"id": 1, "file_name": "a.jpg", "height": WIDTH, "width": HEIGHT}
    write(source, {"train.json": json.dumps({"images": [image]})})
    result = prepare(source / "train.json", tmp_path / "out", Options())
    assert result.remarks == [
        "1 image has another size than the source says, so that their objects may lie elsewhere, such as "
        f"{source / 'a.jpg'}",
        too_small(1, source / "a.jpg"),
    ]


# -- splits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, 50])
def test_images_that_are_displayed_oddly_are_remarked(tmp_path: Path, size: int | None) -> None:
    """A copy at another size is made of what was displayed: only its source tells of 12 bits in words of 16."""
    deep = np.random.default_rng(0).integers(0, 4096, (72, 90)).astype(np.uint16)
    plain = Image.fromarray((deep >> 4).astype(np.uint8))
    pictures = {"affected/a.png": encoded(Image.fromarray(deep), "a.png"), "normal/b.png": encoded(plain, "b.png")}
    write(tmp_path / "in", pictures)
    for _ in range(2):  # the second run reads nothing anew
        result = prepare(tmp_path / "in", tmp_path / "out", Options(form=Form(size), dev_share=0, test_share=0))
        (remark,) = (each for each in result.remarks if "looks wrong" in each)
        assert remark.startswith("1 image looks wrong")
        assert "a.png: " in remark
        assert "12 bits" in remark
        assert remark in json.loads((tmp_path / "out" / "prepared.json").read_text("utf-8"))["remarks"]
    assert result.reused == 2


def test_a_journal_keeps_the_kind_of_remarks(tmp_path: Path) -> None:
    """Also a line of an earlier version, which has texts alone: what has lost its kind is a doubt."""
    image = PreparedImage("a.png", "0", 4, 10, "0", 4, 10, remarks=(Note("A note."), "A doubt.", Note("Another.")))
    Journal(tmp_path / "j").add("k", image)
    found = Journal(tmp_path / "j").find("k")
    assert found == image
    assert doubts(found.remarks) == ("A doubt.",)
    assert [type(remark) for remark in found.remarks] == [Note, str, Note]
    made = {"path": "", "sha256": "0", "source_sha256": "0", "remarks": ["A note."]}
    sizes = dict.fromkeys(("height", "width", "source_height", "source_width"), 4)
    (tmp_path / "old").write_text(json.dumps({"key": "k", "made": {**made, **sizes}}) + "\n")
    old = Journal(tmp_path / "old").find("k")
    assert old is not None
    assert doubts(old.remarks) == ("A note.",)


def test_the_example_of_remarks_is_a_doubt_also_when_it_goes_on(tmp_path: Path) -> None:
    """`a.png` has a note alone, 12 bits in words of 16; `b.png` is black."""
    deep = np.random.default_rng(0).integers(0, 4096, (72, 90)).astype(np.uint16)
    pictures = {
        "affected/a.png": encoded(Image.fromarray(deep), "a.png"),
        "normal/b.png": encoded(Image.fromarray(np.zeros((72, 90), np.uint8)), "b.png"),
    }
    write(tmp_path / "in", pictures)
    for _ in range(2):
        result = prepare(tmp_path / "in", tmp_path / "out", Options(dev_share=0, test_share=0))
        (remark,) = (each for each in result.remarks if "look wrong" in each)
        assert remark.startswith("2 images look wrong")
        assert "b.png: " in remark
    assert result.reused == 2


def test_dev_as_test(download: Path, tmp_path: Path) -> None:
    result = prepare(download, tmp_path / "out", Options(dev_as_test=True))
    assert result.counts["test"] == result.counts["dev"] == {"normal": 1, "affected": 1}
    assert Dataset(tmp_path / "out").splits == ("train", "dev", "test")
    dev, test = Dataset(tmp_path / "out").split("dev"), Dataset(tmp_path / "out").split("test")
    assert dev.items == test.items
    assert test.remarks == ("test: 2 of its 2 images are in 'dev' too: dev/7.jpg, dev/8.jpg",)
    assert json.loads((tmp_path / "out" / "prepared.json").read_text())["options"]["dev_as_test"] is True
    for options, reason in (
        (Options(dev_as_test=True, how="random", test_share=0.2), "there is a split 'test' already"),
        (Options(dev_as_test=True, how="random", dev_share=0.0), "there is no split 'dev'"),
    ):
        with pytest.raises(UsageError, match=reason):
            prepare(download, tmp_path / "other", options)


def test_splits_are_drawn_anew_by_patient(download: Path, tmp_path: Path) -> None:
    options = Options(how="patient", patient_pattern=r"(\d)", dev_share=0.5, seed=3)
    result = prepare(download, tmp_path / "out", options)
    assert result.rule.how == "patient"
    rows = rows_of(tmp_path / "out")
    assert {row.patient_id for row in rows.values()} == set("12345678")
    assert sum(row.split == "dev" for row in rows.values()) == 4
    assert json.loads((tmp_path / "out" / "prepared.json").read_text())["split_rule"]["seed"] == 3


# -- bad inputs -------------------------------------------------------------------------------------------------------


def test_every_bad_file_is_named_and_the_rest_is_whole(tmp_path: Path) -> None:
    good = files("train/affected/1.jpg", "train/normal/2.png")
    cut = encoded(picture(3), "x.jpg")[:400]
    zipped(tmp_path / "source" / "train.zip", {
        **good,
        "train/affected/../../../out.jpg": good["train/normal/2.png"],
        "train/affected/empty.jpg": b"",
        "train/normal/text.png": "some text",
        "train/normal/cut.jpg": cut,
    })  # fmt: skip
    result = prepare(tmp_path / "source", tmp_path / "out", Options(), workers=1)
    assert {row.name: row.label for row in rows_of(tmp_path / "out").values()} == {
        "train/affected/1.jpg": "affected",
        "train/normal/2.png": "normal",
    }
    named = [line.split(": ")[0].removeprefix(f"{tmp_path}/source/train.zip/train/") for line in result.unreadable]
    assert named == ["affected/../../../out.jpg", "affected/empty.jpg", "normal/cut.jpg", "normal/text.png"]
    assert (tmp_path / "out" / "unreadable.txt").read_text().splitlines() == result.unreadable
    assert not list(tmp_path.rglob("out.jpg"))
    for path in (tmp_path / "out" / "images").rglob("*.*"):
        assert path.read_bytes() == good[path.relative_to(tmp_path / "out" / "images").as_posix()]


def test_sources_that_cannot_be_prepared(tmp_path: Path) -> None:
    source = folders(tmp_path / "source")
    for options, where, reason in (
        (Options(), source / "out", "lies within the images of the source"),
        (Options(), source, "lies within the images of the source"),
        (Options(images=source), tmp_path / "out", "--images is for a CSV or a COCO JSON"),
    ):
        with pytest.raises(UsageError, match=reason):
            prepare(source, where, options)
    with pytest.raises(UsageError, match="absent: no such file or folder"):
        prepare(tmp_path / "absent", tmp_path / "out", Options())
    empty = write(
        tmp_path / "empty", {"t.csv": "path,label\ngone.jpg,1\n", "bad.jpg": "x", "u.csv": "path,label\nbad.jpg,1\n"}
    )
    with pytest.raises(NothingToDoError, match=r"and 1 that cannot be used: gone\.jpg: there is no such image"):
        prepare(empty / "t.csv", tmp_path / "out", Options())
    with pytest.raises(NothingToDoError, match=r"none of its 1 images can be read: .*bad\.jpg: the file is no image"):
        prepare(empty / "u.csv", tmp_path / "out", Options())
    assert not (tmp_path / "out" / MANIFEST).exists()
    assert (tmp_path / "out" / "unreadable.txt").read_text().startswith(f"{empty / 'bad.jpg'}: the file is no image")


def test_too_few_images_are_found_before_all_are_read(tmp_path: Path) -> None:
    source = write(
        tmp_path / "source", {**files("good.jpg"), "bad.jpg": "x", "t.csv": "path,label\nbad.jpg,1\ngood.jpg,0\n"}
    )
    with pytest.raises(
        UsageError, match=r"too few images to draw 10% .*\(1 affected, 1 normal\); give a larger --dev-share"
    ):
        prepare(source / "t.csv", tmp_path / "out", Options())
    assert not (tmp_path / "out").exists()


def test_a_table_may_lie_beside_the_data_set_made_of_it(tmp_path: Path) -> None:
    """As in a working folder; what was prepared there is never taken for a source."""
    names = ["x/a.jpg", "x/b.jpg", "x/c.jpg", "x/d.jpg"]
    write(tmp_path, {
        **files(*names),
        "t.csv": "path,label,split\n" + "".join(f"{name[2:]},{n % 2},train\n" for n, name in enumerate(names)),
    })  # fmt: skip
    for _ in range(2):  # the second time there are four images more
        result = prepare(tmp_path / "t.csv", tmp_path / "out", Options(form=Form(copy=True)))
        assert result.counts == {"train": {"normal": 2, "affected": 2}}
        assert {row.source for row in rows_of(tmp_path / "out").values()} == set(names)


def test_a_disk_that_cannot_be_written_stops_the_run_and_not_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folders(tmp_path / "source")

    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageError, match=r"No space left on device; make room or choose another place, then"):
        prepare(source, tmp_path / "out", Options(form=Form(copy=True)))
    assert not (tmp_path / "out" / MANIFEST).exists()


def test_too_little_space_is_found_before_the_first_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folders(tmp_path / "source")
    usage = type("usage", (), {"free": 100})
    monkeypatch.setattr("cxrlens.dataset.prepare.run.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UsageError, match=r"the images need .* GB and 0.0 GB are free"):
        prepare(source, tmp_path / "out", Options(form=Form(copy=True)))
    prepare(source, tmp_path / "other", Options())


# -- going on ---------------------------------------------------------------------------------------------------------

_KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from contextlib import contextmanager
    from pathlib import Path
    from cxrlens.dataset.prepare import write
    from cxrlens.dataset.prepare.run import Options, prepare

    whole, begun = write.replacing, 0

    @contextmanager
    def replacing(path):
        global begun
        begun += 1
        with whole(path) as partial:
            if begun == 5:  # half of the fifth file is written
                partial.write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            yield partial

    write.replacing = replacing
    prepare(Path(sys.argv[1]), Path(sys.argv[2]), Options(form=write.Form(50), dev_as_test=True))
    """
)


def test_a_killed_run_goes_on_to_the_same_bytes(download: Path, tmp_path: Path) -> None:
    options = Options(form=Form(SIZE), dev_as_test=True)
    prepare(download, tmp_path / "whole", options)
    out = tmp_path / "out"
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(download), str(out)], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (out / MANIFEST).exists()
    assert len(list(out.rglob("*.partial.*"))) == 1
    images = {path: path.stat().st_mtime_ns for path in (out / "images").rglob("*.jpg") if path.name[0] != "."}
    assert len(images) == 4
    with (out / ".prepared.jsonl").open("a") as stream:
        stream.write('{"key": "cut')  # as if killed within a line, too
    result = prepare(download, out, options)
    assert (result.made, result.reused) == (4, 4)
    assert {path: path.stat().st_mtime_ns for path in images} == images  # none was made anew
    assert contents(out) == contents(tmp_path / "whole")
    result = prepare(download, out, options)
    assert (result.made, result.reused) == (0, 8)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_mask_tells_the_class_of_a_csv_without_labels(tmp_path: Path) -> None:
    table = "path,annotation,mask\na.png,,m/a.png\nb.png,,m/b.png\nc.png,0 1 1 9 9,\nd.png,,\n"
    masks = {"m/a.png": mask_file(), "m/b.png": mask_file(empty=True)}
    write(tmp_path / "source", {**files("a.png", "b.png", "c.png", "d.png"), **masks, "t.csv": table})
    prepare(tmp_path / "source" / "t.csv", tmp_path / "out", Options(form=Form(copy=True), dev_share=0))
    labels = {name: row.label for (_, name), row in rows_of(tmp_path / "out").items()}
    assert labels == {"a.png": "affected", "b.png": "normal", "c.png": "affected", "d.png": "normal"}


def test_no_manifest_speaks_of_files_that_are_being_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = folders(tmp_path / "source"), tmp_path / "out"
    prepare(source, out, Options(form=Form(SIZE)))
    write(source, {"train/normal/n0.png": encoded(picture(99), "x.png")})

    def stopped(self: object, task: ImageToPrepare) -> PreparedOutcome:
        assert not (out / MANIFEST).exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ImagePreparer, "__call__", stopped)
        with pytest.raises(KeyboardInterrupt):
            prepare(source, out, Options(form=Form(SIZE)))
    assert prepare(source, out, Options(form=Form(SIZE))).made == 1
    assert (out / MANIFEST).exists()


def test_what_was_spoilt_or_changed_is_made_anew(tmp_path: Path) -> None:
    source, out = folders(tmp_path / "source"), tmp_path / "out"
    options = Options(form=Form(SIZE))
    prepare(source, out, options)
    first = contents(out)
    (out / "images" / "dev" / "affected" / "a0.jpg").write_bytes(b"spoilt")
    (out / "images" / "dev" / "affected" / "a1.jpg").unlink()
    result = prepare(source, out, options)
    assert (result.made, result.reused) == (2, 6)
    assert contents(out) == first
    write(source, {"train/normal/n0.png": encoded(picture(99), "x.png"), "train/normal/n9.png": b"bad"})
    (source / "train" / "normal" / "n1.png").unlink()
    result = prepare(source, out, options)
    assert (result.made, result.reused, len(result.unreadable)) == (1, 6, 1)
    rows = rows_of(out)
    assert ("train", "train/normal/n1.png") not in rows
    assert not (out / "images" / "train" / "normal" / "n1.jpg").exists()  # no row names it any more
    row = rows["train", "train/normal/n0.png"]
    assert row.sha256 == sha256(out / row.path)
    assert row.source_sha256 == sha256(source / row.source)
    (source / "train" / "normal" / "n9.png").write_bytes(encoded(picture(5), "x.png"))
    result = prepare(source, out, options)
    assert (result.made, result.reused, result.unreadable) == (1, 7, [])
    assert not (out / "unreadable.txt").exists()


def test_another_source_or_other_options_need_force(tmp_path: Path) -> None:
    source, out = folders(tmp_path / "source"), tmp_path / "out"
    other = folders(tmp_path / "other")
    prepare(source, out, Options())
    with pytest.raises(UsageError, match=rf"out: was prepared from {source} \(see its prepared\.json\); give another"):
        prepare(other, out, Options())
    with pytest.raises(UsageError, match="was prepared with other options"):
        prepare(source, out, Options(form=Form(SIZE)))
    assert {row.path[0] for row in rows_of(out).values()} == {"/"}
    result = prepare(source, out, Options(form=Form(SIZE)), force=True)
    assert result.made == 8
    assert {row.path.split("/")[0] for row in rows_of(out).values()} == {"images"}
    result = prepare(source, out, Options(form=Form(SIZE), how="random", dev_share=0.5), force=True)
    assert (result.made, result.reused) == (0, 8)  # the files are those of before
    prepare(other, out, Options(), force=True)
    assert not list((out / "images").rglob("*.jpg"))
    assert all(row.path.startswith(str(other)) for row in rows_of(out).values())


def test_a_forced_run_that_fails_leaves_no_manifest_of_other_files(tmp_path: Path) -> None:
    source, out = folders(tmp_path / "source"), tmp_path / "out"
    prepare(source, out, Options())
    write(source, {path.relative_to(source).as_posix(): b"bad" for path in source.rglob("*.png")})
    with pytest.raises(NothingToDoError):
        prepare(source, out, Options(form=Form(SIZE)), force=True)
    assert not (out / MANIFEST).exists()


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_something_else_is_never_taken(tmp_path: Path, force: bool) -> None:
    source = folders(tmp_path / "source")
    other = write(tmp_path / "other", {"images/mine.txt": "x"})
    with pytest.raises(UsageError, match=r"is not empty and holds no prepared data set"):
        prepare(source, other, Options(), force=force)
    with pytest.raises(UsageError, match=r"is not empty and holds no prepared data set"):
        prepare(source, other / "images" / "mine.txt", Options(), force=force)
    write(other, {"prepared.json": "{"})
    with pytest.raises(UsageError, match=r"prepared\.json: cannot be read"):
        prepare(source, other, Options(), force=force)
    assert (other / "images" / "mine.txt").read_text() == "x"


def test_loader_processes_make_the_same_files(download: Path, tmp_path: Path) -> None:
    for name, workers in (("one", 0), ("two", 2)):
        seen: list[tuple[int, int]] = []
        prepare(download, tmp_path / name, Options(form=Form(SIZE)), workers=workers,
                progress=lambda done, total, seen=seen: seen.append((done, total)))  # type: ignore[misc]  # fmt: skip
        assert seen == [(done, 8) for done in range(1, 9)]
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_file_that_ends_its_process_costs_its_row_alone(download: Path, tmp_path: Path, monkeypatch: Any) -> None:
    whole = write_module.decode

    def decode(content: bytes, name: str) -> Radiograph:
        if name.endswith("train.zip/train/3.jpg"):
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(content, name)

    monkeypatch.setattr(write_module, "decode", decode)
    result = prepare(download, tmp_path / "out", Options(), workers=2)
    assert [line.partition(": ")[0] for line in result.unreadable] == [f"{download}/train.zip/train/3.jpg"]
    assert "reading it ended the process" in result.unreadable[0]
    assert {row.name for row in rows_of(tmp_path / "out").values()} == {
        *(f"train/{n}.jpg" for n in (1, 2, 4, 5, 6)),
        *(f"dev/{n}.jpg" for n in (7, 8)),
    }


# -- one file ---------------------------------------------------------------------------------------------------------


def test_a_16_bit_picture_of_256_levels_is_not_deep(tmp_path: Path) -> None:
    """Depth is what the values need, not what the file could hold."""
    shallow = (np.asarray(picture(1)).astype(np.uint16)) * 257
    path = write(tmp_path, {"a.png": encoded(Image.fromarray(shallow), "a.png")}) / "a.png"
    record = Record("a.png", FileOrigin(path))
    outcome = attempt(ImagePreparer(Form(SIZE), tmp_path / "out"), ImageToPrepare(record))
    assert isinstance(outcome, PreparedOutcome)
    assert outcome.image.path == "images/a.jpg"
    assert geometry_of(outcome.image).scaled_width / geometry_of(outcome.image).width == 0.5
    with Image.open(io.BytesIO((tmp_path / "out" / outcome.image.path).read_bytes())) as image:
        assert image.size == (50, 20)


def test_a_row_whose_place_is_taken_by_a_folder_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, files("a.png")) / "a.png"
    (tmp_path / "out" / "images" / "a.png").mkdir(parents=True)
    record = Record("a.png", FileOrigin(path))
    tasks = [ImageToPrepare(record), ImageToPrepare(replace(record, name="b.png"))]
    making = ImagePreparer(Form(copy=True), tmp_path / "out")
    refused, made = (attempt(making, task) for task in tasks)
    assert isinstance(refused, Unreadable)
    assert refused.reason.startswith(f"{tmp_path / 'out' / 'images' / 'a.png'}: is a folder")
    assert isinstance(made, PreparedOutcome)
