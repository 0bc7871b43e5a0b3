"""A textured patch in noise, found by random features of the two networks: no row of maps is shifted or turned.

Random 3 x 3 kernels smear an object over their whole field of view, and deep in the network over half the picture.
The kernels here fade from their centre, as trained ones do, so that a layer's response stays near the object.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from tiny_networks import lively
from torch import Tensor, nn
from torchvision import models as tv

import cxrlens

HEIGHT, WIDTH = 256, 416
PATCH = 32
STRIDE = 32  # of the last layer of both networks
SHIFT = (STRIDE - 1) / 2  # by which a resize by areas puts a cell, centred on pixel 32 i, too far right and down
FADING = 0.7  # sigma of the kernels, in taps
NORMGRADS = ("normgrad_scaling", "normgrad_conv1x1", "normgrad_conv3x3")
LAST = ("grad_cam", *NORMGRADS)
PLACES = [(96, 320), (192, 96), (70, 211), (133, 301), (45, 150), (211, 333)]  # (row, column): on the grid, and off it
SEEN_BEFORE = [(64, 64), (160, 240), (96, 352), (200, 130)]  # where the head learns what a patch looks like


def pictures(places: list[tuple[int, int] | None], seed: int) -> Tensor:
    """Faint noise, and a bright patch with one and the same texture centred on each place, [N, 3, H, W]."""
    texture = 1 + torch.randn(PATCH, PATCH, generator=torch.Generator().manual_seed(99))
    images = 0.1 * torch.randn(len(places), 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))
    for image, place in zip(images, places, strict=True):
        if place is not None:
            top, left = place[0] - PATCH // 2, place[1] - PATCH // 2
            image[0, top : top + PATCH, left : left + PATCH] += texture
    return images.expand(-1, 3, -1, -1).contiguous()


@cache
def subject(build: Callable[..., nn.Module]) -> nn.Module:
    """Random features, and a head whose rows are the difference that the patch makes to their means."""
    torch.manual_seed(1)
    network = lively(build(num_classes=2))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            taps = torch.arange(module.kernel_size[0]) - module.kernel_size[0] // 2
            fading = torch.exp(-(taps**2) / (2 * FADING**2))
            module.weight.data *= fading[:, None] * fading
    torch.manual_seed(2)
    network.train()  # batch norms see pictures of both kinds
    with torch.no_grad():
        network(pictures([*SEEN_BEFORE, None, None], seed=3))
    network.eval()
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    features: list[Tensor] = []
    handle = linear.register_forward_pre_hook(lambda _module, inputs: features.append(inputs[0].mean(0)))
    with torch.no_grad():
        for places in ([*SEEN_BEFORE], [None] * len(SEEN_BEFORE)):
            network(pictures(places, seed=4))
        handle.remove()
        row = features[0] - features[1]
        linear.weight.copy_(torch.stack([-row, row]))
        linear.bias.zero_()
    return network


@cache
def offsets(
    build: Callable[..., nn.Module], layers: str, methods: tuple[str, ...], **resize: str
) -> dict[str, list[tuple[int, int]]]:
    """By method and place: (row, column) of the map's peak less that of the patch's centre."""
    result = cxrlens.explain(subject(build), pictures([*PLACES], seed=5), methods=methods, layers=layers, **resize)
    found = {}
    for id_, maps in result.items():
        assert not result.flat[id_].any(), id_
        peaks = [divmod(int(map_.argmax()), WIDTH) for map_ in maps]
        found[id_] = [(peak[0] - row, peak[1] - column) for peak, (row, column) in zip(peaks, PLACES, strict=True)]
    return found


@pytest.mark.parametrize("build", [tv.resnet34, tv.efficientnet_b0])
def test_the_head_tells_a_patch_from_none(build: Any):
    with torch.no_grad():
        logits = subject(build)(pictures([*PLACES, *[None] * 4], seed=6))[:, 1]
    assert logits[: len(PLACES)].min() > logits[len(PLACES) :].max()


@pytest.mark.parametrize("build", [tv.resnet34, tv.efficientnet_b0])
def test_the_last_layers_peak_is_within_a_stride_of_the_patch(build: Any):
    for id_, places in offsets(build, "last", LAST).items():
        for place, offset in zip(PLACES, places, strict=True):
            assert all(abs(each) <= STRIDE for each in offset), (id_, place, offset)


@pytest.mark.parametrize("build", [tv.resnet34, tv.efficientnet_b0])
def test_the_published_resize_puts_the_last_layers_peak_half_a_cell_to_the_right_and_down(build: Any):
    for id_, places in offsets(build, "last", NORMGRADS, grid="areas", interpolation="bilinear").items():
        middle = [sum(offset[side] for offset in places) / len(places) for side in (0, 1)]
        assert all(SHIFT / 2 < each < 1.5 * SHIFT for each in middle), (id_, middle)
    for id_ in NORMGRADS:
        places = offsets(build, "last", LAST)[id_]
        middle = [sum(offset[side] for offset in places) / len(places) for side in (0, 1)]
        assert all(abs(each) < SHIFT / 3 for each in middle), (id_, middle)


@pytest.mark.parametrize("build", [tv.resnet34, tv.efficientnet_b0])
def test_the_combined_peak_is_in_the_patch(build: Any):
    """Fine layers hold the product inside the patch, up to the pixel beyond its edge.

    Grad-CAM, which the paper does not combine, is held to it for the ResNet alone: the mean gradient of an
    EfficientNet's first layers says little about places.
    """
    methods = ("grad_cam", *NORMGRADS) if build is tv.resnet34 else NORMGRADS
    for id_, places in offsets(build, "combined", methods).items():
        for place, offset in zip(PLACES, places, strict=True):
            assert all(abs(each) <= PATCH / 2 + 1 for each in offset), (id_, place, offset)
