"""What the commands write and print when all is well, down to the numbers in their files."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy import stats
from sklearn.metrics import roc_auc_score

import cxrlens as package
from command_line import Finished, cxrlens, refused, table
from cxrlens.inputs.annotations.shapes import parse_annotation, rasterize
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.models.model_file import load_model
from cxrlens.outputs import LOCK, MARK
from cxrlens.saliency.methods import METHODS
from waiting import PATIENCE

BASELINES = {"centre", "mean_annotation", "random", "brightest"}
SCRIPT = Path(sys.executable).with_name("cxrlens")


def is_picture(png: Path) -> bool:
    with Image.open(png) as image:
        image.load()
        return image.format == "PNG" and len(image.convert("L").getcolors(1 << 24) or ()) > 1


def annotated(phantoms: Path) -> tuple[Path, str]:
    """A dev image with objects, and the text of its annotation."""
    row = next(row for row in table(phantoms / "dev.csv") if row["annotation"])
    return phantoms / "dev" / "affected" / row["image_name"], row["annotation"]


# -- test -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tested(phantoms: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    out = tmp_path_factory.mktemp("tested") / "deep" / "out"
    return out, cxrlens("test", phantoms, "-m", model, "-o", out, "--json", "--workers", 0)


def test_test_writes_predictions_scores_and_figures(tested: tuple[Path, Finished], phantoms: Path, model: Path) -> None:
    out, finished = tested
    assert finished.code == 0
    figures = {"confusion", "reliability", "histogram", "roc", "precision_recall"}
    names = {
        "scores.json",
        "predictions.csv",
        "report.html",
        *(f"{name}.{kind}" for name in figures for kind in ("png", "svg")),
    }
    assert {path.name for path in out.iterdir()} == names | {LOCK, MARK}
    assert set(map(Path, finished.json["files"])) == set(out.iterdir()) - {out / LOCK, out / MARK}
    assert all(is_picture(out / f"{name}.png") and "<svg" in (out / f"{name}.svg").read_text() for name in figures)
    rows = table(out / "predictions.csv")
    assert {row["image"]: row["label"] for row in rows} == {
        path.relative_to(phantoms).as_posix(): path.parent.name for path in phantoms.glob("dev/*/*.jpg")
    }
    alone = package.load(model, device="cpu").check(phantoms / rows[0]["image"])
    assert float(rows[0]["probability"]) == pytest.approx(alone.probability, abs=1e-4)
    assert rows[0]["decision"] == alone.decision


def test_test_scores_are_those_of_its_predictions(tested: tuple[Path, Finished]) -> None:
    out, finished = tested
    rows = table(out / "predictions.csv")
    truth = np.array([row["label"] == "affected" for row in rows])
    probability = np.array([float(row["probability"]) for row in rows])
    called = np.array([row["decision"] == "affected" for row in rows])
    np.testing.assert_array_equal(called, probability >= 0.5)
    assert [int(row["correct"]) for row in rows] == (truth == called).astype(int).tolist()
    scores = json.loads((out / "scores.json").read_text())
    assert {key: value for key, value in finished.json.items() if key != "files"} == scores
    assert scores["split"] == "dev"
    assert (scores["n"], scores["n_affected"]) == (8, 4)
    assert scores["accuracy"] == np.mean(truth == called)
    assert scores["auc"] == pytest.approx(roc_auc_score(truth, probability))
    assert scores["brier"] == pytest.approx(np.mean((probability - truth) ** 2), rel=1e-4)
    assert scores["confusion"] == [
        [int((~truth & ~called).sum()), int((~truth & called).sum())],
        [int((truth & ~called).sum()), int((truth & called).sum())],
    ]
    assert scores["auc_interval"]["low"] <= scores["auc"] <= scores["auc_interval"]["high"]


def test_test_of_another_split_in_words(phantoms: Path, model: Path, tmp_path: Path) -> None:
    finished = cxrlens("test", phantoms, "-m", model, "-o", tmp_path, "--split", "train", "--workers", 2)
    assert finished.code == 0
    assert "16 images of train, 8 affected" in finished.out
    assert f"predictions and figures: {tmp_path}" in finished.out
    assert len(table(tmp_path / "predictions.csv")) == 16


# -- explain ----------------------------------------------------------------------------------------------------------


def test_explain_writes_overlays_maps_and_a_table(phantoms: Path, model: Path, tmp_path: Path) -> None:
    folder = phantoms / "dev" / "affected"
    finished = cxrlens(
        *("explain", folder, "-m", model, "-o", tmp_path / "out", "--annotations", phantoms / "dev.csv"),
        *("--method", "grad_cam,normgrad_scaling", "--smooth", 1, "--json", "--workers", 0),
    )
    assert finished.code == 0
    assert finished.json["unreadable"] == []
    rows = table(tmp_path / "out" / "explanations.csv")
    kinds = [("grad_cam", "last"), ("normgrad_scaling", "last"), ("normgrad_scaling", "combined")]
    assert [(row["image"], row["method"], row["layers"]) for row in rows] == [
        (path.name, *kind) for path in sorted(folder.iterdir()) for kind in kinds
    ]
    for row, printed in zip(rows, finished.json["rows"], strict=True):
        assert row["map"] == printed["map"]
        assert (row["target"], row["smoothing"]) == ("affected", "1")
        assert (row["grid"], row["interpolation"], row["flip"]) == ("centres", "bicubic", "0")
        assert (printed["grid"], printed["interpolation"], printed["flip"]) == ("centres", "bicubic", 0)
        map_ = np.load(tmp_path / "out" / row["map"])
        assert map_.dtype == np.float32
        assert map_.shape == (64, 64)
        with Image.open(folder / row["image"]) as image:
            width, height = image.size
        if row["flat"] == "1":
            assert not map_.any()
            assert row["peak_x"] == ""
        else:
            assert (map_.min(), map_.max()) == (0, 1)
            peak_row = (float(row["peak_y"]) + 0.5) * 64 / height - 0.5
            peak_column = (float(row["peak_x"]) + 0.5) * 64 / width - 0.5
            assert map_[round(peak_row), round(peak_column)] == 1
        assert is_picture(tmp_path / "out" / row["overlay"])
    assert {row["flat"] for row in rows} >= {"0"}
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    named = (row[column] for row in rows for column in ("map", "overlay"))
    assert files == {LOCK, MARK, "explanations.csv", "report.html", *named}


def test_explain_takes_several_sources(
    phantoms: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names from the working directory on, equal ones in two folders, one image twice, and one that lies elsewhere."""
    given = ("-m", model, "--method", "grad_cam", "--layers", "last", "--device", "cpu", "--workers", 0)
    first, second, third = sorted((phantoms / "dev" / "affected").glob("*.jpg"))[:3]
    for place, source in {"work/a/x.jpg": first, "work/b/x.jpg": second, "other/x.jpg": third}.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tmp_path / place)
    monkeypatch.chdir(tmp_path / "work")
    finished = cxrlens("explain", "a", "b/x.jpg", "./a/x.jpg", "../other", *given, "-o", "out")
    assert finished.code == 0, finished.err
    assert "3 images explained" in finished.out
    elsewhere = (tmp_path / "other" / "x.jpg").as_posix()
    rows = {row["image"]: row for row in table(Path("out/explanations.csv"))}
    assert list(rows) == ["a/x.jpg", "b/x.jpg", elsewhere]
    assert rows[elsewhere]["overlay"] == f"overlays/elsewhere{elsewhere}.png"
    for name, source in {"a/x.jpg": first, "b/x.jpg": second, elsewhere: third}.items():
        assert cxrlens("explain", source, *given, "-o", "single", "--force").code == 0
        (alone,) = table(Path("single/explanations.csv"))
        assert float(alone["probability"]) == pytest.approx(float(rows[name]["probability"]), abs=1e-4)
        there = np.load(Path("out") / rows[name]["map"])
        np.testing.assert_allclose(there, np.load(Path("single") / alone["map"]), atol=1e-4)
        assert (Path("out") / rows[name]["overlay"]).is_file()
    written = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"work", "other"}
    shutil.copy(first, tmp_path / "work" / "same.jpg")
    Path("elsewhere", *Path(elsewhere).parts[1:-1]).mkdir(parents=True)
    shutil.copy(second, Path("elsewhere", *Path(elsewhere).parts[1:]))
    refused(cxrlens("explain", "elsewhere", "../other", *given, "-o", "c"), 2, elsewhere, "explain them one by one")
    refused(cxrlens("explain", "a", "no.jpg", *given, "-o", "d"), 2, "no.jpg")


