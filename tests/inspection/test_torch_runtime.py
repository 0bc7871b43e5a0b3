"""The runtime by torch says of every image what `QualityModel.check` says of it alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.inspection.torch_runtime import TorchRuntime
from cxrlens.models.card import ModelCard
from cxrlens.saliency.explain import Row

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


def batch(runtime: TorchRuntime) -> np.ndarray:
    return np.stack([runtime.prepare(image, size) for image, size in zip(images(), SIZES, strict=True)])


@pytest.mark.parametrize("layers", ["last", "combined"])
def test_all_is_as_the_model_says(quality_model: QualityModel, layers: str) -> None:
    runtime = TorchRuntime(quality_model, Row("normgrad_conv1x1", layers))
    for image, size, seen in zip(images(), SIZES, runtime.see(batch(runtime), SIZES), strict=True):
        check = quality_model.check(image, layers=layers)
        assert seen.probability == pytest.approx(check.probability, abs=1e-5)
        assert seen.flat == bool(check.flat)
        assert seen.peak is not None
        assert check.peak is not None
        assert seen.map is not None
        inner = quality_model.preprocessing.geometry(*size).without_padding()
        assert seen.map.shape == (inner.out_height, inner.out_width)
        whole = inner.backward_map(seen.map)
        np.testing.assert_allclose(whole, check.maps["normgrad_conv1x1"], atol=1e-3)
        shown = check.maps["normgrad_conv1x1"]  # coarse maps have plateaus, on which a last digit moves the peak
        assert shown[seen.peak] >= shown[check.peak] - 2e-3


@pytest.mark.parametrize("layers", ["last", "combined"])
def test_maps_of_the_flagged_only(network: nn.Module, layers: str) -> None:
    card = ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=64, width=48))
    row = Row("normgrad_conv1x1", layers)
    plain = TorchRuntime(QualityModel(network, card, torch.device("cpu")), row)
    everything = plain.see(batch(plain), SIZES)
    threshold = sorted(seen.probability for seen in everything)[3]
    chosen = card.model_copy(update={"threshold": threshold})
    runtime = TorchRuntime(QualityModel(network, chosen, torch.device("cpu")), row)
    flagged = runtime.see(batch(runtime), SIZES, maps="flagged")
    assert sum(seen.map is not None for seen in flagged) == 2
    for one, other in zip(flagged, everything, strict=True):
        assert one.probability == other.probability
        assert (one.map is not None) == (one.probability >= threshold)
        if one.map is not None and other.map is not None:
            np.testing.assert_allclose(one.map, other.map, atol=1e-4)
            assert one.peak == other.peak
    for seen, other in zip(runtime.see(batch(runtime), SIZES, maps="none"), everything, strict=True):
        assert (seen.probability, seen.map, seen.peak) == (other.probability, None, None)


def test_the_same_batch_gives_the_same_numbers(quality_model: QualityModel) -> None:
    runtime = TorchRuntime(quality_model, Row("normgrad_conv1x1", "combined"))
    first, second = (runtime.see(batch(runtime), SIZES) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert (one.probability, one.peak, one.flat) == (other.probability, other.peak, other.flat)
        np.testing.assert_array_equal(one.map, other.map)
    assert len({seen.probability for seen in first}) == 5
