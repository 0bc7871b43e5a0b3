"""The page of a Pointing Game: which images it shows, the accuracy at other tolerances, and published scores."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest

from browsing import Page
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.models.card import ModelCard
from cxrlens.models.registry import build_network
from cxrlens.pointing.gallery import GameGroup, GameImage, best_rows, chosen_images, distance_of
from cxrlens.pointing.page import GameFacts, tolerances_figure, write_game_page
from cxrlens.pointing.run import PointingSettings, play_folder
from cxrlens.report.figures import save_figure
from cxrlens.saliency.explain import Row
from cxrlens.saliency.recorded_resize import NO_RESIZE

ROWS = [Row("grad_cam", "last"), Row("normgrad_conv1x1", "combined"), Row("normgrad_scaling", "last")]
TOLERANCE = 15.0


def record(image: str, row: Row, distance: float | None) -> dict[str, Any]:
    """Of a peak so far from the objects; None is a flat map."""
    hit = distance is not None and distance < TOLERANCE
    found = {"image": image, "method": row.method, "layers": row.layers, "hit": float(hit),
             "outcome": "hit" if hit else "miss", "probability": 0.7, "decision": "affected"}  # fmt: skip
    return found if distance is None else {**found, "distance": distance}


def records(distances: dict[str, tuple[float | None, ...]]) -> list[dict[str, Any]]:
    """Of all rows, by image."""
    return [record(name, row, each) for name, them in distances.items() for row, each in zip(ROWS, them, strict=True)]


def grouped(distances: dict[str, tuple[float | None, ...]]) -> dict[str, list[str]]:
    return chosen_images(
        {
            name: {row: record(name, row, each) for row, each in zip(ROWS, them, strict=True)}
            for name, them in distances.items()
        }
    )


def test_each_kind_of_images_is_chosen_by_hits_and_distances() -> None:
    found = grouped(
        {
            "far": (90.0, 80.0, 70.0),
            "all": (3.0, 0.0, 0.0),
            "two": (2.0, 20.0, 1.0),
            "one": (50.0, 40.0, 2.0),
            "flat": (None, None, None),
            "near": (16.0, 17.0, 18.0),
            "best": (0.0, 0.0, 0.0),
            "beside": (30.0, 31.0, 29.0),
        }
    )
    assert found["hits"] == ["best", "all", "two"]
    assert found["misses"] == ["flat", "far", "beside"]
    assert found["disputed"] == ["one"]


def test_half_of_the_maps_is_neither_hit_nor_miss() -> None:
    pair = ROWS[:2]
    found = chosen_images({"a": {pair[0]: record("a", pair[0], 1.0), pair[1]: record("a", pair[1], 90.0)}})
    assert found == {"hits": [], "misses": [], "disputed": ["a"]}


def test_one_method_has_nothing_to_dispute() -> None:
    found = chosen_images({name: {ROWS[0]: record(name, ROWS[0], far)} for name, far in (("a", 1.0), ("b", 40.0))})
    assert found == {"hits": ["a"], "misses": ["b"], "disputed": []}


def test_the_rows_with_the_most_hits_are_shown_in_the_order_of_the_game(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxrlens.pointing.gallery.ROWS", 2)
    per_image = records({"a": (1.0, 50.0, 2.0), "b": (1.0, 50.0, 2.0), "c": (50.0, 50.0, 2.0)})
    assert best_rows(ROWS, per_image) == [ROWS[0], ROWS[2]]


def table_of(per_image: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a game's table, and a baseline that always misses."""
    rows = []
    for row in [*ROWS, Row("centre", "")]:
        hits = [each["hit"] for each in per_image if (each["method"], each["layers"]) == (row.method, row.layers)]
        rows.append(
            {"method": row.method, "layers": row.layers, "kind": "baseline" if row.layers == "" else "method",
             "accuracy": float(np.mean(hits or [0])), "n": len(hits) or 3, "low": 0.1, "high": 0.9, "hits": sum(hits),
             "misses": len(hits) - sum(hits), "tied": 0, "tolerance": TOLERANCE, "target": "affected",
             "combination": "", "note": "", **NO_RESIZE.columns()}
        )  # fmt: skip
    return rows


def test_the_accuracy_at_each_tolerance_is_the_share_of_peaks_that_lie_nearer() -> None:
    """By scipy's exact interval, and counted by hand: 600 px, so that 2.5 % are 15 px."""
    per_image = [record(str(place), ROWS[0], far) for place, far in enumerate((0.0, 5.9, 15.0, 15.1, None))]
    table = [row for row in table_of(per_image) if row["method"] == "grad_cam"]
    (axes,) = tolerances_figure(table, per_image, side=600, share=0.025, title="t").axes
    shares, accuracy = axes.lines[0].get_data()
    found = dict(zip(np.round(shares, 3), accuracy, strict=True))
    assert [found[share] for share in (0.5, 1.0, 2.5, 3.0, 10.0)] == [0.2, 0.4, 0.4, 0.8, 0.8]
    (band,) = axes.collections
    low, high = binomtest(4, 5).proportion_ci(method="exact")
    edge = band.get_paths()[0].vertices
    assert {round(float(y), 6) for x, y in edge if abs(x - 10) < 1e-9} == {round(low, 6), round(high, 6)}


