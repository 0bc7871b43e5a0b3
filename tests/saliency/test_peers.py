"""Our maps against pytorch-grad-cam and torch-cam, where those are right, and on random networks against autograd."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import PLACED, efficientnet_b0, resnet18
from torch import Tensor, nn

import cxrlens
from cxrlens.saliency.capture import Captured, capture
from cxrlens.saliency.methods import METHODS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pytorch_grad_cam as pgc
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from torchcam import methods as torchcam


def last_of(network: nn.Module) -> str:
    return "layer4.1" if hasattr(network, "layer4") else "features.8.2"


PUBLISHED: dict[str, Any] = {"grid": "areas", "interpolation": "bilinear"}
PEERS = {
    "grad_cam": pgc.GradCAM,
    "hires_cam": pgc.HiResCAM,
    "xgrad_cam": pgc.XGradCAM,
    "layer_cam": pgc.LayerCAM,
    "grad_cam_plus_plus": pgc.GradCAMPlusPlus,
}


@pytest.mark.parametrize("build", [resnet18, efficientnet_b0])
@pytest.mark.parametrize("id_", list(PEERS))
def test_pytorch_grad_cam_agrees(id_: str, build: Any):
    """It adds absolute epsilons (1e-6 to a squared gradient), so that the gradients are made large first."""
    network = build()
    with torch.no_grad():
        [module for module in network.modules() if isinstance(module, nn.Linear)][-1].weight *= 100
    torch.manual_seed(50)
    images = torch.randn(2, 3, 96, 128)
    ours = cxrlens.explain(network, images, methods=id_, target=1, **PUBLISHED)  # it resizes by pixel areas
    other = copy.deepcopy(network)
    with PEERS[id_](other, [other.get_submodule(last_of(other))]) as peer:
        theirs = peer(images, [ClassifierOutputTarget(1)] * 2)
    shown = ~ours.flat[id_].numpy()
    assert shown.any()
    np.testing.assert_allclose(ours[id_].numpy()[shown], theirs[shown], atol=0.02)


@pytest.mark.parametrize(
    ("id_", "peer"),
    [("grad_cam", torchcam.GradCAM), ("xgrad_cam", torchcam.XGradCAM), ("layer_cam", torchcam.LayerCAM)],
)
def test_torch_cam_agrees(id_: str, peer: Any):
    network = resnet18()
    torch.manual_seed(51)
    images = torch.randn(1, 3, 96, 128)
    ours = cxrlens.explain(network, images, methods=id_, target=1, layers="layer4.1")
    _, captured = capture(network, images, ["layer4.1"], 1)
    raw = METHODS[id_].function(captured["layer4.1"])[0]
    assert not ours.flat[id_].any()
    other = copy.deepcopy(network)
    with peer(other, target_layer="layer4.1") as extractor:
        (theirs,) = extractor(1, other(images.clone().requires_grad_()))
    scaled = (raw - raw.min()) / (raw.max() - raw.min())
    torch.testing.assert_close(scaled, theirs[0].detach().float(), rtol=0, atol=1e-3)


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Module, list[str]]:
    """A random small CNN, and the names of its modules that can be explained."""
    channels = draw(st.lists(st.integers(2, 6), min_size=1, max_size=4))
    modules: list[nn.Module] = []
    before = 3
    for count in channels:
        modules.append(
            nn.Conv2d(before, count, draw(st.sampled_from((1, 3))), stride=draw(st.integers(1, 2)), padding=1)
        )
        if draw(st.booleans()):
            modules.append(nn.BatchNorm2d(count))
        modules.append(draw(st.sampled_from((nn.ReLU(inplace=True), nn.SiLU(inplace=True), nn.Tanh(), nn.ReLU()))))
        before = count
    network = nn.Sequential(nn.Sequential(*modules), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 3))
    torch.manual_seed(draw(st.integers(0, 2**31)))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.2, 3)
            nn.init.normal_(module.weight)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=0.5)
    names = [f"0.{index}" for index in range(len(modules))]
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    return network.eval(), chosen


def cut(network: nn.Module, images: Tensor, name: str, target: int) -> Captured:
    """Activation and gradient by taking the network apart behind the named module."""
    index = int(name.split(".")[1]) + 1
    body = network[0]
    with torch.no_grad():
        activation = images.clone()
        for module in body[:index]:
            activation = module(activation)
        activation = activation.clone()
    leaf = activation.clone().requires_grad_()
    after = leaf.clone()
    for module in body[index:]:
        after = module(after)
    (gradient,) = torch.autograd.grad(network[1:](after)[:, target].sum(), leaf)
    return Captured(activation, gradient)


@settings(max_examples=40, deadline=None)
@given(networks(), st.integers(9, 20), st.integers(9, 20), st.integers(0, 2), st.booleans())
def test_random_networks_equal_autograd_on_the_cut_network(built, height: int, width: int, target: int, frozen: bool):
    network, names = built
    network.requires_grad_(not frozen)
    images = torch.randn(2, 3, height, width)
    for layers in (names, names[:1], names[:1]):  # the second single layer may be in closed form
        _, captured = capture(network, images, layers, target)
        for name in layers:
            expected = cut(network, images, name, target)
            rounding = 1e-5 * max(float(expected.gradient.abs().max()), 1e-30)
            torch.testing.assert_close(captured[name].activation, expected.activation, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(captured[name].gradient, expected.gradient, rtol=1e-4, atol=rounding)


ASKED = [*PLACED, "normgrad_bias", "gradient", "input_x_gradient"]


@settings(max_examples=30, deadline=None)
@given(networks(), st.integers(9, 20), st.integers(9, 20), st.permutations(ASKED), st.sampled_from((None, 1.0)))
def test_random_networks_have_the_same_maps_alone_and_in_any_order(
    built, height: int, width: int, order: list[str], smooth: float | None
):
    """In float64, so that what a scaled map is stretched from is far above rounding."""
    network, layers = built
    images = torch.randn(3, 3, height, width, dtype=torch.float64)
    options: dict[str, Any] = {"layers": layers, "smooth": smooth, "target": torch.tensor([2, 0, 1])}
    found = cxrlens.explain(network.double(), images, methods=ASKED, **options)
    other = cxrlens.explain(network, images, methods=order, **options)
    assert list(other) == order
    for id_ in ASKED:
        assert torch.equal(other[id_], found[id_]), id_
        assert found[id_].shape == (3, height, width)
        assert torch.equal(found[id_].amin((1, 2)), torch.zeros(3)), id_
        assert torch.equal(found[id_].amax((1, 2)), (~found.flat[id_]).float()), id_
    for index, target in enumerate((2, 0, 1)):
        alone = cxrlens.explain(network, images[index : index + 1], methods=ASKED, **{**options, "target": target})
        for id_ in ASKED:
            assert alone.flat[id_].tolist() == [bool(found.flat[id_][index])], id_
            torch.testing.assert_close(alone[id_][0], found[id_][index], rtol=0, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(networks(), st.integers(9, 20), st.integers(9, 20), st.sampled_from(("affected", "predicted", 0, 1)))
def test_random_networks_with_one_and_two_logits_have_the_same_maps(built, height: int, width: int, target: Any):
    """z alone, and (-z/2, z/2)."""
    two, layers = built
    rows = two[3].weight.detach()[:1] / 2, two[3].bias.detach()[:1] / 2
    two[3].weight, two[3].bias = (nn.Parameter(torch.cat([-row, row])) for row in rows)
    one = copy.deepcopy(two)
    one[3].weight, one[3].bias = (nn.Parameter(2 * row) for row in rows)
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    options: dict[str, Any] = {"methods": ASKED, "layers": layers, "target": target}
    for _ in range(2):  # the second time, a single last layer is in closed form
        first, second = (cxrlens.explain(network.double(), images, **options) for network in (one, two))
        torch.testing.assert_close(first.logits, second.logits)
        for id_ in ASKED:
            assert torch.equal(first.flat[id_], second.flat[id_]), id_
            torch.testing.assert_close(first[id_], second[id_], rtol=0, atol=1e-3)


@pytest.mark.parametrize("build", [resnet18, efficientnet_b0])
@pytest.mark.parametrize(("row", "column"), [(40, 150), (100, 60), (70, 200)])
def test_a_planted_object_is_found_within_a_stride(build: Any, row: int, column: int):
    """A random-feature network on a dark picture with one textured spot off the diagonal: no layer's map is shifted."""
    network = build()
    torch.manual_seed(52)
    rows, columns = torch.arange(160)[:, None], torch.arange(256)
    spot = torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 5.0**2))
    images = 6 * (spot * torch.randn(160, 256)).expand(1, 3, 160, 256).contiguous()
    layers = {"layer2.0": 8, "layer3.0": 16} if hasattr(network, "layer4") else {"features.2.0": 4, "features.4.0": 16}
    with torch.no_grad():  # what the empty picture gives is taken away, so that only the object counts
        empty = {}
        for layer in layers:
            empty[layer] = capture(network, torch.zeros_like(images), [layer], 1)[1][layer].activation
    for layer, stride in layers.items():
        _, captured = capture(network, images, [layer], 1)
        pair = captured[layer]
        seen = Captured(pair.activation - empty[layer], pair.gradient)
        for id_ in ("normgrad_scaling", "normgrad_conv1x1", "normgrad_conv3x3"):
            full = nn.functional.interpolate(METHODS[id_].function(seen)[:, None], (160, 256), mode="bilinear")[0, 0]
            found = divmod(int(full.argmax()), 256)
            assert abs(found[0] - row) <= stride + 4, (layer, id_)
            assert abs(found[1] - column) <= stride + 4, (layer, id_)


def test_autocast_maps_stay_close_to_float32():
    network = resnet18()
    torch.manual_seed(53)
    images = torch.randn(2, 3, 64, 96)
    usual = cxrlens.explain(network, images, methods=PLACED, layers="combined")
    with torch.autocast("cpu", torch.bfloat16):
        half = cxrlens.explain(network, images, methods=PLACED, layers="combined")
    for id_ in ("normgrad_scaling", "normgrad_conv1x1", "normgrad_conv3x3"):
        assert np.corrcoef(half[id_].flatten(), usual[id_].flatten())[0, 1] > 0.98
