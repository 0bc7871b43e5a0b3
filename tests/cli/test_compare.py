"""``cxrlens compare``: two models, or two rows, against the outputs of the commands that score one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from command_line import cxrlens, refused, table
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import build_network


def _untrained(folder: Path, threshold: float) -> Path:
    """A ResNet-18 that sees the images at another size than the shared model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        network = build_network("resnet18")
    preprocessing = Preprocessing(height=80, width=72)
    card = ModelCard(architecture="resnet18", preprocessing=preprocessing, threshold=threshold)
    save_model(folder / "model.safetensors", network, card)
    return folder / "model.safetensors"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that calls nothing affected."""
    return _untrained(tmp_path_factory.mktemp("other"), 0.999)


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network, calling everything affected."""
    return _untrained(tmp_path_factory.mktemp("eager"), 0.001)


def test_two_models_are_compared_on_the_same_images(phantoms: Path, model: Path, other: Path, tmp_path: Path) -> None:
    finished = cxrlens("compare", model, other, "--data", phantoms, "-o", tmp_path / "c", "--json")
    assert finished.code == 0, finished.err
    scores = {score["score"]: score for score in finished.json["scores"]}
    row = "pointing game, normgrad_conv1x1 combined"
    assert list(scores) == ["auc", "accuracy", "sensitivity", "specificity", row]
    first, second = (table(tmp_path / "c" / side / "predictions.csv") for side in "ab")
    truth = [line["label"] == "affected" for line in first]
    for side, lines in (("a", first), ("b", second)):
        assert scores["auc"][side] == pytest.approx(
            roc_auc_score(truth, [float(line["probability"]) for line in lines])
        )
        assert scores["accuracy"][side] == np.mean([int(line["correct"]) for line in lines])
    assert {name for name, score in scores.items() if score["map_resize_a"]} == {row}
    assert (scores[row]["map_resize_a"], scores[row]["map_resize_b"]) == ("centres bicubic", "centres bicubic")
    assert scores["sensitivity"]["b"] == 0
    assert scores["specificity"]["b"] == 1
    assert (scores["sensitivity"]["n"], scores["specificity"]["n"]) == (4, 4)
    hits = [
        [float(line["hit"]) for line in table(tmp_path / "c" / side / "per_image.csv") if line["layers"] == "combined"]
        for side in "ab"
    ]
    assert scores[row]["difference"] == pytest.approx(np.mean(hits[1]) - np.mean(hits[0]))
    lost = [name for name, a, b in zip(*_correct(first, second), strict=True) if a > b]
    flips = table(tmp_path / "c" / "flips.csv")
    assert [f["image"] for f in flips if (f["score"], f["flip"]) == ("decision", "lost")] == lost
    assert scores["accuracy"]["lost"] == len(lost)


def _correct(first: list[dict[str, str]], second: list[dict[str, str]]) -> tuple[list[str], list[int], list[int]]:
    assert [line["image"] for line in first] == [line["image"] for line in second]
    correct = ([int(line["correct"]) for line in lines] for lines in (first, second))
    return [line["image"] for line in first], *correct


def test_a_worse_model_ends_with_10_only_when_asked(phantoms: Path, eager: Path, other: Path, tmp_path: Path) -> None:
    """Six of six images lost are enough (0.08 of all at least), four of four are not."""
    more, out = tmp_path / "more", tmp_path / "compared"
    assert cxrlens("data", "phantom", more, "--train", 2, "--dev", 12, "--size", 64).code == 0
    options = ("--method", "grad_cam", "--layers", "last", "--force", "-o", out)
    assert cxrlens("compare", eager, other, "--data", phantoms, *options, "--fail-if-worse").code == 0
    given = ("--data", more, *options)
    finished = cxrlens("compare", eager, other, *given, "--json")
    assert (finished.code, finished.json["worse"]) == (0, ["sensitivity"])  # and the specificity is better by as much
    assert cxrlens("compare", eager, other, *given, "--fail-if-worse").code == 10
    assert cxrlens("compare", eager, other, *given, "--fail-if-worse", "--margin", 1).code == 0
    assert cxrlens("compare", other, other, *given, "--fail-if-worse").code == 0


def test_two_rows_of_one_model(phantoms: Path, model: Path, tmp_path: Path) -> None:
    rows = ("gradient input", "normgrad_scaling combined")
    given = ("-m", model, "--data", phantoms, "-o", tmp_path / "c", "--interpolation", "bilinear", "--json")
    finished = cxrlens("compare", *rows, *given)
    assert finished.code == 0, finished.err
    (score,) = finished.json["scores"]
    assert (score["map_resize_a"], score["map_resize_b"]) == ("", "centres bilinear")
    assert table(tmp_path / "c" / "comparison.csv")[0]["map_resize_b"] == "centres bilinear"
    played = table(tmp_path / "c" / "pointing-game" / "per_image.csv")
    hits = [[float(r["hit"]) for r in played if f"{r['method']} {r['layers']}" == row] for row in rows]
    assert (score["a"], score["b"], score["n"]) == (np.mean(hits[0]), np.mean(hits[1]), 4)
    assert score["lost"] == sum(a > b for a, b in zip(*hits, strict=True))
    assert score["gained"] == sum(b > a for a, b in zip(*hits, strict=True))


def test_unreadable_images_are_left_out_of_both(data: Path, model: Path, other: Path, tmp_path: Path) -> None:
    broken = min((data / "dev" / "normal").iterdir())
    broken.write_bytes(b"")
    finished = cxrlens("compare", model, other, "--data", data, "-o", tmp_path / "c", "--json")
    assert finished.code == 3
    assert [broken.name in reason for reason in finished.json["unreadable"]] == [True]
    assert finished.json["scores"][0]["n"] == 7


def test_data_without_objects_compare_decisions_alone(data: Path, model: Path, other: Path, tmp_path: Path) -> None:
    (data / "dev.csv").unlink()
    finished = cxrlens("compare", model, other, "--data", data, "-o", tmp_path / "c", "--json")
    assert finished.code == 0
    assert "no Pointing Game" in finished.err
    assert [s["score"] for s in finished.json["scores"]] == ["auc", "accuracy", "sensitivity", "specificity"]


def test_mistakes_are_one_sentence(phantoms: Path, model: Path, tmp_path: Path) -> None:
    given = ("--data", phantoms, "-o", tmp_path / "c")
    refused(cxrlens("compare", "grad_cam last", "hires_cam last", *given), 2, "grad_cam last", "--model")
    refused(cxrlens("compare", "grad_cam", "hires_cam last", "-m", model, *given), 2, "'grad_cam'")
    refused(cxrlens("compare", "grad_cam last", "nothing last", "-m", model, *given), 2, "nothing")
    refused(cxrlens("compare", "grad_cam last", "grad_cam  last", "-m", model, *given), 2, "same row")
    refused(cxrlens("compare", model, model, "--data", tmp_path / "none", "-o", tmp_path / "c"), 2, tmp_path / "none")
    assert not (tmp_path / "c").exists()
