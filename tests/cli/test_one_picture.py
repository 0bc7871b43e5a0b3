"""Large JPEGs are decoded at reduced size: by every command alike, so that one file has one probability."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import cxrlens as package
from command_line import cxrlens, table
from cxrlens.inputs.decoding import DecodedImage, decode_images
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import read

TINY = ("--recipe", "small", "--arch", "resnet18", "--epochs", 1, "--workers", 0)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of JPEGs in grey and colour, upright and turned, many times larger than the network's input."""
    root = tmp_path_factory.mktemp("large")
    random = np.random.default_rng(0)
    for number in range(16):
        affected = number % 2 == 0
        noise = random.integers(0, 256, (18, 13), dtype=np.uint8)
        image = Image.fromarray(noise).resize((523, 661), Image.Resampling.BICUBIC)
        if affected:
            x, y = random.integers(60, 440, 2).tolist()
            ImageDraw.Draw(image).ellipse((x, y, x + 50, y + 60), fill=255)
        exif = Image.Exif()
        exif[0x0112] = (1, 6, 3, 8)[number % 4]
        if number % 3 == 0:
            image = image.convert("RGB")
        folder = root / ("train" if number < 10 else "dev") / ("affected" if affected else "normal")
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{number:02d}.jpg", quality=92, exif=exif)
    return root


def test_check_test_and_explain_agree(large: Path, model: Path, tmp_path: Path) -> None:
    loaded = package.load(model)
    for command in ("test", "explain"):
        given = ("-m", model, "-o", tmp_path / command, "--workers", 0)
        given += ("--method", "normgrad_scaling", "--layers", "last") if command == "explain" else ()
        assert cxrlens(command, large, *given).code == 0
    tested = table(tmp_path / "test" / "predictions.csv")
    explained = table(tmp_path / "explain" / "explanations.csv")
    assert [row["image"] for row in tested] == [row["image"] for row in explained]
    assert len({row["probability"] for row in tested}) == len(tested)
    for row, other in zip(tested, explained, strict=True):
        path = large / row["image"]
        at_least = loaded.preprocessing.decoded_at_least
        image = read(path, at_least=at_least)
        assert image.pixels.size < image.height * image.width / 3  # the case in question
        for form in (path, path.read_bytes(), image):
            check = loaded.check(form, methods="normgrad_scaling", layers="last")
            assert float(row["probability"]) == pytest.approx(check.probability, abs=2e-6)
            assert check.maps["normgrad_scaling"].shape == (image.height, image.width)
        assert float(other["probability"]) == pytest.approx(float(row["probability"]), abs=2e-6)


def test_train_scores_the_pictures_that_test_scores(large: Path, tmp_path: Path) -> None:
    """But for the rounding to 8 bits in which the cache keeps pictures of 8 bits."""
    assert cxrlens("train", large, *TINY, "--image-size", 48, "--runs", tmp_path, "--name", "a").code == 0
    (epoch,) = table(tmp_path / "a" / "metrics.csv")
    loaded = package.load(tmp_path / "a")
    losses: dict[str, list[float]] = {"reduced": [], "whole": []}
    for path in sorted((large / "dev").rglob("*.jpg")):
        for decoded, at_least in (("reduced", loaded.preprocessing.decoded_at_least), ("whole", None)):
            image = read(path, at_least=at_least)
            grey = torch.from_numpy(loaded.preprocessing.resized(image.pixels, (image.height, image.width)))
            affected = float(loaded.probabilities((grey * 255).round()[None] / 255)[0])
            losses[decoded].append(-np.log(affected if "affected" in path.parts else 1 - affected))
    assert float(epoch["dev_loss"]) == pytest.approx(np.mean(losses["reduced"]), abs=5e-6)  # the classes weigh the same
    assert float(epoch["dev_loss"]) != pytest.approx(np.mean(losses["whole"]), abs=5e-5)


def test_a_reduced_picture_is_nearly_the_whole_one(large: Path) -> None:
    """In a picture without detail of the size of the network's pixels."""
    preprocessing = Preprocessing(height=64, width=48)
    for path in sorted(large.rglob("*.jpg")):
        reduced = preprocessing.resized(read(path, at_least=preprocessing.decoded_at_least).pixels)
        whole = preprocessing.resized(read(path).pixels)
        for dimension in (1, 2):  # far nearer than to the same picture moved by one of the network's pixels
            moved = np.abs(whole - np.roll(whole, 1, dimension)).mean()
            assert np.abs(reduced - whole).mean() < 0.15 * moved


def test_the_stored_picture_kept_for_overlays_changes_nothing_else(large: Path) -> None:
    preprocessing = Preprocessing(height=40, width=30)
    paths = sorted(large.rglob("*.jpg"))
    origins = [FileOrigin(path) for path in paths]
    plain = decode_images(origins, preprocessing)
    kept = decode_images(origins, preprocessing, keep_pixels=True, workers=2)
    for path, one, other in zip(paths, plain, kept, strict=True):
        assert isinstance(one, DecodedImage)
        assert isinstance(other, DecodedImage)
        assert other.pixels is not None
        assert one.pixels is None
        np.testing.assert_array_equal(one.grey, other.grey)
        np.testing.assert_array_equal(other.pixels, read(path).pixels)
        assert (one.height, one.width) == (other.height, other.width) == tuple(other.pixels.shape)
