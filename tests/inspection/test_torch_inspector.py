"""The inspector by torch says of every image what `QualityModel.check` says of it alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.inspection.torch_inspector import TorchInspector
from cxrlens.models.card import ModelCard
from cxrlens.saliency.explain import Row
from cxrlens.saliency.fusion import Fusion
from cxrlens.saliency.resizing import PUBLISHED_RESIZE

SIZES = [(90, 70), (60, 110), (130, 64), (64, 64), (200, 31)]


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    found = []
    for height, width in SIZES:
        rows, columns = np.mgrid[:height, :width]
        image = rng.random((height, width)) * 0.2
        row, column = rng.uniform(0, height), rng.uniform(0, width)
        image += 0.8 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 200)
        found.append((image / image.max()).astype(np.float32))
    return found


def batch(inspector: TorchInspector) -> np.ndarray:
    return np.stack(
        [inspector.card.preprocessing.resized(image, size) for image, size in zip(images(), SIZES, strict=True)]
    )


@pytest.mark.parametrize("layers", ["last", "combined"])
def test_all_is_as_the_model_says(quality_model: QualityModel, layers: str) -> None:
    inspector = TorchInspector(quality_model, Row("normgrad_conv1x1", layers))
    for image, size, result in zip(images(), SIZES, inspector.inspect(batch(inspector), SIZES), strict=True):
        check = quality_model.check(image, layers=layers, assess_any=True)
        assert result.probability == pytest.approx(check.probability, abs=1e-5)
        assert result.flat == check.flat
        assert result.peak is not None
        assert check.peak is not None
        assert result.map is not None
        inner = quality_model.preprocessing.geometry(*size).without_padding()
        assert result.map.values.shape == (inner.out_height, inner.out_width)
        whole = inner.backward_map(result.map.values)
        np.testing.assert_allclose(whole, check.maps["normgrad_conv1x1"], atol=1e-3)
        shown = check.maps["normgrad_conv1x1"]  # coarse maps have plateaus, on which a last digit moves the peak
        assert shown[result.peak] >= shown[check.peak] - 2e-3


@pytest.mark.parametrize("layers", ["last", "combined"])
def test_maps_of_the_flagged_only(network: nn.Module, layers: str) -> None:
    card = ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=64, width=48))
    row = Row("normgrad_conv1x1", layers)
    plain = TorchInspector(QualityModel(network, card, torch.device("cpu")), row)
    everything = plain.inspect(batch(plain), SIZES)
    threshold = sorted(result.probability for result in everything)[3]
    chosen = card.model_copy(update={"threshold": threshold})
    inspector = TorchInspector(QualityModel(network, chosen, torch.device("cpu")), row)
    flagged = inspector.inspect(batch(inspector), SIZES, maps="flagged")
    assert sum(result.map is not None for result in flagged) == 2
    for one, other in zip(flagged, everything, strict=True):
        assert one.probability == other.probability
        assert (one.map is not None) == (one.probability >= threshold)
        if one.map is not None and other.map is not None:
            np.testing.assert_allclose(one.map.values, other.map.values, atol=1e-4)
            assert one.peak == other.peak
    for result, other in zip(inspector.inspect(batch(inspector), SIZES, maps="none"), everything, strict=True):
        assert (result.probability, result.map, result.peak) == (other.probability, None, None)


@pytest.mark.parametrize(
    ("row", "fusion", "said"),
    [
        (Row("grad_cam", "last"), Fusion(), "centres bicubic"),
        (Row("grad_cam", "last"), Fusion(resize=PUBLISHED_RESIZE, flip=True), "areas bilinear, mirrored"),
        (Row("gradient", "input"), Fusion(), ""),
        (None, Fusion(flip=True), ""),
    ],
)
def test_it_says_how_its_maps_are_resized(quality_model: QualityModel, row: Row | None, fusion: Fusion, said: str):
    inspector = TorchInspector(quality_model, row, fusion)
    assert str(inspector.resize) == said
    for result in inspector.inspect(batch(inspector), SIZES):
        assert result.resize == inspector.resize
        assert {name: result.fields()[name] for name in ("grid", "interpolation", "flip")} == {
            "grid": inspector.resize.grid,
            "interpolation": inspector.resize.interpolation,
            "flip": inspector.resize.flip,
        }


def test_the_same_batch_gives_the_same_numbers(quality_model: QualityModel) -> None:
    inspector = TorchInspector(quality_model, Row("normgrad_conv1x1", "combined"))
    first, second = (inspector.inspect(batch(inspector), SIZES) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert (one.probability, one.peak, one.flat) == (other.probability, other.peak, other.flat)
        assert one.map is not None
        assert other.map is not None
        np.testing.assert_array_equal(one.map.values, other.map.values)
    assert len({result.probability for result in first}) == 5
