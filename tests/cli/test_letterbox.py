"""Letterboxed models from training to maps: pictures of odd shapes with an object off the diagonal, at a known place.

The network of most tests looks at the picture itself, so that the place of each map's peak is known; its inverse is
highest on black, which the padding is too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn

from command_line import cxrlens, table
from cxrlens.explanation import run as explain
from cxrlens.inputs.annotations.shapes import Rectangle
from cxrlens.inputs.annotations.table import write_annotations
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import QualityModel, load
from cxrlens.models.card import ModelCard
from cxrlens.pointing import run as pointing_game
from cxrlens.saliency.explain import Row

SIZES = {"strip": (40, 320), "tall": (330, 50), "wide": (100, 180), "square": (90, 90)}  # height, width
INPUT = Preprocessing(height=64, width=64, resize="letterbox")
ROWS = [Row("normgrad_conv1x1", "layer")]


class Looks(nn.Module):
    """Gives maps of how bright the picture is, or how dark."""

    def __init__(self, *, dark: bool) -> None:
        super().__init__()
        self.dark = dark
        self.layer = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.ones_(self.layer.weight)

    def forward(self, images: Tensor) -> Tensor:
        seen = images.amax() - images if self.dark else images - images.amin()
        evidence = self.layer(seen).mean((1, 2, 3))
        return torch.stack([-evidence, evidence], 1)


def looking(*, dark: bool) -> QualityModel:
    card = ModelCard(architecture="resnet18", preprocessing=INPUT)
    return QualityModel(Looks(dark=dark), card, torch.device("cpu"))


def place(height: int, width: int) -> Rectangle:
    """A box about a tenth of the sides, at four fifths of the width and three tenths of the height."""
    x, y, half = round(0.8 * width), round(0.3 * height), (max(width // 20, 3), max(height // 20, 3))
    return Rectangle(x - half[0], y - half[1], x + half[0], y + half[1])


def middle(box: Rectangle) -> tuple[float, float]:
    """(x, y)."""
    return (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2


def write_pictures(folder: Path, *, dark: bool, mirrored: bool = False) -> Path:
    """Pictures with an object that fades from its middle, and their CSV; mirrored: the CSV has it at another place."""
    folder.mkdir(parents=True)
    rows = []
    for number, (name, (height, width)) in enumerate(SIZES.items()):
        box = place(height, width)
        x, y = middle(box)
        rows_, columns = np.mgrid[:height, :width]
        far = np.hypot((columns - x) / (box.x2 - box.x1), (rows_ - y) / (box.y2 - box.y1))
        spot = np.clip(1 - far, 0, 1) * 0.5
        noise = 0.1 * np.random.default_rng(number).random((height, width))
        pixels = 0.8 - spot - noise if dark else 0.2 + spot + noise
        Image.fromarray(np.rint(255 * pixels).astype(np.uint8)).save(folder / f"{name}.png")
        moved = Rectangle(width - 1 - box.x2, height - 1 - box.y2, width - 1 - box.x1, height - 1 - box.y1)
        rows.append((f"{name}.png", [moved if mirrored else box]))
    write_annotations(folder.with_suffix(".csv"), rows)
    return folder


@pytest.mark.parametrize("dark", [False, True])
def test_planted_peaks_hit_their_objects_and_no_others(tmp_path: Path, dark: bool) -> None:
    for mirrored in (False, True):
        folder = write_pictures(tmp_path / str(mirrored), dark=dark, mirrored=mirrored)
        played = pointing_game.play_folder(
            Dataset(folder),
            looking(dark=dark),
            tmp_path / f"out-{mirrored}",
            ROWS,
            pointing_game.PointingSettings(),
            annotations=folder.with_suffix(".csv"),
        )
        shown = [record for record in played.per_image if record["method"] == "normgrad_conv1x1"]
        assert len(shown) == len(SIZES)
        assert [record["outcome"] for record in shown] == ["miss" if mirrored else "hit"] * len(SIZES)
        assert {row["resize"] for row in played.table} == {"letterbox"}
        for record in shown:
            height, width = SIZES[Path(record["image"]).stem]
            pixel = max(height, width) / 64  # of the map, in pixels of the picture
            x, y = middle(place(height, width))
            assert abs(record["peak_x"] - x) <= 1.5 * pixel
            assert abs(record["peak_y"] - y) <= 1.5 * pixel


def test_baselines_speak_of_the_picture_and_not_of_its_padding(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "data", dark=True)
    played = pointing_game.play_folder(
        Dataset(folder),
        looking(dark=True),
        tmp_path / "out",
        ROWS,
        pointing_game.PointingSettings(),
        annotations=folder.with_suffix(".csv"),
        train_annotations=folder.with_suffix(".csv"),
    )
    by_image = {(Path(r["image"]).stem, r["method"]): r for r in played.per_image}
    for name, (height, width) in SIZES.items():
        pixel = max(height, width) / 64
        centre = by_image[name, "centre"]
        assert abs(centre["peak_x"] - (width - 1) / 2) <= 0.5 * pixel + 1e-6
        assert abs(centre["peak_y"] - (height - 1) / 2) <= 0.5 * pixel + 1e-6
        mean = by_image[name, "mean_annotation"]
        assert mean["outcome"] == "hit"  # all objects lie at the same share of the sides
        brightest = by_image[name, "brightest"]
        assert -0.5 <= brightest["peak_x"] <= width - 0.5
        assert -0.5 <= brightest["peak_y"] <= height - 0.5
        # Of all pixels of the picture at the network's scale, and of no others, those near the object.
        box, scale = place(height, width), 64 / max(height, width)
        own_height, own_width = round(height * scale), round(width * scale)
        rows, columns = np.mgrid[:own_height, :own_width]
        x, y = (columns + 0.5) * width / own_width - 0.5, (rows + 0.5) * height / own_height - 0.5
        inside = (x >= box.x1) & (x <= box.x2) & (y >= box.y1) & (y <= box.y2)
        objects = np.argwhere(inside)
        near = [min(np.hypot(*(objects - pixel).T)) < 0.025 * 64 for pixel in np.argwhere(np.ones_like(inside))]
        assert by_image[name, "random"]["hit"] == pytest.approx(np.mean(near))


def test_explanations_cover_the_picture_and_name_its_pixels(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "data", dark=True)
    explain.explain_images(
        [folder], looking(dark=True), tmp_path / "out", ROWS, explain.ExplanationSettings(assess_any=True)
    )
    for row in table(tmp_path / "out" / "explanations.csv"):
        height, width = SIZES[Path(row["image"]).stem]
        map_ = np.load(tmp_path / "out" / row["map"])
        scale = 64 / max(height, width)
        assert map_.shape == (round(height * scale), round(width * scale))
        assert (map_.min(), map_.max()) == (0, 1)
        x, y = middle(place(height, width))
        assert abs(float(row["peak_x"]) - x) <= 1.5 / scale
        assert abs(float(row["peak_y"]) - y) <= 1.5 / scale


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("dark", [False, True])
def test_a_checks_peak_and_map_are_in_pixels_of_the_picture(tmp_path: Path, name: str, dark: bool) -> None:
    path = write_pictures(tmp_path / "data", dark=dark) / f"{name}.png"
    height, width = SIZES[name]
    check = looking(dark=dark).check(path, methods="normgrad_conv1x1", layers="layer", assess_any=True)
    assert check.flat == ()
    map_ = check.maps["normgrad_conv1x1"]
    assert map_.shape == (height, width)
    assert map_.max() > 0.9
    assert check.peak is not None
    (row, column), (x, y) = check.peak, middle(place(height, width))
    pixel = max(height, width) / 64
    assert abs(column - x) <= 1.5 * pixel
    assert abs(row - y) <= 1.5 * pixel
    assert map_[row, column] > 0.9


def test_a_map_that_is_constant_on_the_picture_is_flat(tmp_path: Path) -> None:
    """The padding is black, and the map is highest there: it says nothing of the white picture."""
    Image.new("L", (64, 24), 255).save(tmp_path / "white.png")
    check = looking(dark=True).check(
        tmp_path / "white.png", methods="normgrad_conv1x1", layers="layer", assess_any=True
    )
    assert check.flat == ("normgrad_conv1x1",)
    assert check.peak is None
    assert not check.maps["normgrad_conv1x1"].any()
    item = pointing_game.annotated_item(tmp_path / "white.png", annotation="0 5 5 20 20")
    single = pointing_game.play_image(
        item, looking(dark=True), tmp_path / "out", ROWS, pointing_game.PointingSettings()
    )
    (record, *_) = single.per_image
    assert record["outcome"] == "miss"
    assert record.get("peak_x") is None


@pytest.mark.parametrize("options", [("--resize", "letterbox"), ("--set", "resize=letterbox")])
def test_the_kind_of_resize_travels_with_a_trained_model(
    phantoms: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    trained = cxrlens(
        *("train", phantoms, "--arch", "resnet18", "--recipe", "small", "--image-size", 48, "--epochs", 1, *options),
        *("--name", "boxed", "--runs", tmp_path, "--workers", 0, "--device", "cpu", "--json"),
    )
    assert trained.code == 0, trained.err
    assert "48 x 48 px, letterbox" in trained.err
    config = yaml.safe_load((tmp_path / "boxed" / "config.yaml").read_text())
    assert config["recipe"]["resize"] == "letterbox"
    model = load(tmp_path / "boxed", device="cpu")
    assert model.preprocessing == Preprocessing(height=48, width=48, resize="letterbox")
    with safe_open(trained.json["model"], framework="pt") as stored:
        assert '"resize":"letterbox"' in stored.metadata()["cxrlens"]
    if options[0] != "--resize":
        return
    played = cxrlens(
        "pointing-game", phantoms, "-m", tmp_path / "boxed", "-o", tmp_path / "game", "--workers", 0, "--json"
    )
    assert played.code == 0, played.err
    assert {row["resize"] for row in played.json["table"]} == {"letterbox"}
    for record in table(tmp_path / "game" / "per_image.csv"):
        if record["peak_x"]:
            with Image.open(phantoms / record["image"]) as image:
                assert -0.5 <= float(record["peak_x"]) <= image.width - 0.5
                assert -0.5 <= float(record["peak_y"]) <= image.height - 0.5


def test_an_unknown_kind_of_resize_is_refused(phantoms: Path, tmp_path: Path) -> None:
    finished = cxrlens("train", phantoms, "--resize", "crop", "--runs", tmp_path)
    assert finished.code == 2
    assert "letterbox" in finished.err
    assert not any(tmp_path.iterdir())