def test_explain_lists_every_method() -> None:
    finished = cxrlens("explain", "--list")
    assert finished.code == 0
    text = "".join(finished.out.split())
    for method in METHODS.values():
        assert method.id in text
        assert "".join(method.title.split()) in text


def test_explain_takes_methods_that_read_no_layer_and_captums(phantoms: Path, model: Path, tmp_path: Path) -> None:
    image, _ = annotated(phantoms)
    ids = ["gradient", "guided_grad_cam", "normgrad_bias", "captum:Saliency"]
    given = ("--method", ",".join(ids), "--layers", "combined", "--combination", "mean", "--workers", 0)
    finished = cxrlens("explain", image, "-m", model, "-o", tmp_path / "out", *given)
    assert finished.code == 0
    rows = {row["method"]: row for row in table(tmp_path / "out" / "explanations.csv")}
    assert list(rows) == ids
    assert [row["layers"] for row in rows.values()] == ["input", "combined", "combined", "input"]
    assert [row["combination"] for row in rows.values()] == ["", "mean", "mean", ""]
    maps = [np.load(tmp_path / "out" / row["map"]) for row in rows.values()]
    np.testing.assert_allclose(maps[0], maps[3], atol=1e-5)
    assert rows["captum:Saliency"]["map"].endswith("captum-Saliency.input.npy")


