"""Lean convolutions and batch norms against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from cxrlens.saliency.input_gradients import InputGradients


def gradient_of(module: nn.Module, images: Tensor, lean: bool) -> tuple[Tensor, Tensor]:
    """Output, and the gradient of a fixed random sum of it with respect to the images."""
    leaf = images.clone(memory_format=torch.preserve_format).requires_grad_()
    if lean:
        with InputGradients():
            out = module(leaf)
    else:
        out = module(leaf)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    (gradient,) = torch.autograd.grad((out * weights).sum(), leaf)
    return out.detach(), gradient


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (3, 5), "padding": (1, 0), "stride": (2, 1)},
        {"kernel_size": 3, "groups": 6, "stride": 2},
        {"kernel_size": 1, "bias": False},
        {"kernel_size": 3, "dilation": 2, "padding": "same"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    ],
    ids=str,
)
def test_convolutions_have_the_same_values_and_input_gradients(settings: dict, layout: torch.memory_format):
    torch.manual_seed(3)
    convolution = nn.Conv2d(6, 12, **settings).to(memory_format=layout)
    images = torch.randn(2, 6, 11, 14).to(memory_format=layout)
    plain, lean = gradient_of(convolution, images, False), gradient_of(convolution, images, True)
    torch.testing.assert_close(lean[0], plain[0], rtol=0, atol=0)
    torch.testing.assert_close(lean[1], plain[1])


def test_an_input_without_a_batch_is_left_to_torch():
    convolution = nn.Conv2d(2, 3, 3)
    image = torch.randn(2, 8, 9)
    torch.testing.assert_close(gradient_of(convolution, image, True)[1], gradient_of(convolution, image, False)[1])


def test_convolutions_under_autocast():
    torch.manual_seed(4)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3, bias=False))
    images = torch.randn(2, 3, 9, 12)
    with torch.autocast("cpu", torch.bfloat16):
        plain, lean = gradient_of(network, images, False), gradient_of(network, images, True)
    assert lean[1].dtype == torch.float32
    torch.testing.assert_close(lean[0], plain[0], rtol=0, atol=0)
    torch.testing.assert_close(lean[1], plain[1], rtol=2e-2, atol=2e-2)


def test_a_kernel_that_depends_on_the_input_keeps_that_path():
    """A dynamic convolution: the gradient through its computed kernel must not be lost."""

    class Dynamic(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return functional.conv2d(images, images.mean((0, 2, 3)).view(1, -1, 1, 1) * torch.ones(2, 3, 3, 3))

    images = torch.rand(2, 3, 8, 9)
    torch.testing.assert_close(gradient_of(Dynamic(), images, True)[1], gradient_of(Dynamic(), images, False)[1])


def test_parametrised_kernels_have_the_same_input_gradients():
    torch.manual_seed(5)
    convolution = parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    images = torch.randn(2, 3, 8, 9)
    torch.testing.assert_close(gradient_of(convolution, images, True)[1], gradient_of(convolution, images, False)[1])


def test_nothing_of_the_input_is_kept():
    convolution, images = nn.Conv2d(3, 4, 3), torch.randn(2, 3, 8, 9)
    kept: list[torch.Size] = []
    with (
        InputGradients(),
        torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.shape) or tensor, lambda t: t),
    ):
        convolution(images.requires_grad_())
    assert kept == [convolution.weight.shape]


def test_convolutions_without_a_graph_are_left_alone():
    with InputGradients(), torch.no_grad():
        assert nn.Conv2d(3, 4, 3)(torch.randn(1, 3, 8, 9, requires_grad=True)).grad_fn is None


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("double", [False, True])
def test_batch_norms_have_the_same_values_and_input_gradients(affine: bool, double: bool):
    torch.manual_seed(23)
    norm = nn.BatchNorm2d(5, affine=affine)
    with torch.no_grad():
        norm(3 + 2 * torch.randn(8, 5, 4, 6))
        if affine:
            norm.weight.normal_()
            norm.bias.normal_()
    norm.eval().to(torch.float64 if double else torch.float32)
    images = torch.randn(2, 5, 4, 7, dtype=norm.running_mean.dtype)
    weights = torch.randn_like(images)
    found = []
    for lean in (False, True):
        leaf = images.clone().requires_grad_()
        if lean:
            with InputGradients():
                out = norm(leaf)
        else:
            out = norm(leaf)
        (gradient,) = torch.autograd.grad((out * weights).sum(), leaf)
        found.append((out.detach(), gradient))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=0)
    torch.testing.assert_close(found[0][1], found[1][1])


def test_batch_norms_leave_training_and_passes_without_a_graph_alone():
    norm = nn.BatchNorm2d(3)
    leaf = torch.randn(4, 3, 5, 6, requires_grad=True)
    with InputGradients():
        norm(leaf).square().sum().backward()
        assert norm.weight.grad is not None  # training mode: torch's own
        norm.eval()
        with torch.no_grad():
            assert norm(leaf).grad_fn is None
