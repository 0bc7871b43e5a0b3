"""Each method against autograd through a real virtual layer, against captum, and against its known properties."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import LAYER_METHODS, Tiny, efficientnet_b0, head, plain_autograd, resnet18, run
from torch import Tensor, nn
from torch.nn import functional

from cxrlens.errors import UsageError
from cxrlens.saliency.capture import Captured, capture
from cxrlens.saliency.methods import METHODS, find_method

NORMGRAD = ("normgrad_scaling", "normgrad_conv1x1", "normgrad_conv3x3")
NORMS = [id_ for id_ in LAYER_METHODS if id_.startswith("normgrad")]
MAGNITUDES = (1.0, 1e-15, 1e-18)


def per_location_gradient_norms(network: Tiny, images: Tensor, index: int, id_: str, target: int) -> Tensor:
    """Norm of the gradient of each location's own weights in a virtual identity layer behind a module."""
    with torch.no_grad():
        activation = run(network.features[: index + 1], images)
    n, c, h, w = activation.shape
    channels = torch.arange(c)
    if id_ == "normgrad_scaling":
        weight = activation.new_ones(n, h, w, c, requires_grad=True)
        after = torch.einsum("nhwc,nchw->nchw", weight, activation)
    elif id_ == "normgrad_conv1x1":
        weight = torch.eye(c, dtype=activation.dtype).repeat(n, h, w, 1, 1).requires_grad_()
        after = torch.einsum("nhwoi,nihw->nohw", weight, activation)
    else:
        weight = activation.new_zeros(n, h, w, c, c, 9)
        weight[..., channels, channels, 4] = 1  # the centre tap
        weight.requires_grad_()
        columns = functional.unfold(activation, 3, padding=1).view(n, c, 9, h, w)
        after = torch.einsum("nhwoik,nikhw->nohw", weight, columns)
    assert torch.allclose(after, activation)  # it is an identity layer
    score = head(network, run(network.features[index + 1 :], after))[:, target].sum()
    (gradient,) = torch.autograd.grad(score, weight)
    return gradient.flatten(3).norm(dim=3)


@pytest.mark.parametrize("index", [0, 1, 2, 3])
@pytest.mark.parametrize("id_", NORMGRAD)
def test_normgrad_is_the_gradient_norm_of_a_virtual_identity_layer(id_: str, index: int):
    network = Tiny(seed=3).double()
    images = torch.rand(2, 3, 22, 34, dtype=torch.float64)
    expected = per_location_gradient_norms(network, images, index, id_, target=1)
    map_ = METHODS[id_].function(Captured(*plain_autograd(network, images, target=1)[index]))
    assert map_.shape == expected.shape
    assert expected.max() > 0
    torch.testing.assert_close(map_, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("id_", NORMGRAD)
def test_normgrad_from_a_float32_capture(id_: str):
    network = Tiny(seed=4)
    images = torch.rand(2, 3, 22, 34)
    expected = per_location_gradient_norms(network, images, 0, id_, target=0)
    _, captured = capture(network, images, ["features.0"], 0)
    pair = captured["features.0"]
    torch.testing.assert_close(METHODS[id_].function(pair), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("build", "layers", "size"),
    [
        (Tiny, ["features.0", "features.2"], (22, 34)),
        (resnet18, ["layer2.0", "layer4.1"], (64, 96)),
        (efficientnet_b0, ["features.4.0", "features.8.2"], (96, 64)),
    ],
)
@pytest.mark.parametrize("target", [0, 1])
def test_grad_cam_equals_captum(build, layers: list[str], size: tuple[int, int], target: int):
    network = build()
    torch.manual_seed(5)
    images = torch.rand(2, 3, *size)
    _, captured = capture(network, images, layers, target)
    seen = 0.0
    for name in layers:
        other = copy.deepcopy(network)
        oracle = LayerGradCam(other, other.get_submodule(name))
        expected = oracle.attribute(images, target=target, relu_attributions=True)[:, 0].detach()
        pair = captured[name]
        map_ = METHODS["grad_cam"].function(pair)
        torch.testing.assert_close(map_, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))
        seen = max(seen, float(expected.max()))
    assert seen > 0