def test_explain_takes_one_image_and_a_data_set(phantoms: Path, model: Path, tmp_path: Path) -> None:
    image, _ = annotated(phantoms)
    given = ("--method", "normgrad_conv1x1", "--layers", "layer3.0", "--target", "predicted", "--workers", 0)
    finished = cxrlens("explain", image, "-m", model, "-o", tmp_path / "one", *given)
    assert finished.code == 0
    assert "1 image explained" in finished.out
    assert "resize of the maps: centres bicubic\n" in finished.out
    (row,) = table(tmp_path / "one" / "explanations.csv")
    assert (row["image"], row["layers"], row["target"]) == (image.name, "layer3.0", "predicted")
    finished = cxrlens("explain", phantoms, "-m", model, "-o", tmp_path / "all", *given, "--json")
    assert {row["image"] for row in finished.json["rows"]} == {
        path.relative_to(phantoms).as_posix() for path in phantoms.glob("dev/*/*.jpg")
    }
    same = next(row for row in finished.json["rows"] if row["image"].endswith(image.name))
    np.testing.assert_allclose(
        np.load(tmp_path / "all" / same["map"]), np.load(tmp_path / "one" / row["map"]), atol=1e-3
    )


# -- pointing-game ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def played(phantoms: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    out = tmp_path_factory.mktemp("played")
    given = ("--tolerance", 0.2, "--smooth", 1, "--json", "--workers", 0)
    return out, cxrlens("pointing-game", phantoms, "-m", model, "-o", out, *given)


def test_pointing_game_has_a_row_for_each_method_and_baseline(played: tuple[Path, Finished]) -> None:
    out, finished = played
    assert finished.code == 0
    figures = {f"{name}.{kind}" for name in ("pointing_game", "tolerances") for kind in ("png", "svg")}
    assert {path.name for path in out.iterdir()} == {
        *(LOCK, MARK, "pointing_game.csv", "per_image.csv", "report.html"),
        *figures,
    }
    assert is_picture(out / "pointing_game.png")
    rows = table(out / "pointing_game.csv")
    norms = [f"normgrad_{name}" for name in ("scaling", "conv1x1", "conv3x3")]
    expected = [("grad_cam", "last"), *((name, layers) for name in norms for layers in ("last", "combined"))]
    methods = [row for row in rows if row["kind"] == "method"]
    assert [(row["method"], row["layers"]) for row in methods] == expected
    assert {row["method"] for row in rows if row["kind"] == "baseline"} == BASELINES
    assert len(rows) == len(expected) + len(BASELINES)
    for row in rows:
        assert row["n"] == "4"
        assert 0 <= float(row["low"]) <= float(row["accuracy"]) <= float(row["high"]) <= 1
        assert (float(row["tolerance"]), float(row["tolerance_share"])) == (pytest.approx(12.8), 0.2)
        assert (row["image_size"], row["smoothing"]) == ("64x64", "gaussian sigma 1")
        assert row["target"] == ("affected" if row["kind"] == "method" else "")
        assert row["combination"] == ("product" if row["layers"] == "combined" else "")
        expected_resize = ("centres", "bicubic", "0") if row["kind"] == "method" else ("", "", "0")
        assert (row["grid"], row["interpolation"], row["flip"]) == expected_resize
    assert [row["method"] for row in finished.json["table"]] == [row["method"] for row in rows]


