"""A command parses its manifest, and each annotation CSV, once: what it says is of one state of the data set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_line import cxrlens
from cxrlens.inputs.dataset import dataset

ROWS = ("--method", "grad_cam", "--layers", "last")
TRAINING = ("--arch", "resnet18", "--recipe", "small", "--epochs", 1, "--image-size", 32, "--workers", 0)


@pytest.fixture(scope="module")
def prepared(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantoms with a manifest."""
    out = tmp_path_factory.mktemp("prepared") / "data"
    assert cxrlens("data", "prepare", phantoms, out, "--workers", 0).code == 0
    return out


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was parsed."""
    counts: Counter[str] = Counter()

    def counted(name: str) -> Any:
        function = getattr(dataset, name)

        def parse(path: Path, *arguments: Any, **options: Any) -> Any:
            counts[path.name] += 1
            return function(path, *arguments, **options)

        return parse

    for name in ("read_manifest", "read_annotations"):
        monkeypatch.setattr(dataset, name, counted(name))
    return counts


def commands(data: Path, model: Path, out: Path) -> dict[str, tuple[object, ...]]:
    plan = out / "plan.yaml"
    training = {"seeds": [0], "recipe": "small", "settings": {"epochs": 1, "image_size": 32}}
    plan.write_text(yaml.safe_dump({"architectures": ["resnet18"], "rows": ["grad_cam last"], "repeats": 20}))
    trained = out / "trained.yaml"
    trained.write_text(yaml.safe_dump({**yaml.safe_load(plan.read_text()), "training": training}))
    labels = out / "labels.csv"
    image = sorted(data.parent.parent.rglob("train/affected/*"))[0]
    labels.write_text(f"path,label\n{image},normal\n")
    return {
        "test": ("test", data, "-m", model, "-o", out / "test"),
        "pointing-game": ("pointing-game", data, "-m", model, "-o", out / "game", *ROWS),
        "explain": ("explain", data, "-m", model, "-o", out / "explain", *ROWS),
        "compare": ("compare", model, model, "--data", data, "-o", out / "compare", *ROWS),
        "calibrate": ("calibrate", data, "-m", model, "-o", out / "calibrated.safetensors"),
        "data check": ("data", "check", data, "-o", out / "check"),
        "train": ("train", data, "--runs", out / "runs", *TRAINING, "--labels", labels),
        "study": ("study", data, "-m", model, "--plan", plan, "-o", out / "study"),
        "study with trainings": ("study", data, "--plan", trained, "-o", out / "trained"),
    }


@pytest.mark.parametrize("name", [
    "test", "pointing-game", "explain", "compare", "calibrate", "data check", "train", "study", "study with trainings",
])  # fmt: skip
def test_a_manifest_is_parsed_once(
    name: str, prepared: Path, model: Path, tmp_path: Path, parsed: Counter[str]
) -> None:
    finished = cxrlens(*commands(prepared, model, tmp_path)[name])
    assert "Traceback" not in finished.err
    assert finished.code in (0, 1) or name == "calibrate", finished.err  # the model is untrained
    assert parsed == {"manifest.csv": 1}


@pytest.mark.parametrize("name", ["test", "pointing-game", "data check"])
def test_a_csv_is_parsed_once(name: str, phantoms: Path, model: Path, tmp_path: Path, parsed: Counter[str]) -> None:
    finished = cxrlens(*commands(phantoms, model, tmp_path)[name])
    assert finished.code in (0, 1), finished.err
    assert parsed
    assert set(parsed.values()) == {1}