def page_of_game(out: Path, names: list[str], *, tolerances: tuple[float | None, ...] = (1.0, 16.0, 20.0)) -> Page:
    per_image = records(dict.fromkeys(names, tolerances))
    table = table_of(per_image)
    save_figure(tolerances_figure(table, per_image, side=600, share=0.025, title="t"), out / "tolerances",
                formats=("svg",))  # fmt: skip
    (out / "pointing_game.svg").write_bytes((out / "tolerances.svg").read_bytes())
    card = ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=600, width=600))
    model = QualityModel(torch.nn.Identity(), card, torch.device("cpu"))
    gallery = [GameGroup("Hits", "text", [GameImage("<b>a.jpg", "3 of 3 maps hit", "data:image/jpeg;base64,AA==")])]
    facts = GameFacts("data", "dev", names, table, per_image, 0.025, gallery, ["x.jpg: is damaged"], 0)
    return Page(write_game_page(out / "report.html", model, facts).read_text("utf-8"))


def test_published_scores_stand_beside_the_same_images_alone(tmp_path: Path) -> None:
    """At 25 px, a published tolerance, the combined NormGrad's peaks at 16 px are hits, at 15 px they are not."""
    page = page_of_game(tmp_path, [f"{number:05d}.jpg" for number in range(8001, 8101)])
    shown = " ".join(page.text.split())
    assert "best NormGrad 0.862 1.000 (0.964 to 1.000) tolerance 25 px at 600 x 600 px" in shown
    assert "best NormGrad 0.853 0.000 (0.000 to 0.036) tolerance 15 px at 600 x 600 px" in shown
    assert "0.863" not in shown  # whose tolerance is not known
    assert "of the published dev images at 600 x 600 px, maps of NormGrad conv1x1, combined" in shown
    other = page_of_game(tmp_path, [f"mine-{number}.jpg" for number in range(100)])
    assert "Published" not in other.text


def test_the_page_names_what_it_shows(tmp_path: Path) -> None:
    page = page_of_game(tmp_path, ["far.jpg", "b.jpg"], tolerances=(None, 90.0, 4.0))
    shown = " ".join(page.text.split())
    assert "3 images" not in shown
    assert "2 images with an annotated object" in shown
    assert "less than 15 px from one (2.5 % of the longer side of 600 x 600 px)" in shown
    assert "1 image could not be scored and is left out" in shown
    assert "far.jpg 1 4.0 0.700 affected" in shown
    assert "<b>a.jpg: 3 of 3 maps hit" in shown


def test_a_flat_map_lies_nowhere() -> None:
    assert math.isinf(distance_of(record("a", ROWS[0], None)))
    assert distance_of(record("a", ROWS[0], 3.5)) == 3.5


def test_the_gallery_draws_what_was_played(tmp_path: Path) -> None:
    """Peak, objects and map of a picture that is not square come out of the same pixels as in the game."""
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(3)
    lines = ["image_name,annotation"]
    for number in range(4):
        pixels = rng.integers(0, 255, (10, 15), dtype=np.uint8)
        Image.fromarray(pixels).resize((150, 100)).save(tmp_path / "data" / f"{number}.png")
        lines.append(f"{number}.png,0 {10 + 30 * number} 20 {30 + 30 * number} 60")
    (tmp_path / "data.csv").write_text("\n".join(lines) + "\n")
    card = ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=64, width=96))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = QualityModel(build_network("resnet18"), card, torch.device("cpu"))
    result = play_folder(Dataset(tmp_path / "data"), model, tmp_path / "out", ROWS[:2], PointingSettings(),
                         annotations=tmp_path / "data.csv")  # fmt: skip
    assert result.page == tmp_path / "out" / "report.html"
    page = Page(result.page.read_text("utf-8"))
    pictures = [str(image["alt"]) for image in page.named("img") if str(image["src"]).startswith("data:image/jpeg")]
    groups = grouped_records(result.per_image)
    named = [name for names in groups.values() for name in names]
    assert pictures == [f"Radiograph {name} with its annotated objects, and the maps beside it" for name in named]
    assert named
    shown = " ".join(page.text.split())
    for name in named:
        mine = [each for each in result.per_image if each["image"] == name and each["outcome"] in ("hit", "miss")]
        hits = sum(each["hit"] for each in mine if each["method"] in ("grad_cam", "normgrad_conv1x1"))
        assert f"{name}: probability of affected {mine[0]['probability']:.3f}" in shown
        assert f"called {mine[0]['decision']}; {hits:.0f} of 2 maps hit" in shown


def grouped_records(per_image: list[dict[str, Any]]) -> dict[str, list[str]]:
    by_image: dict[str, dict[Row, dict[str, Any]]] = {}
    for each in per_image:
        row = Row(each["method"], each["layers"])
        if row in ROWS:
            by_image.setdefault(each["image"], {})[row] = each
    return chosen_images(by_image)
