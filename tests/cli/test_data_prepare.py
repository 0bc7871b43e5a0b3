"""`cxrlens data prepare`, and the other commands on what it makes."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

from command_line import cxrlens, refused, table
from cxrlens.cli.main import app
from cxrlens.dataset.prepare.sources import KINDS
from cxrlens.dataset.prepare.split import HOW
from cxrlens.inputs.annotations.shapes import parse_annotation, rasterize
from cxrlens.inputs.dataset.manifest import COLUMNS


@pytest.fixture(scope="module")
def download(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantoms as Object-CXR is downloaded."""
    folder = tmp_path_factory.mktemp("download")
    for split in ("train", "dev"):
        shutil.copy(phantoms / f"{split}.csv", folder)
        with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
            for path in sorted((phantoms / split).rglob("*.jpg")):
                archive.write(path, f"{split}/{path.name}")
    return folder


@pytest.fixture(scope="module")
def prepared(download: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "out"
    finished = cxrlens("data", "prepare", download, out, "--size", 80, "--dev-as-test", "--workers", 0, "--json")
    assert finished.code == 0
    assert finished.json["counts"] == {
        "train": {"normal": 8, "affected": 8},
        "dev": {"normal": 4, "affected": 4},
        "test": {"normal": 4, "affected": 4},
    }
    assert (finished.json["kind"], finished.json["made"], finished.json["unreadable"]) == ("object-cxr", 24, [])
    assert finished.json["manifest"] == str(out / "manifest.csv")
    return out


@pytest.fixture(scope="module")
def masked(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Three phantoms of dev with masks in place of the CSV, named where they lie; and the masks' source."""
    source = tmp_path_factory.mktemp("masks") / "source"
    rows = {row["image_name"]: parse_annotation(row["annotation"]) for row in table(phantoms / "dev.csv")}
    for folder in ("images", "masks"):
        (source / "dev" / folder).mkdir(parents=True)
    affected, normal = (sorted((phantoms / "dev" / name).iterdir()) for name in ("affected", "normal"))
    for path in (*affected[:2], normal[0]):
        shutil.copy(path, source / "dev" / "images")
        with Image.open(path) as image:
            mask = rasterize(rows[path.name], height=image.height, width=image.width)
        Image.fromarray(mask.astype(np.uint8)).save(source / "dev" / "masks" / f"{path.stem}.png")
    out = source.parent / "out"
    finished = cxrlens("data", "prepare", source, out, "--workers", 0)
    assert finished.code == 0
    return out, source


def test_prepare_in_words_and_again(download: Path, prepared: Path) -> None:
    finished = cxrlens("data", "prepare", download, prepared, "--size", 80, "--dev-as-test", "--workers", 0)
    assert finished.code == 0
    assert "0 images prepared, 24 were there already" in finished.out
    assert f"manifest: {prepared / 'manifest.csv'}" in finished.out
    rows = table(prepared / "manifest.csv")
    assert [row["split"] for row in rows] == ["train"] * 16 + ["dev"] * 8 + ["test"] * 8
    assert all(max(int(row["height"]), int(row["width"])) == 80 for row in rows)


def test_training_and_testing_on_a_prepared_data_set(prepared: Path, tmp_path: Path) -> None:
    small = ("--recipe", "small", "--set", "epochs=1", "--set", "image_size=32", "--device", "cpu", "--workers", 0)
    finished = cxrlens("train", prepared, "--arch", "resnet18", "--runs", tmp_path, "--name", "r", *small, "--json")
    assert finished.code == 0, finished.err
    assert finished.json["counts"]["train"] == {"normal": 8, "affected": 8}
    assert "dev: 8 of its 8 images are in 'test' too" in finished.err
    finished = cxrlens("test", prepared, "-m", tmp_path / "r", "-o", tmp_path / "test", "--workers", 0, "--json")
    assert finished.code == 0
    assert (finished.json["split"], finished.json["n"]) == ("test", 8)
    rows = {row["name"]: row["label"] for row in table(prepared / "manifest.csv") if row["split"] == "test"}
    assert {row["image"]: row["label"] for row in table(tmp_path / "test" / "predictions.csv")} == rows


def test_the_pointing_game_of_a_prepared_data_set_is_that_of_its_source(
    phantoms: Path, model: Path, tmp_path: Path
) -> None:
    """Images that stay where they are: the same pixels, objects and peaks."""
    finished = cxrlens("data", "prepare", phantoms, tmp_path / "out", "--relative", "--workers", 0)
    assert finished.code == 0
    given = ("-m", model, "--method", "normgrad_scaling,grad_cam", "--tolerance", 0.2, "--workers", 0)
    for name, data in (("a", phantoms), ("b", tmp_path / "out")):
        assert cxrlens("pointing-game", data, *given, "-o", tmp_path / name).code == 0
    one, other = (table(tmp_path / name / "per_image.csv") for name in ("a", "b"))
    assert {row["method"] for row in one} == {
        *("normgrad_scaling", "grad_cam", "centre", "brightest", "mean_annotation", "random")
    }
    assert one == other


def test_objects_of_resized_copies_lie_where_they_lay(
    phantoms: Path, prepared: Path, model: Path, tmp_path: Path
) -> None:
    given = ("-m", model, "--method", "grad_cam", "--tolerance", 0.2, "--workers", 0)
    for name, data in (("a", phantoms), ("b", prepared)):
        assert cxrlens("pointing-game", data, *given, "-o", tmp_path / name).code == 0
    one, other = (
        {Path(row["image"]).name: row for row in table(tmp_path / name / "per_image.csv") if row["method"] == "centre"}
        for name in ("a", "b")
    )
    assert one.keys() == other.keys()
    assert len(one) == 4
    for name, row in one.items():
        assert float(row["distance"]) == pytest.approx(float(other[name]["distance"]), abs=1.5)


def test_masks_and_shapes_of_the_same_objects_give_the_same_game(
    phantoms: Path, masked: tuple[Path, Path], model: Path, tmp_path: Path
) -> None:
    given = ("-m", model, "--method", "normgrad_scaling", "--tolerance", 0.2, "--workers", 0)
    for name, data in (("a", phantoms), ("b", masked[0])):
        assert cxrlens("pointing-game", data, *given, "-o", tmp_path / name, "--split", "dev").code == 0
    one, other = (
        {(Path(r["image"]).name, r["method"], r["layers"]): r for r in table(tmp_path / name / "per_image.csv")
         if r["method"] not in ("mean_annotation", "random")} for name in ("a", "b")
    )  # fmt: skip
    assert len({name for name, _, _ in other}) == 2
    for key, row in other.items():
        assert (row["peak_row"], row["peak_column"]) == (one[key]["peak_row"], one[key]["peak_column"])
        assert float(row["distance"]) == pytest.approx(float(one[key]["distance"]), abs=1.5)


def test_explain_draws_masks_and_names_images_as_the_manifest(
    masked: tuple[Path, Path], model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    finished = cxrlens("explain", masked[0], "-m", model, "-o", out, "--method", "grad_cam", "--workers", 0)
    assert finished.code == 0
    names = [row["name"] for row in table(masked[0] / "manifest.csv")]
    assert [row["image"] for row in table(out / "explanations.csv")] == names
    assert {path.relative_to(out / "overlays").as_posix() for path in (out / "overlays").rglob("*.png")} == {
        f"{name}.png" for name in names
    }
    affected = next(row["name"] for row in table(masked[0] / "manifest.csv") if row["label"] == "affected")
    with Image.open(out / "overlays" / f"{affected}.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    cyan = (np.abs(pixels - [0, 229, 255]).max(axis=2) < 30).sum()  # the colour of outlines
    assert cyan > 50


def test_a_mask_that_was_lost_or_spoilt_is_named(masked: tuple[Path, Path], model: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(masked[1], tmp_path / "source"))
    assert cxrlens("data", "prepare", source, tmp_path / "out", "--workers", 0).code == 0
    one, other = [row for row in table(tmp_path / "out" / "manifest.csv") if row["mask"]]
    Path(one["mask"]).write_bytes(b"spoilt")
    given = ("-m", model, "--method", "grad_cam", "--workers", 0)
    finished = cxrlens("pointing-game", tmp_path / "out", *given, "-o", tmp_path / "pg", "--json")
    assert finished.code == 3
    assert finished.json["unreadable"] == [f"{one['mask']}: the mask is no image that can be read"]
    assert {row["image"] for row in table(tmp_path / "pg" / "per_image.csv")} == {other["name"]}
    Path(other["mask"]).unlink()
    finished = cxrlens("explain", tmp_path / "out", *given, "-o", tmp_path / "e")
    assert finished.code == 0
    assert "the overlay lacks its objects" in finished.err
    assert f"{other['name']}: its mask {other['mask']} is missing; it counts as not annotated" in finished.err


def test_the_pointing_game_of_one_image_with_a_mask(masked: tuple[Path, Path], model: Path, tmp_path: Path) -> None:
    row = next(row for row in table(masked[0] / "manifest.csv") if row["mask"])
    given = ("pointing-game", row["path"], "-m", model, "--method", "grad_cam", "--workers", 0)
    finished = cxrlens(*given, "--mask", row["mask"], "-o", tmp_path / "a", "--json")
    assert finished.code == 0
    cxrlens("pointing-game", masked[0], *given[2:], "-o", tmp_path / "b")
    expected = [r for r in table(tmp_path / "b" / "per_image.csv") if r["image"] == row["name"]]
    for one, other in zip(finished.json["per_image"], expected, strict=True):
        assert one["method"] == other["method"]
        assert one["outcome"] == other["outcome"]
        if one["method"] in ("centre", "brightest"):
            assert one["distance"] == pytest.approx(float(other["distance"]), rel=1e-5)
    empty, small = tmp_path / "empty.png", tmp_path / "small.png"
    Image.new("L", (int(row["width"]), int(row["height"]))).save(empty)
    Image.new("L", (5, 4), 1).save(small)
    refused(cxrlens(*given, "--mask", empty, "-o", tmp_path / "c"), 4, "its mask marks no pixel")
    refused(cxrlens(*given, "--mask", small, "-o", tmp_path / "d"), 3, "small.png: the mask has 5 x 4 pixels")
    refused(cxrlens(*given, "--mask", tmp_path / "no.png", "-o", tmp_path / "e"), 2, "no.png: no such file")
    refused(cxrlens(*given, "-o", tmp_path / "f"), 2, "needs one of --annotation TEXT, --annotations CSV and --mask")
    refused(
        cxrlens("pointing-game", masked[0], *given[2:], "--mask", empty), 2, "--mask is for a single image", "prepare"
    )


def test_unreadable_images_are_listed_and_the_rest_is_whole(download: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(download, tmp_path / "source"))
    content = bytearray((source / "dev.zip").read_bytes())
    place = content.index(b"\xff\xd8\xff")
    content[place : place + 40] = bytes(40)
    (source / "dev.zip").write_bytes(content)
    finished = cxrlens("data", "prepare", source, tmp_path / "out", "--workers", 0, "--json")
    assert finished.code == 3
    (reason,) = finished.json["unreadable"]
    assert "dev.zip/dev/" in reason
    assert "is damaged in the archive" in reason
    assert (tmp_path / "out" / "unreadable.txt").read_text() == f"{reason}\n"
    assert sum(sum(split.values()) for split in finished.json["counts"].values()) == 23
    assert len(table(tmp_path / "out" / "manifest.csv")) == 23


def test_options_reach_the_job(phantoms: Path, tmp_path: Path) -> None:
    classes = tmp_path / "classes"
    for name in ("affected", "normal"):
        shutil.copytree(phantoms / "train" / name, classes / f"kind {name}")
    given = ("data", "prepare", classes, tmp_path / "out", "--workers", 0, "--seed", 5)
    refused(cxrlens(*given), 2, "class 'kind affected' means affected or normal", "--affected NAME")
    drawn = ("--split-by", "random", "--dev-share", 0.25, "--test-share", 0.25, "--copy")
    finished = cxrlens(*given, "--affected", "kind affected", *drawn, "--json")
    assert finished.code == 0
    assert finished.json["counts"] == {
        "train": {"normal": 4, "affected": 4},
        "dev": {"normal": 2, "affected": 2},
        "test": {"normal": 2, "affected": 2},
    }
    assert finished.json["rule"] == {"how": "random", "dev_share": 0.25, "test_share": 0.25, "seed": 5}
    recorded = json.loads((tmp_path / "out" / "prepared.json").read_text())
    assert recorded["options"]["names"] == {"affected": ["kind affected"], "normal": []}
    assert recorded["options"]["form"] == {"size": None, "copy": True}
    refused(cxrlens(*given, "--affected", "kind affected"), 2, "was prepared with other options", "--force")
    by_patient = (*given, "--affected", "kind affected", "--patient-pattern", r"(\d+)\.", "--force")
    refused(cxrlens(*by_patient), 2, "16 patients are too few to draw 10% of 16 images")
    assert (tmp_path / "out" / "manifest.csv").is_file()  # nothing has been touched
    finished = cxrlens(*by_patient, "--dev-share", 0.25)
    assert finished.code == 0
    assert "25% dev, drawn by patient" in finished.err
    refused(cxrlens("data", "prepare", tmp_path / "absent", tmp_path / "x"), 2, "absent: no such file or folder")
    refused(cxrlens("data", "prepare", phantoms, phantoms / "x"), 2, "lies within the images of the source")


def test_dev_offered_as_test_is_a_remark_of_the_check_and_no_leak(prepared: Path, tmp_path: Path) -> None:
    given = ("data", "check", "--workers", 0, "--json")
    finished = cxrlens(*given, prepared)
    assert finished.code == 0
    assert finished.json["images"]["test"] == finished.json["images"]["dev"]
    found = finished.json["findings"]
    assert [finding["message"].partition(":")[0] for finding in found if finding["kind"] == "remark"] == ["dev", "test"]
    assert not any("in dev and test" in finding["message"] for finding in found)
    named = [(finding["kind"], *finding["images"]) for finding in found if finding["images"]]
    assert len(named) == len(set(named))
    spoilt = Path(shutil.copytree(prepared, tmp_path / "spoilt"))
    rows = table(spoilt / "manifest.csv")
    with (spoilt / "manifest.csv").open("a") as stream:
        stream.write(",".join(rows[0].values()).replace("train,", "test,", 1) + "\n")
    leaks = [finding for finding in cxrlens(*given, spoilt).json["findings"] if finding["kind"] == "leak"]
    assert [finding["images"] for finding in leaks] == [[rows[0]["path"]] * 2]
    assert leaks[0]["message"].endswith("are the same file, in train and test")


def test_the_page_names_every_kind_column_and_option() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "data.md").read_text(encoding="utf-8")
    command = get_command(app).commands["data"].commands["prepare"]  # type: ignore[attr-defined]
    common = {"--force", "--workers", "--help"}
    options = {option.opts[0] for option in command.params if option.opts[0].startswith("--")} - common
    assert "--dev-as-test" in options
    assert [option for option in options if option not in page] == []
    assert [kind for kind in KINDS if f"| `{kind}` |" not in page] == []
    assert [column for column in COLUMNS if f"`{column}`" not in page] == []
    assert "\\|".join(HOW) in page