def test_pointing_game_records_another_combination(phantoms: Path, model: Path, tmp_path: Path) -> None:
    given = ("--method", "normgrad_scaling", "--layers", "combined", "--workers", 0, "--seed", 3)
    weighted = ("--combination", "geometric", "--layer-weights", "1,2,0.5", "--published-grid", "--flip")
    finished = cxrlens("pointing-game", phantoms, "-m", model, "-o", tmp_path, *given, *weighted)
    assert finished.code == 0
    (row,) = [row for row in table(tmp_path / "pointing_game.csv") if row["kind"] == "method"]
    assert (row["layers"], row["combination"]) == ("combined", "geometric 1 2 0.5")
    assert (row["grid"], row["interpolation"], row["flip"]) == ("areas", "bilinear", "1")
    images = [image for image in table(tmp_path / "per_image.csv") if image["method"] == "normgrad_scaling"]
    assert {(image["grid"], image["interpolation"], image["flip"]) for image in images} == {("areas", "bilinear", "1")}


def test_pointing_game_table_follows_from_its_images(played: tuple[Path, Finished], phantoms: Path) -> None:
    out, _ = played
    images = table(out / "per_image.csv")
    objects = {row["image_name"]: parse_annotation(row["annotation"]) for row in table(phantoms / "dev.csv")}
    for row in table(out / "pointing_game.csv"):
        own = [image for image in images if (image["method"], image["layers"]) == (row["method"], row["layers"])]
        assert {Path(image["image"]).name for image in own} == {name for name, shapes in objects.items() if shapes}
        hits = [float(image["hit"]) for image in own]
        assert float(row["accuracy"]) == pytest.approx(np.mean(hits), rel=1e-5)
        assert float(row["hits"]) == pytest.approx(sum(hits), rel=1e-5)
        if row["method"] != "random":
            exact = stats.binomtest(int(sum(hits)), len(hits)).proportion_ci(method="exact")
            assert (float(row["low"]), float(row["high"])) == pytest.approx((exact.low, exact.high), abs=1e-5)
        assert float(row["hits"]) + float(row["misses"]) == pytest.approx(len(hits), rel=1e-5)
        assert int(row["tied"]) == sum(image["tied"] not in ("", "1") for image in own)
        if row["method"] == "random":
            continue
        for image in own:
            if int(image["tied"]) == 64 * 64:  # a flat map points nowhere
                assert image["outcome"] == "miss"
                assert {image[column] for column in ("distance", "peak_row", "peak_column", "peak_x", "peak_y")} == {""}
                continue
            path = phantoms / image["image"]
            with Image.open(path) as picture:
                width, height = picture.size
            sx, sy = 64 / width, 64 / height  # an oracle of its own: rasterise at full size, map pixels to the input
            y, x = np.nonzero(rasterize(objects[path.name], height=height, width=width))
            rows_, columns = (y + 0.5) * sy - 0.5, (x + 0.5) * sx - 0.5
            distance = np.hypot(rows_ - int(image["peak_row"]), columns - int(image["peak_column"])).min()
            assert float(image["distance"]) == pytest.approx(distance, abs=1.5)
            assert image["outcome"] == ("hit" if float(image["distance"]) < 12.8 else "miss")
            assert float(image["peak_x"]) == pytest.approx((int(image["peak_column"]) + 0.5) / sx - 0.5, abs=1e-3)
            assert float(image["peak_y"]) == pytest.approx((int(image["peak_row"]) + 0.5) / sy - 0.5, abs=1e-3)


