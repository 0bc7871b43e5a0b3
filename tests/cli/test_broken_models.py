"""Broken models: refused with one sentence when they are loaded, and no image of theirs is ever called normal."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from command_line import cxrlens, refused
from cxrlens.errors import NotAssessedError
from cxrlens.inputs.dataset.layouts import CLASS_NAMES
from cxrlens.inspection.quality_model import load
from cxrlens.outputs import MARK

CALIBRATION = {
    "temperature": 1.0, "source_share": 0.5, "prevalence": 0.1, "review_threshold": 0.1, "retake_target": "x",
    "review_target": None, "threshold_interval": {"value": 0.5, "low": None, "high": None}, "review_interval": None,
    "data": {"name": "d", "split": "dev", "images": 4, "affected": 2}, "auc": {"value": 0.9, "low": 0.8, "high": 1.0},
    "before": {"nll": 0.5, "brier": 0.2, "ece": 0.1, "mean_probability": 0.5},
    "after": {"nll": 0.5, "brier": 0.2, "ece": 0.1, "mean_probability": 0.5},
    "expected": {}, "apparent": {}, "folds": 2, "seed": 0, "source_sha256": "0" * 64,
}  # fmt: skip


def rewritten(
    model: Path,
    path: Path,
    *,
    weights: Callable[[dict[str, Tensor]], Any] = lambda state: None,
    card: Callable[[dict[str, Any]], Any] = lambda card: None,
) -> Path:
    """The model file with its tensors or the fields of its card changed."""
    with safe_open(model, framework="pt") as stored:
        fields = json.loads(stored.metadata()["cxrlens"])
        state = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    weights(state)
    card(fields)
    save_file(state, path, metadata={"cxrlens": json.dumps(fields)})
    return path


def calibrated(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda card: card.update(calibration={**CALIBRATION, **changes})


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a NaN": ({"weights": lambda s: s["layer2.0.conv1.weight"].view(-1)[7:8].fill_(torch.nan)}, "layer2.0.conv1"),
    "an infinite bias": ({"weights": lambda s: s["fc.bias"].fill_(torch.inf)}, "no numbers (first: fc.bias)"),
    "a NaN in a mean": ({"weights": lambda s: s["bn1.running_mean"].fill_(torch.nan)}, "bn1.running_mean"),
    "a negative variance": ({"weights": lambda s: s["bn1.running_var"].fill_(-5)}, "bn1.running_var holds a variance"),
    "std 0": ({"card": lambda c: c["preprocessing"].update(std=[0.2, 0, 0.2])}, "preprocessing.std[1]"),
    "std NaN": ({"card": lambda c: c["preprocessing"].update(std=[float("nan")] * 3)}, "preprocessing.std[0]"),
    "a mean that is infinite": ({"card": lambda c: c["preprocessing"].update(mean=[float("inf"), 0, 0])}, "mean[0]"),
    "a mean beyond all grey levels": ({"card": lambda c: c["preprocessing"].update(mean=[1e30, 0, 0])}, "mean[0]"),
    "an absurd input": ({"card": lambda c: c["preprocessing"].update(height=10**6)}, "preprocessing.height"),
    "an input of no pixels": ({"card": lambda c: c["preprocessing"].update(width=0)}, "preprocessing.width"),
    "a threshold beyond 1": ({"card": lambda c: c.update(threshold=1.5)}, "threshold"),
    "a threshold NaN": ({"card": lambda c: c.update(threshold=float("nan"))}, "threshold"),
    "classes out of order": ({"card": lambda c: c.update(classes=["affected", "normal"])}, "normal, affected, in this"),
    "other classes": ({"card": lambda c: c.update(classes=["cat", "dog"])}, "classes"),
    "a calibration NaN": ({"card": calibrated(prevalence=float("nan"))}, "calibration.prevalence"),
    "a temperature NaN": ({"card": calibrated(temperature=float("nan"))}, "calibration.temperature"),
    "a temperature 0": ({"card": calibrated(temperature=0)}, "calibration.temperature"),
    "a temperature near 0": ({"card": calibrated(temperature=1e-300)}, "calibration.temperature"),
    "a review threshold NaN": ({"card": calibrated(review_threshold=float("nan"))}, "calibration.review_threshold"),
    "thresholds out of order": ({"card": calibrated(review_threshold=0.9)}, "review_threshold should not lie above"),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_broken_model_is_refused_when_it_is_loaded(phantoms: Path, model: Path, tmp_path: Path, name: str) -> None:
    changes, told = BROKEN[name]
    broken = rewritten(model, tmp_path / "broken.safetensors", **changes)
    refused(cxrlens("test", phantoms, "-m", broken, "-o", tmp_path / "out"), 2, broken, told)
    assert not (tmp_path / "out").exists()
    broken.unlink()


COMMANDS = {
    "explain": ("explain", "DATA/dev/affected", "-m", "MODEL", "-o", "OUT"),
    "pointing-game": ("pointing-game", "DATA", "-m", "MODEL", "-o", "OUT"),
    "screen": ("screen", "DATA/dev", "-m", "MODEL", "-o", "OUT"),
    "serve": ("serve", "-m", "MODEL", "--port", "0"),
    "calibrate": ("calibrate", "DATA", "-m", "MODEL", "-o", "OUT/site.safetensors"),
    "export": ("export", "-m", "MODEL", "-o", "OUT/a.onnx"),
    "study": ("study", "DATA", "--model", "MODEL", "-o", "OUT"),
    "compare": ("compare", "MODEL", "MODEL", "--data", "DATA", "-o", "OUT"),
}


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_refuses_it(phantoms: Path, model: Path, tmp_path: Path, name: str) -> None:
    broken = rewritten(model, tmp_path / "broken.safetensors", weights=lambda s: s["fc.weight"].fill_(torch.nan))
    replaced = {"MODEL": str(broken), "OUT": str(tmp_path / "out"), "DATA": str(phantoms)}
    words = []
    for word in COMMANDS[name]:
        for key, value in replaced.items():
            word = word.replace(key, value)
        words.append(word)
    refused(cxrlens(*words), 2, broken, "hold values that are no numbers")
    assert {path.name for path in tmp_path.rglob("*.json")} <= {MARK}
    broken.unlink()


# -- images for which a network of finite weights gives no number -----------------------------------------------------


def overflows(state: dict[str, Tensor]) -> None:
    """On a black image the first layer gives 0; on any other one it overflows, and the logits are NaN."""
    state["conv1.weight"].fill_(1e38)


@pytest.fixture(scope="module")
def partly(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("partly") / "partly.safetensors"
    black = {"mean": [0, 0, 0], "std": [1, 1, 1]}
    return rewritten(model, path, weights=overflows, card=lambda card: card["preprocessing"].update(black))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A split: black images, which the network assesses if it is made to, and bright ones, which it does not."""
    for split in ("train", "dev"):
        for number, kind in enumerate(CLASS_NAMES):
            folder = tmp_path / "images" / split / kind
            folder.mkdir(parents=True)
            for index in range(2):
                Image.fromarray(np.zeros((64 + index, 70 + number), np.uint8)).save(folder / f"black{index}.png")
                Image.fromarray(np.full((64 + index, 70 + number), 200, np.uint8)).save(folder / f"bright{index}.png")
    return tmp_path / "images"


