"""The wrong decisions of a test: which are kept and how they look; and the figure of probabilities by class."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.models.card import ModelCard
from cxrlens.testing.plots import BINS, histogram_figure
from cxrlens.testing.wrong import WrongImages, small_jpeg


@pytest.fixture
def model() -> QualityModel:
    card = ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=64, width=80), threshold=0.3)
    return QualityModel(torch.nn.Identity(), card, torch.device("cpu"))


def logits(probability: float) -> torch.Tensor:
    return torch.tensor([0.0, math.log(probability / (1 - probability))])


@pytest.mark.parametrize("most", [1, 3, 100])
def test_those_are_kept_that_the_model_was_surest_of(model: QualityModel, most: int) -> None:
    rng = np.random.default_rng(0)
    grey = rng.random((64, 80), dtype=np.float32)
    kept = WrongImages(model, most)
    all_wrong = []
    for number, probability in enumerate(rng.uniform(0.01, 0.99, 40).round(2).tolist()):
        label = int(rng.integers(2))
        kept.add(Item(FileOrigin(Path(f"{number}.jpg")), label=label), grey, logits(probability))
        if (probability >= 0.3) != bool(label):
            all_wrong.append((-abs(probability - 0.3), number))
    found = kept.surest_first()
    assert len(all_wrong) > 5
    assert [int(Path(image.item.name).stem) for image in found] == [number for _, number in sorted(all_wrong)[:most]]
    assert all(image.address.startswith("data:image/jpeg;base64,") for image in found)


def test_an_image_is_wrong_by_the_models_own_threshold(model: QualityModel) -> None:
    kept = WrongImages(model)
    for name, label, probability in (("a", 1, 0.29), ("b", 1, 0.31), ("c", 0, 0.31), ("d", 0, 0.29)):
        kept.add(
            Item(FileOrigin(Path(f"{name}.jpg")), label=label), np.zeros((64, 80), np.float32), logits(probability)
        )
    assert {image.item.name: image.label for image in kept.surest_first()} == {"a.jpg": "affected", "c.jpg": "normal"}


def test_a_small_picture_keeps_aspect_place_and_brightness() -> None:
    grey = np.zeros((300, 600), np.float32)
    grey[30:90, 450:570] = 1.0  # top right
    with Image.open(io.BytesIO(small_jpeg(grey))) as image:
        assert image.size == (240, 120)
        seen = np.asarray(image, dtype=float)
    assert seen[14:34, 182:226].mean() > 240
    assert seen[60:, :].mean() < 10
    with Image.open(io.BytesIO(small_jpeg(np.full((64, 80), 0.5, np.float32)))) as image:
        assert image.size == (80, 64)  # never enlarged
        assert abs(np.asarray(image, dtype=float).mean() - 127.5) < 2


def test_bars_count_the_images_of_each_class() -> None:
    labels = [0, 0, 1, 1, 1]
    probabilities = [0.0, 0.05, 0.05, 0.97, 1.0]
    figure = histogram_figure(labels, probabilities, title="t", threshold=0.5, review_threshold=0.2)
    heights = [[patch.get_height() for patch in axes.patches] for axes in figure.axes]
    assert [len(row) for row in heights] == [BINS, BINS]
    assert heights[0] == [1, 1, *[0] * (BINS - 2)]
    assert heights[1] == [0, 1, *[0] * (BINS - 3), 2]
    for axes in figure.axes:
        assert [float(line.get_xdata()[0]) for line in axes.lines] == [0.5, 0.2]
    (only,) = {len(axes.lines) for axes in histogram_figure(labels, probabilities, title="t", threshold=0.5).axes}
    assert only == 1