def test_pointing_game_does_not_depend_on_batches_or_workers(
    played: tuple[Path, Finished], phantoms: Path, model: Path, tmp_path: Path
) -> None:
    given = ("--tolerance", 0.2, "--smooth", 1, "--json", "--workers", 2, "--batch-size", 3)
    again = cxrlens("pointing-game", phantoms, "-m", model, "-o", tmp_path, *given)
    for one, other in zip(table(played[0] / "per_image.csv"), table(tmp_path / "per_image.csv"), strict=True):
        assert {key: one[key] for key in ("image", "method", "layers")} == {
            key: other[key] for key in ("image", "method", "layers")
        }
        if one["method"] in BASELINES - {"random"}:
            assert (one["peak_row"], one["peak_column"]) == (other["peak_row"], other["peak_column"])
    assert again.json["table"][-1] == played[1].json["table"][-1]


def test_pointing_game_of_a_folder_keeps_the_row_of_a_baseline_it_cannot_play(
    phantoms: Path, model: Path, tmp_path: Path
) -> None:
    folder, rows = phantoms / "dev", ("--annotations", phantoms / "dev.csv")
    given = ("-m", model, *rows, "--method", "grad_cam", "--target", "true", "--workers", 0)
    finished = cxrlens("pointing-game", folder, "-o", tmp_path / "a", *given)
    assert finished.code == 0
    lines = {row["method"]: row for row in table(tmp_path / "a" / "pointing_game.csv")}
    assert set(lines) == BASELINES | {"grad_cam"}
    missing = lines["mean_annotation"]
    assert (missing["accuracy"], missing["n"], missing["note"]) == ("", "0", "no training annotations at hand")
    assert (lines["grad_cam"]["target"], lines["grad_cam"]["smoothing"]) == ("true", "none")
    assert "mean_annotation" in finished.out
    given = (*given, "--train-annotations", phantoms / "train.csv")
    assert cxrlens("pointing-game", folder, "-o", tmp_path / "b", *given).code == 0
    lines = {row["method"]: row for row in table(tmp_path / "b" / "pointing_game.csv")}
    assert lines["mean_annotation"]["n"] == "4"


@pytest.mark.parametrize("source", ["text", "table"])
def test_pointing_game_on_one_image(phantoms: Path, model: Path, tmp_path: Path, source: str) -> None:
    image, text = annotated(phantoms)
    given: tuple[Any, ...] = ("--annotation", text) if source == "text" else ("--annotations", phantoms / "dev.csv")
    call = ("pointing-game", image, "-m", model, "--method", "normgrad_scaling", "--workers", 0, *given)
    finished = cxrlens(*call, "-o", tmp_path / "json", "--json")
    assert finished.code == 0
    overlay = Path(finished.json["overlay"])
    assert overlay.parent == tmp_path / "json"
    assert is_picture(overlay)
    records = {(row["method"], row["layers"]): row for row in finished.json["per_image"]}
    assert set(records) == {
        *(("normgrad_scaling", layers) for layers in ("last", "combined")),
        *((name, "") for name in BASELINES - {"mean_annotation"}),
    }
    for (method, _), row in records.items():
        assert row["image"] == image.name
        if method != "random":
            assert row["outcome"] == ("hit" if row["distance"] < 0.025 * 64 else "miss")
    shown = cxrlens(*call, "-o", tmp_path / "words")
    assert shown.code == 0
    assert "tolerance 1.6 px" in shown.out
    assert str(tmp_path / "words" / overlay.name) in shown.out


def test_pointing_game_hits_an_object_that_is_everywhere_and_misses_a_far_one(
    phantoms: Path, model: Path, tmp_path: Path
) -> None:
    image, _ = annotated(phantoms)
    with Image.open(image) as picture:
        width, height = picture.size
    call = ("pointing-game", image, "-m", model, "--method", "normgrad_scaling", "--layers", "combined", "--json")
    everywhere = cxrlens(*call, "-o", tmp_path / "a", "--annotation", f"0 0 0 {width} {height}").json["per_image"]
    assert [row["outcome"] for row in everywhere] == ["hit"] * 3 + ["expected"]
    assert [row["distance"] for row in everywhere[:3]] == [0, 0, 0]
    assert everywhere[-1]["hit"] == 1
    x, y = everywhere[0]["peak_x"], everywhere[0]["peak_y"]
    far = (0, 0) if math.hypot(x, y) > math.hypot(width - x, height - y) else (width - 1, height - 1)
    missed = cxrlens(*call, "-o", tmp_path / "b", "--annotation", f"0 {far[0]} {far[1]} {far[0]} {far[1]}")
    assert missed.json["per_image"][0]["outcome"] == "miss"
    assert missed.json["per_image"][0]["distance"] > 20


