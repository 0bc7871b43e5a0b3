"""The demo through the real command, tiny: every part is there and the page stands alone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from command_line import cxrlens, refused
from cxrlens.demo.run import _kept
from cxrlens.files import sha256_of
from cxrlens.models.model_file import load_model, save_model
from cxrlens.models.named import find_kept
from cxrlens.shelf.keeping import add_model


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "demo"
    maps = ("--published-grid", "--flip")
    done = cxrlens("demo", "--quick", "--out", out, "--device", "cpu", "--workers", "0", *maps, "--json")
    assert done.code == 0, done.err
    result = done.json
    assert Path(result["page"]) == out / "README.html"
    assert {row["method"] for row in result["pointing_game"]} >= {"grad_cam", "normgrad_conv1x1", "centre", "random"}
    resizes = {(row["grid"], row["interpolation"], row["flip"]) for row in result["pointing_game"]}
    assert resizes == {("areas", "bilinear", 1), ("", "", 0)}
    return out


def test_it_leaves_data_model_scores_and_a_page(demo: Path) -> None:
    for name in ("data/dev.csv", "run/model.safetensors", "test/scores.json", "test/roc.svg"):
        assert (demo / name).is_file(), name
    for name in ("pointing-game/pointing_game.csv", "pointing-game/per_image.csv", "contact-sheet.png"):
        assert (demo / name).is_file(), name


def test_the_page_needs_no_other_file(demo: Path) -> None:
    page = (demo / "README.html").read_text(encoding="utf-8")
    assert page.count("data:image/") == 4
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert "not a medical device" in page
    assert "areas bilinear, mirrored" in page
    trained_in = json.loads((demo / "run" / "environment.json").read_text(encoding="utf-8"))["precision"]
    words = {"32-true": "float32", "bf16-mixed": "bfloat16 autocast"}[trained_in]
    assert re.search(rf"Training precision\s*</\w+>\s*<\w+[^>]*>\s*{words}", page)
    assert page.count("--grid areas --interpolation bilinear --flip") == 2  # its commands make the same maps


def test_its_model_is_kept_under_a_name_of_its_own(demo: Path) -> None:
    kept = find_kept("demo-quick")
    assert kept is not None
    assert kept.record.sha256 == sha256_of(demo / "run" / "model.safetensors")
    assert kept.record.made_by == "cxrlens demo"


def test_a_model_of_a_persons_own_is_never_replaced(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXRLENS_MODELS", str(tmp_path / "models"))
    trained = demo / "run" / "model.safetensors"
    mine = tmp_path / "mine.safetensors"
    shutil.copy(trained, mine)
    network, card = load_model(mine)
    save_model(mine, network, card.model_copy(update={"created": "mine"}))
    add_model(mine, "demo-quick")
    assert _kept(trained, "demo-quick") is None
    assert "another model is kept as 'demo-quick'" in caplog.text
    assert find_kept("demo-quick").record.sha256 == sha256_of(mine)  # type: ignore[union-attr]
    monkeypatch.setenv("CXRLENS_MODELS", str(mine))  # no folder: the demo is finished all the same
    assert _kept(trained, "demo-quick") is None


def test_a_second_run_needs_force(demo: Path) -> None:
    refused(cxrlens("demo", "--quick", "--out", demo), 2, demo, "--force")


def test_force_replaces_a_demo_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "data" / "mine.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    refused(cxrlens("demo", "--quick", "--out", tmp_path, "--force"), 2, tmp_path, "--out")
    refused(cxrlens("demo", "--quick", "--out", tmp_path / "new", "--arch", "resnet43"), 2, "resnet34")
    assert kept.read_text() == "mine"
    assert not (tmp_path / "new").exists()
