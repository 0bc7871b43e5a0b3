"""Which maps are flagged: flat before or after the smoothing, or not finite; the other images of a batch are not."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny_networks import PLACED, Tiny, efficientnet_b0, resnet18
from torch import Tensor, nn

import cxrlens
from cxrlens.saliency.explain import Row, explain_rows
from cxrlens.saliency.fusion import Fusion
from cxrlens.saliency.methods import METHODS, sampling


class Patterned(nn.Module):
    """An affected logit whose input gradient is a pattern that each image chooses by its first pixel.

    0: the same everywhere; 1: columns of 0 and 1 by turns; 2: one bright column.
    """

    def forward(self, images: Tensor) -> Tensor:
        patterns = torch.zeros(3, *images.shape[2:])
        patterns[0] = 0.7
        patterns[1, :, ::2] = 1
        patterns[2, :, 9] = 1
        chosen = patterns[images[:, 0, 0, 0].detach().round().long()]
        evidence = (images * chosen[:, None]).sum((1, 2, 3))
        return torch.stack([-evidence, evidence], 1)


def test_a_map_that_is_flat_before_or_after_smoothing_is_flagged():
    """A Gaussian of 2 px and more leaves of the finest columns less than float32 can tell from none."""
    network, images = Patterned().eval(), torch.rand(4, 3, 18, 26)
    images[:, 0, 0, 0] = torch.tensor([0.0, 1.0, 2.0, 1.0])
    expected = {None: [True, False, False, False], 2.0: [True, True, False, True], 3.0: [True, True, False, True]}
    for smooth, flags in expected.items():
        found = cxrlens.explain(network, images, methods="gradient", smooth=smooth)
        assert found.flat["gradient"].tolist() == flags, smooth
        for map_, flat in zip(found["gradient"], flags, strict=True):
            assert float(map_.amin()) == 0
            assert float(map_.amax()) == (0 if flat else 1)


def test_a_map_that_is_flat_before_smoothing_is_flagged_beside_one_that_is_not():
    """Flags are per row as well as per image: the same image has a map by one method, and none by the other."""
    network = resnet18()
    images = torch.rand(2, 3, 64, 96)
    images[1] = math.nan
    rows = [Row("normgrad_conv1x1", "last"), Row("normgrad_bias", "last")]  # the latter is constant there
    for fusion in (Fusion(smooth=1), Fusion()):
        found = explain_rows(network, images, rows, fusion=fusion)
        assert [found.flat[row].tolist() for row in rows] == [[False, True], [True, True]]


@pytest.fixture
def _few_samples(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sampling, "_MASKS", 45)
    monkeypatch.setattr(sampling, "_NOISY", 3)
    monkeypatch.setattr(sampling, "_STEPS", 4)


def check_alone(network: nn.Module, broken: float, options: dict[str, Any], rounds: int = 2) -> None:
    """One image of three holds a value that is not finite; the maps of the others are as beside a healthy one."""
    images = torch.rand(3, 3, 64, 96)
    expected = cxrlens.explain(network, images, **options)
    images[1, 2, 20, 50] = broken
    others = torch.tensor([True, False, True])
    for _ in range(rounds):  # at a single last layer the later rounds are in closed form
        found = cxrlens.explain(network, images, **options)
        for id_, maps in found.items():
            assert torch.equal(found.flat[id_], expected.flat[id_] | ~others), id_
            assert not maps[1].any(), id_
            torch.testing.assert_close(maps[others], expected[id_][others], rtol=0, atol=1e-6)
    seen = sum(int(flat.sum()) for flat in expected.flat.values())
    assert seen < len(expected.flat), "most of the healthy maps have a range"


@pytest.mark.usefixtures("_few_samples")
@pytest.mark.parametrize("smooth", [None, 1.0])
@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("layers", ["features.3", ["features.1", "features.3"]], ids=["one layer", "two layers"])
def test_an_image_that_is_not_finite_is_flagged_alone(layers: Any, broken: float, smooth: float | None):
    methods = [id_ for id_ in METHODS if id_ != "normgrad_bias"] + ["captum:Saliency", "captum:InputXGradient"]
    check_alone(Tiny(seed=3), broken, {"methods": methods, "layers": layers, "smooth": smooth})


@pytest.mark.parametrize("combination", ["product", "geometric", "mean", "max"])
@pytest.mark.parametrize("build", [resnet18, efficientnet_b0])
def test_an_image_that_is_not_finite_is_flagged_alone_when_layers_are_combined(build: Any, combination: str):
    options = {"methods": PLACED, "layers": "combined", "combination": combination, "smooth": 1.0}
    check_alone(build(), math.nan, options, rounds=1)