# -- train ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["resnet18", "efficientnet_b0"])
def test_train_writes_a_run_directory(phantoms: Path, tmp_path: Path, architecture: str) -> None:
    (tmp_path / "mine.yaml").write_text("base: small\nepochs: 1\nimage_size: 32\naugmentation: {flip: 0.25}\n")
    finished = cxrlens(
        *("train", phantoms, "--arch", architecture, "--recipe", tmp_path / "mine.yaml", "--runs", tmp_path / "runs"),
        *("--set", "augmentation.degrees=3", "--seed", 7, "--json", "--device", "cpu", "--workers", 0),
    )
    assert finished.code == 0
    assert finished.errors == []
    run = tmp_path / "runs" / f"{architecture}-mine"
    scores = finished.json["dev_scores"]
    name = f"model-{architecture}-acc{scores['dev_accuracy']:.4f}-auc{scores['dev_auc']:.4f}.safetensors"
    assert {path.name for path in run.iterdir()} == {
        *(".lock", "config.yaml", "environment.json", "metrics.csv", "checkpoints", name, "model.safetensors"),
        *("curves.png", "curves.svg", "report.html"),
    }
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert (run / "model.safetensors").resolve() == (run / name).resolve()
    assert finished.json["model"] == str(run / "model.safetensors")
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["architecture"] == architecture
    recipe = config["recipe"]
    assert (recipe["epochs"], recipe["image_size"], recipe["seed"], recipe["optimizer"]) == (1, 32, 7, "adamw")
    assert (recipe["augmentation"]["flip"], recipe["augmentation"]["degrees"]) == (0.25, 3)
    environment = json.loads((run / "environment.json").read_text())
    assert (environment["device"], environment["seed"]) == ("cpu", 7)
    assert environment["versions"]["torch"] == torch.__version__.split("+")[0]
    (epoch,) = table(run / "metrics.csv")
    assert float(epoch["dev_auc"]) == pytest.approx(scores["dev_auc"], rel=1e-5)
    _, card = load_model(run)
    assert (card.architecture, card.preprocessing.height, card.training["recipe"]) == (architecture, 32, recipe)
    assert card.dev_scores == scores
    out = tmp_path / "test"
    again = cxrlens("test", phantoms, "-m", run, "-o", out, "--json", "--workers", 0)  # what was saved is what scored
    assert again.code == 0
    rows = table(out / "predictions.csv")
    chosen = [abs((row["label"] == "normal") - float(row["probability"])) for row in rows]  # of the image's class
    assert -np.log(chosen).mean() == pytest.approx(scores["dev_loss"], abs=1e-3)
    if architecture == "resnet18":  # after one step EfficientNet's probabilities differ by rounding alone
        assert again.json["auc"] == pytest.approx(scores["dev_auc"], abs=1e-6)
        assert again.json["accuracy"] == pytest.approx(scores["dev_accuracy"], abs=1e-6)


# -- data phantom -----------------------------------------------------------------------------------------------------


def test_data_phantom(tmp_path: Path) -> None:
    given = ("--train", 4, "--dev", 2, "--size", 64, "--seed", 3, "--workers", 0)
    finished = cxrlens("data", "phantom", tmp_path / "a", *given, "--json")
    assert finished.code == 0
    assert finished.json == {"out": str(tmp_path / "a"), "train": 4, "dev": 2, "size": 64, "seed": 3}
    assert Dataset(tmp_path / "a").split("train").counts() == {"normal": 2, "affected": 2}
    assert Dataset(tmp_path / "a").split("dev").counts() == {"normal": 1, "affected": 1}
    assert Dataset(tmp_path / "a").split("dev").remarks == ()
    finished = cxrlens("data", "phantom", tmp_path / "b", *given)
    assert finished.out == f"4 training and 2 dev images are in {tmp_path / 'b'}\n"
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


