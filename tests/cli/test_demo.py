"""The demo through the real command, tiny: every part is there and the page stands alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_line import cxrlens, refused


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
