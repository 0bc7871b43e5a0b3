"""``cxrlens model``, and names in place of paths in every command that takes a model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from command_line import cxrlens, refused, table
from cxrlens.files import sha256_of

ROWS = ("--method", "normgrad_conv1x1", "--layers", "last", "--workers", 0)


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's models; the tests run in a folder where no path has their names."""
    monkeypatch.setenv("CXRLENS_MODELS", str(tmp_path / "models"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "models"


@pytest.fixture
def kept(model: Path) -> str:
    assert cxrlens("model", "add", model, "--name", "ward").code == 0
    return "ward"


def test_the_whole_life_of_a_name(model: Path, shelf: Path, tmp_path: Path) -> None:
    assert "no model is kept" in cxrlens("model", "list").out
    assert cxrlens("model", "list", "--json").json == []
    refused(cxrlens("model", "verify"), 4, shelf, "no model is kept here")
    added = cxrlens("model", "add", model, "--name", "ward", "--json")
    (record,) = added.json
    assert (record["name"], record["sha256"]) == ("ward", sha256_of(model))
    assert "ward" in cxrlens("model", "list").out
    said = cxrlens("model", "info", "ward").out
    for part in (
        "resnet18, 64 x 64 px",
        sha256_of(model),
        str(model),
        "calibration: none",
        "cxrlens card --model ward",
    ):
        assert part in said
    assert cxrlens("model", "info", "ward", "--json").json["card"]["architecture"] == "resnet18"
    verified = cxrlens("model", "verify")
    assert (verified.code, verified.out.startswith("ward: ok, ")) == (0, True)
    exported = cxrlens("model", "export", "ward", "-o", "b.zip")
    assert (exported.code, "cxrlens model add b.zip" in exported.out) == (0, True)
    removed = cxrlens("model", "remove", "ward")
    assert (removed.code, model.is_file()) == (0, True)
    refused(cxrlens("model", "info", "ward"), 2, "ward", "no model is kept under this name")
    assert cxrlens("model", "add", "b.zip", "--json").json[0]["sha256"] == sha256_of(model)
    other = tmp_path / "other"
    assert cxrlens("model", "add", "b.zip", "--models", other).code == 0
    assert [each["name"] for each in cxrlens("model", "list", "--models", other, "--json").json] == ["ward"]
    Path(record["file"]).write_bytes(b"x")
    damaged = cxrlens("model", "verify", "ward", "--json")
    assert (damaged.code, damaged.json[0]["state"]) == (2, "damaged")


def test_what_is_refused(kept: str, model: Path, tmp_path: Path) -> None:
    refused(
        cxrlens("model", "add", tmp_path / "none.safetensors", "--name", "x"), 2, "none.safetensors", "no such model"
    )
    refused(cxrlens("model", "add", model, "--name", "No Name"), 2, "--name No Name", "lower-case")
    refused(cxrlens("model", "export", "-o", "b.zip"), 2, "--all")
    refused(cxrlens("model", "export", "ward", "--all", "-o", "b.zip"), 2, "--all")
    refused(cxrlens("model", "info", "wart"), 2, "wart", "did you mean 'ward'?")
    other = tmp_path / "other.safetensors"
    shutil.copy(model, other)
    assert cxrlens("model", "add", other, "--name", "ward").code == 0  # the same content
    assert list(Path().iterdir()) == []


def test_names_work_wherever_models_do(kept: str, model: Path, phantoms: Path, tmp_path: Path) -> None:
    named, by_path = (
        cxrlens("test", phantoms, "-m", given, "-o", tmp_path / f"test-{number}", "--workers", 0)
        for number, given in enumerate((kept, model))
    )
    assert named.code == by_path.code == 0
    assert table(tmp_path / "test-0/predictions.csv") == table(tmp_path / "test-1/predictions.csv")
    out = [tmp_path / name for name in ("explain", "game", "screen", "compare", "study")]
    commands = [
        ("explain", phantoms, "-m", kept, "-o", out[0], *ROWS),
        ("pointing-game", phantoms, "-m", kept, "-o", out[1], *ROWS),
        ("screen", phantoms / "dev", "-m", kept, "-o", out[2], "--workers", 0),
        ("compare", kept, model, "--data", phantoms, "-o", out[3], *ROWS),
        ("compare", "grad_cam last", "layer_cam last", "-m", kept, "--data", phantoms, "-o", tmp_path / "rows",
         "--workers", 0),
        ("card", "-m", kept),
        ("export", "-m", kept, "--layers", "last"),
        ("doctor", "-m", kept),
    ]  # fmt: skip
    for command in commands:
        finished = cxrlens(*command)
        assert finished.code == 0, (command, finished.err)
    info = json.loads((out[2] / "screening.json").read_text())
    assert info["model_sha256"] == sha256_of(model)
    calibrated = cxrlens("calibrate", phantoms, "-m", kept, "--workers", 0)
    refused(calibrated, 2, "does not rank affected images above normal ones")  # it is untrained, but found
    assert Path("ward.onnx").is_file()  # in the working directory, not among the kept models
    graph = cxrlens("model", "add", "ward.onnx", "--name", "graph")
    assert graph.code == 0, graph.err
    screened = cxrlens("screen", phantoms / "dev", "-m", "graph", "-o", tmp_path / "by-graph", "--workers", 0)
    assert screened.code == 0, screened.err


@pytest.mark.parametrize(
    "command", ["test", "explain", "pointing-game", "calibrate", "screen", "serve", "card", "export"]
)
def test_a_command_without_a_model_says_how_to_get_one(phantoms: Path, tmp_path: Path, command: str) -> None:
    data = () if command in ("serve", "card", "export") else (phantoms,)
    finished = cxrlens(command, *data, *(("-o", tmp_path / "out") if command == "screen" else ()))
    refused(finished, 2, "--model", "cxrlens demo", "cxrlens train", "cxrlens model add")


@pytest.mark.parametrize("command", ["test", "explain", "screen", "card", "doctor"])
def test_an_unknown_name_leads_to_near_ones(kept: str, phantoms: Path, tmp_path: Path, command: str) -> None:
    data = () if command in ("card", "doctor") else (phantoms, "-o", tmp_path / "out")
    finished = cxrlens(command, *data, "-m", "wart")
    assert finished.code == 2
    assert "did you mean 'ward'?" in finished.err + finished.out
    assert "cxrlens model list" in finished.err + finished.out


def test_a_file_of_the_name_wins_and_that_is_said(kept: str, phantoms: Path, model: Path, tmp_path: Path) -> None:
    Path("ward").mkdir()
    shutil.copy(model, "ward/model.safetensors")
    finished = cxrlens("test", phantoms, "-m", "ward", "-o", tmp_path / "out", "--workers", 0)
    assert finished.code == 0
    assert "ward: is taken as a path; a model is kept under the same name" in finished.err