# -- odd files --------------------------------------------------------------------------------------------------------


def test_odd_names_and_kinds_go_through(phantoms: Path, model: Path, tmp_path: Path) -> None:
    """PNG beside JPEG, an upper-case ending, blanks and other letters in names, and rows that say .jpg throughout."""
    image, text = annotated(phantoms)
    names = ["with blank.PNG", "Größe übung 胸部.jpg", "plain.jpeg"]
    (tmp_path / "in").mkdir()
    with Image.open(image) as picture:
        for name in names:
            picture.save(tmp_path / "in" / name, quality=95)
    with (tmp_path / "rows.csv").open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)  # DOS line ends
        writer.writerows([("image_path", "annotation"), *((f"x/{Path(name).stem}.jpg", text) for name in names)])
    given = ("-m", model, "--annotations", tmp_path / "rows.csv", "--method", "grad_cam", "--json", "--workers", 0)
    finished = cxrlens("pointing-game", tmp_path / "in", "-o", tmp_path / "pg", *given)
    assert finished.code == 0
    assert {row["image"] for row in table(tmp_path / "pg" / "per_image.csv")} == set(names)
    finished = cxrlens("explain", tmp_path / "in", "-o", tmp_path / "ex", *given)
    assert finished.code == 0
    assert {path.name for path in (tmp_path / "ex" / "overlays").iterdir()} == {f"{name}.png" for name in names}


# -- the installed script ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SCRIPT.is_file(), reason="the package is not installed beside this Python")
class TestInstalledScript:
    @staticmethod
    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE)

    def test_version_and_help(self) -> None:
        done = self.call("--version")
        assert (done.returncode, done.stdout.strip()) == (0, package.__version__)
        done = self.call("--help")
        assert done.returncode == 0
        for word in ("train", "test", "explain", "pointing-game", "data", "Exit codes"):
            assert word in done.stdout

    def test_an_error_is_one_sentence(self, tmp_path: Path) -> None:
        done = self.call("test", tmp_path / "absent", "-m", "x", "-o", tmp_path / "out")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.strip() == f"error: {tmp_path / 'absent'}: no such folder; check the path"

    def test_a_result_is_json_alone(self, phantoms: Path, whole_model: Path, tmp_path: Path) -> None:
        image, text = annotated(phantoms)
        done = self.call(
            *("pointing-game", image, "-m", whole_model, "-o", tmp_path / "out", "--annotation", text),
            *("--method", "grad_cam", "--json", "--workers", 0),
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["per_image"][0]["method"] == "grad_cam"
        assert done.stderr == ""


def test_training_annotations_without_their_images_cost_one_baseline_only(
    phantoms: Path, model: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(phantoms / "dev", data / "dev")
    for name in ("dev.csv", "train.csv"):
        shutil.copy(phantoms / name, data)
    done = cxrlens("pointing-game", data, "-m", model, "-o", tmp_path / "out", "--workers", 0, "--json")
    assert done.code == 0, done.err
    rows = {row["method"]: row for row in done.json["table"]}
    assert rows["mean_annotation"]["accuracy"] is None
    assert rows["mean_annotation"]["note"]
    assert rows["centre"]["n"] > 0


def test_an_output_folder_called_test_is_no_split(phantoms: Path, model: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(phantoms, data)
    for _ in range(2):
        done = cxrlens("test", data, "-m", model, "-o", data / "test", "--force", "--json", "--workers", 0)
        assert done.code == 0, done.err
        assert done.json["split"] == "dev"


def test_a_file_name_that_is_no_utf8_is_written_and_not_lost(phantoms: Path, model: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(phantoms, data)
    image = min((data / "dev/affected").iterdir())
    try:
        image.rename(os.fsdecode(os.fsencode(image.parent) + b"/th\xf6rax.jpg"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    done = cxrlens("test", data, "-m", model, "-o", tmp_path / "out", "--workers", 0, "--json")
    assert done.code == 0, done.err
    assert b"th\xf6rax.jpg" in (tmp_path / "out/predictions.csv").read_bytes()