def naive(id_: str, activation: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The formulas location by location, in float64."""
    a, g = activation.astype(np.float64), gradient.astype(np.float64)
    n, _, h, w = a.shape
    padded = np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros((n, h, w))
    for i, row, column in np.ndindex(n, h, w):
        a_u, g_u = a[i, :, row, column], g[i, :, row, column]
        if id_ == "grad_cam":
            out[i, row, column] = max(0.0, float(g[i].mean((1, 2)) @ a_u))
        elif id_ == "grad_cam_plus_plus":
            weight = np.zeros(len(a_u))
            for k, v in np.ndindex(len(a_u), h * w):
                slope = g[i, k].ravel()[v]
                if slope > 0:
                    weight[k] += slope * slope**2 / (2 * slope**2 + a[i, k].sum() * slope**3)
            out[i, row, column] = max(0.0, float(weight @ a_u))
        elif id_ == "xgrad_cam":
            weight = (a[i] * g[i]).sum((1, 2)) / a[i].sum((1, 2))
            out[i, row, column] = max(0.0, float(weight @ a_u))
        elif id_ == "hires_cam":
            out[i, row, column] = max(0.0, float(g_u @ a_u))
        elif id_ == "layer_cam":
            out[i, row, column] = max(0.0, float(np.maximum(g_u, 0) @ a_u))
        elif id_ == "linear_approximation":
            out[i, row, column] = float(g_u @ a_u)
        elif id_ == "normgrad_bias":
            out[i, row, column] = np.linalg.norm(g_u)
        elif id_ == "normgrad_selective":
            out[i, row, column] = np.linalg.norm([x * y for x, y in zip(a_u, g_u, strict=True) if x * y > 0])
        elif id_ == "normgrad_scaling":
            out[i, row, column] = np.linalg.norm(a_u * g_u)
        elif id_ == "normgrad_conv1x1":
            out[i, row, column] = np.linalg.norm(np.outer(g_u, a_u))
        else:
            patch = padded[i, :, row : row + 3, column : column + 3].ravel()
            out[i, row, column] = np.linalg.norm(np.outer(g_u, patch))
    return out


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(LAYER_METHODS),
    st.tuples(*[st.integers(1, 5)] * 4),
    st.sampled_from(MAGNITUDES),
    st.sampled_from(MAGNITUDES),
    st.integers(0, 2**31),
)
def test_methods_equal_their_formula_at_any_magnitude(id_, shape, activation_size, gradient_size, seed):
    rng = np.random.default_rng(seed)
    activation = (activation_size * rng.normal(size=shape)).astype(np.float32)
    if id_ in ("xgrad_cam", "grad_cam_plus_plus"):  # they divide by sums over a channel, here as behind a ReLU
        activation = np.abs(activation)
    gradient = (gradient_size * rng.normal(size=shape)).astype(np.float32)
    expected = naive(id_, activation, gradient)
    map_ = METHODS[id_].function(Captured(torch.from_numpy(activation), torch.from_numpy(gradient))).numpy()
    size = gradient_size if id_ == "normgrad_bias" else activation_size * gradient_size
    np.testing.assert_allclose(map_, expected, rtol=1e-4, atol=1e-5 * max(size, float(np.abs(expected).max())))


@pytest.mark.parametrize("id_", NORMS)
def test_a_gradient_of_1e_25_gives_the_same_map_as_one_of_1(id_: str):
    torch.manual_seed(0)
    activation, gradient = torch.rand(2, 7, 4, 6), torch.randn(2, 7, 4, 6)
    tiny = 2.0**-83
    found = METHODS[id_].function(Captured(activation, tiny * gradient)) / tiny
    assert torch.equal(found, METHODS[id_].function(Captured(activation, gradient)))


def test_images_do_not_influence_each_other():
    torch.manual_seed(0)
    activation, gradient = torch.randn(3, 7, 4, 6), torch.randn(3, 7, 4, 6)
    activation[1] *= 1e20
    gradient[2] *= 1e-20
    for id_ in LAYER_METHODS:
        function = METHODS[id_].function
        together = function(Captured(activation, gradient))
        alone = [function(Captured(activation[i : i + 1], gradient[i : i + 1]))[0] for i in range(3)]
        torch.testing.assert_close(together, torch.stack(alone), rtol=1e-6, atol=0)


@pytest.mark.parametrize("id_", LAYER_METHODS)
def test_zero_and_non_finite_input_shows_in_the_map(id_: str):
    gradient = torch.ones(1, 3, 4, 5)
    zero = METHODS[id_].function(Captured(torch.zeros(1, 3, 4, 5), gradient))
    assert zero.any() == (id_ == "normgrad_bias")
    broken = torch.ones(1, 3, 4, 5)
    broken[0, 1, 2, 3] = torch.nan
    pair = Captured(gradient, broken) if id_ == "normgrad_bias" else Captured(broken, gradient)
    assert not METHODS[id_].function(pair).isfinite().all()


@pytest.mark.parametrize(
    ("build", "layer", "linear"),
    [
        (Tiny, "features.3", "head"),
        (resnet18, "layer4.1", "fc"),
        (efficientnet_b0, "features.8.2", "classifier.1"),
    ],
)
def test_last_layer_facts(build, layer: str, linear: str):
    """Before average pooling and a linear head the gradient is the head's weight over the number of locations."""
    network: nn.Module = build()
    torch.manual_seed(6)
    images = torch.rand(2, 3, 64, 96)
    maps: dict[int, dict[str, Tensor]] = {}
    for target in (0, 1):
        _, captured = capture(network, images, [layer], target)
        gradient = captured[layer].gradient
        h, w = gradient.shape[2:]
        assert h != w
        weight = network.get_submodule(linear).weight[target]
        expected = (weight / (h * w))[None, :, None, None].expand_as(gradient)
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-9)
        raw = {id_: METHODS[id_].function(captured[layer]) for id_ in LAYER_METHODS}
        for id_ in ("xgrad_cam", "hires_cam"):  # with one gradient everywhere they are Grad-CAM
            torch.testing.assert_close(raw[id_], raw["grad_cam"], rtol=1e-3, atol=1e-4 * float(raw["grad_cam"].max()))
        assert float(np.ptp(raw["normgrad_bias"].numpy())) == 0  # no map
        maps[target] = {id_: map_ / map_.amax((1, 2), keepdim=True) for id_, map_ in raw.items()}
    for id_ in ("normgrad_conv1x1", "normgrad_conv3x3"):
        torch.testing.assert_close(maps[0][id_], maps[1][id_], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(maps[0]["normgrad_scaling"], maps[1]["normgrad_scaling"], atol=1e-2)


def test_an_unknown_method_names_near_ones():
    with pytest.raises(UsageError, match="normgrad_conv1x1"):
        find_method("NormGrad-conv1x1x")