def unreadable(out: Path, name: str = "unreadable.txt") -> list[str]:
    lines = (out / name).read_text().splitlines()
    assert all("the model gives no number for this image" in line for line in lines)
    return sorted(Path(line.split(": ")[0]).name for line in lines)


def test_decisions_are_never_made_of_what_is_no_probability(model: Path) -> None:
    card = load(model, device="cpu").card
    for number in (float("nan"), float("inf"), float("-inf"), -0.1, 1.1):
        for decide in (card.decision, card.triage):
            with pytest.raises(NotAssessedError, match="neither normal nor affected"):
                decide(number)


def test_the_interface_raises_where_a_decision_is_asked_for(partly: Path) -> None:
    found = load(partly, device="cpu")
    assert found.check(np.zeros((70, 64), np.float32), assess_any=True).decision in CLASS_NAMES
    numberless = found.check(np.full((70, 64), 0.5, np.float32), assess_any=True)
    assert (numberless.triage, numberless.maps) == ("not_assessable", {})
    with pytest.raises(NotAssessedError, match="no number"):
        _ = numberless.decision


def test_explain_lists_the_image_and_explains_the_others(images: Path, partly: Path, tmp_path: Path) -> None:
    folder, out = images / "dev" / "affected", tmp_path / "out"
    options = ("--layers", "last", "--workers", 0, "--assess-any")
    finished = cxrlens("explain", folder, "-m", partly, "-o", out, *options)
    assert finished.code == 0
    assert "2 images explained, 2 not assessable" in finished.out
    with (out / "explanations.csv").open(newline="") as stream:
        rows = {
            row["image"]: (row["triage"], row["probability"] == "", row["map"] == "") for row in csv.DictReader(stream)
        }
    judged, numberless = ("", False, False), ("not_assessable", True, True)
    assert rows == {f"black{n}.png": judged for n in range(2)} | {f"bright{n}.png": numberless for n in range(2)}
    finished = cxrlens("explain", folder / "bright0.png", "-m", partly, "-o", tmp_path / "one", "--assess-any")
    assert finished.code == 0
    assert "bright0.png: the model gives no number for this image" in " ".join(finished.err.split())


def test_screen_lists_the_image_as_not_assessable(images: Path, partly: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished = cxrlens("screen", images / "dev", "-m", partly, "-o", out, "--workers", 0, "--assess-any")
    assert finished.code == 0
    assert "4 not assessable, 0 unreadable" in finished.out
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    for row in rows:
        is_judged = "bright" not in row["name"]
        assert row["status"] == "ok"
        assert row["triage"] == (None if is_judged else "not_assessable")
        assert (row["decision"] is None, row["probability"] is None) == (not is_judged, not is_judged)


def test_test_scores_the_others(images: Path, partly: Path, tmp_path: Path) -> None:
    finished = cxrlens("test", images, "-m", partly, "-o", tmp_path / "out", "--workers", 0)
    assert finished.code == 3
    assert unreadable(tmp_path / "out") == ["bright0.png", "bright0.png", "bright1.png", "bright1.png"]
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["n"] == 4


def test_pointing_game_and_export_say_so(images: Path, partly: Path, tmp_path: Path) -> None:
    image = images / "dev" / "affected" / "bright0.png"
    played = cxrlens("pointing-game", image, "-m", partly, "-o", tmp_path / "out", "--annotation", "0 2 2 9 9")
    refused(played, 3, image, "no number")
    refused(cxrlens("export", "-m", partly, "-o", tmp_path / "a.onnx"), 2, partly.name, "no number", "doctor")
    assert not (tmp_path / "a.onnx").exists()
