"""Layers that give [N, h, w, C], tokens, and networks of which parts run under torch.utils.checkpoint."""

from __future__ import annotations

import pytest
import torch
from tiny_networks import resnet18
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torchvision import models as tv

from cxrlens.errors import UsageError
from cxrlens.saliency.capture import capture
from cxrlens.saliency.explain import explain


@pytest.fixture(scope="module")
def swin() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return tv.swin_t(num_classes=2).eval()


def by_hand(network: nn.Module, images: Tensor, layer: str, order: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """A layer's activation and the gradient of logit 1, their dimensions put into an order."""
    kept = []
    hook = network.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    score = network(images)[:, 1].sum()
    hook.remove()
    (gradient,) = torch.autograd.grad(score, kept)
    return kept[0].detach().permute(order), gradient.permute(order)


CHANNELS_LAST = (0, 3, 1, 2)
AS_IT_IS = (0, 1, 2, 3)


@pytest.mark.parametrize("size", [(96, 64), (64, 64), (100, 70)])
@pytest.mark.parametrize(
    ("layer", "order"),
    [
        ("features.0", CHANNELS_LAST),
        ("features.0.0", AS_IT_IS),  # the convolution of the patches
        ("features.0.1", CHANNELS_LAST),  # a permutation behind it
        ("features.1", CHANNELS_LAST),
        ("features.1.0.attn", CHANNELS_LAST),
        ("features.1.0.mlp.1", CHANNELS_LAST),
        ("features.3.1", CHANNELS_LAST),
        ("features.7", CHANNELS_LAST),
        ("norm", CHANNELS_LAST),
        ("permute", AS_IT_IS),  # back again, behind a layer norm
    ],
)
def test_layers_of_a_swin_equal_the_permuted_ones(swin, layer: str, order: tuple[int, ...], size: tuple[int, int]):
    torch.manual_seed(1)
    images = torch.rand(2, 3, *size)
    activation, gradient = by_hand(swin, images, layer, order)
    _, captured = capture(swin, images, [layer], 1)
    torch.testing.assert_close(captured[layer].activation, activation)
    torch.testing.assert_close(captured[layer].gradient, gradient)


def test_the_map_of_a_swin_is_the_one_by_hand(swin: nn.Module):
    torch.manual_seed(0)
    images = torch.rand(1, 3, 224, 160)
    activation, gradient = by_hand(swin, images, "features.7", CHANNELS_LAST)
    assert activation.shape == (1, 768, 7, 5)
    raw = torch.relu((gradient.mean((2, 3), keepdim=True) * activation).sum(1))
    right = functional.interpolate(raw[:, None], images.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    for _ in range(2):  # the second pass knows the layout
        result = explain(swin, images, methods="grad_cam", layers="features.7", grid="areas", interpolation="bilinear")
        found = result["grad_cam"][0]
        assert int(found.argmax()) == int(right.argmax())
        torch.testing.assert_close(found, (right - right.min()) / (right.max() - right.min()), atol=1e-5, rtol=0)


def test_channels_that_are_moved_back_inside_the_layer():
    torch.manual_seed(0)
    network = tv.convnext_tiny(num_classes=2).eval()
    images = torch.rand(1, 3, 64, 96)
    for layer in ("features.1.0", "features.3", "features.7", "features.2.0"):
        activation, _ = by_hand(network, images, layer, AS_IT_IS)
        torch.testing.assert_close(capture(network, images, [layer], 1)[1][layer].activation, activation)


class Dense(nn.Module):
    """Joins the images of two convolutions, whose channels are as many as the map is wide."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 12, 1), nn.Conv2d(3, 12, 1)
        self.joined = nn.ReLU()
        self.head = nn.Linear(24, 2)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.joined(torch.cat([self.one(images), self.other(images)], 1)).mean((2, 3)))


@pytest.mark.parametrize("size", [(12, 12), (24, 12), (8, 12)])
def test_a_convolutional_map_whose_width_is_a_number_of_channels(size: tuple[int, int]):
    torch.manual_seed(0)
    _, captured = capture(Dense(), torch.rand(1, 3, *size), ["joined"], 1)
    assert captured["joined"].activation.shape == (1, 24, *size)


class Gated(nn.Module):
    """Linear over the last dimension of [N, h, w, C], with as many channels as there are rows."""

    def __init__(self, channels: int, shift: int = 0) -> None:
        super().__init__()
        self.shift = shift
        self.embed = nn.Conv2d(3, channels, 4, stride=4)
        self.mix = nn.Linear(channels, channels)
        self.head = nn.Linear(channels, 2)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        patches = self.embed(images)
        if self.shift:
            patches = patches.roll(self.shift, 2)  # rows and columns cannot be followed through it
        return self.head(self.mix(patches.permute(0, 2, 3, 1)).mean((1, 2)))


def test_a_layout_that_cannot_be_known_is_refused():
    torch.manual_seed(0)
    with pytest.raises(UsageError, match=r"'mix' gives \[1, 8, 8, 8\].*cannot be known"):
        capture(Gated(8, shift=3), torch.rand(1, 3, 32, 32), ["mix"], 1)


def test_a_layout_that_no_shape_tells_is_read_off_the_operations():
    torch.manual_seed(0)
    network = Gated(8)
    images = torch.rand(2, 3, 32, 32)
    activation, gradient = by_hand(network, images, "mix", CHANNELS_LAST)
    for _ in range(2):
        _, captured = capture(network, images, ["mix"], 1)
        torch.testing.assert_close(captured["mix"].activation, activation)
        torch.testing.assert_close(captured["mix"].gradient, gradient)


def test_a_layout_that_another_size_has_told_is_remembered():
    torch.manual_seed(0)
    network = Gated(8)
    images = torch.rand(1, 3, 32, 48)  # as [N, C, h, w] it would be 12 high and 8 wide, though the image is not
    activation, gradient = by_hand(network, images, "mix", CHANNELS_LAST)
    _, captured = capture(network, images, ["mix"], 1)
    torch.testing.assert_close(captured["mix"].activation, activation)
    torch.testing.assert_close(captured["mix"].gradient, gradient)


def test_tokens_behind_a_class_token_are_the_patches():
    torch.manual_seed(0)
    vit = tv.VisionTransformer(32, 8, 2, 2, 24, 24, num_classes=2).eval()
    nn.init.normal_(vit.heads.head.weight)
    images = torch.rand(2, 3, 32, 32)
    kept = []
    layer = "encoder.layers.encoder_layer_0"
    hook = vit.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    (gradient,) = torch.autograd.grad(vit(images)[:, 1].sum(), kept)
    hook.remove()
    _, captured = capture(vit, images, [layer], 1)
    for found, right in ((captured[layer].activation, kept[0]), (captured[layer].gradient, gradient)):
        torch.testing.assert_close(found, right[:, 1:].reshape(2, 4, 4, 24).permute(0, 3, 1, 2))
    assert float(gradient.abs().max()) > 0


class Prefixed(nn.Module):
    """Tokens of patches behind two that stand for no place."""

    def __init__(self, *, says: bool) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 5, 8, stride=8)
        self.norm = nn.LayerNorm(5)
        self.head = nn.Linear(5, 2)
        if says:
            self.num_prefix_tokens = 2
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        patches = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([torch.ones(len(images), 2, 5), patches], 1)
        return self.head(self.norm(tokens).square().mean(1))


def test_tokens_of_no_place_are_left_out_where_the_network_says_how_many():
    torch.manual_seed(0)
    images = torch.rand(2, 3, 32, 48)
    with pytest.raises(UsageError, match=r"'norm' gives no map.*tokens \[N, L, C\].*num_prefix_tokens"):
        capture(Prefixed(says=False), images, ["norm"], 1)
    network = Prefixed(says=True)
    _, captured = capture(network, images, ["norm"], 1)
    right = network.norm(network.embed(images).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(captured["norm"].activation, right)


def test_tokens_whose_places_cannot_be_known_are_refused():
    torch.manual_seed(0)
    vit = tv.VisionTransformer(32, 8, 1, 2, 16, 16, num_classes=2).eval()
    del vit.class_token  # as many tokens as channels
    vit.class_token = torch.zeros(1, 0, 16)
    vit.encoder.pos_embedding = nn.Parameter(torch.zeros(1, 16, 16))
    with pytest.raises(UsageError, match=r"'encoder' gives no map.*tokens \[N, L, C\]"):
        capture(vit, torch.rand(1, 3, 32, 32), ["encoder"], 1)


@pytest.mark.parametrize("layer", ["features.1", "features.7"])
def test_captum_is_not_given_channels_at_the_end(swin: nn.Module, layer: str):
    pytest.importorskip("captum")
    images = torch.rand(1, 3, 64, 64)
    with pytest.raises(UsageError, match=f"layer '{layer}' has its channels at the end"):
        explain(swin, images, methods="captum:LayerGradCam", layers=layer)
    assert explain(swin, images, methods="captum:LayerActivation", layers="permute")["captum:LayerActivation"].any()


class Checkpointed(nn.Module):
    """A ResNet whose third stage runs under `torch.utils.checkpoint`."""

    def __init__(self, network: tv.ResNet, *, use_reentrant: bool) -> None:
        super().__init__()
        self.plain, self.use_reentrant = network, use_reentrant
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        net = self.plain
        features = net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(images))))))
        features = checkpoint(net.layer3, features, use_reentrant=self.use_reentrant)
        return net.fc(net.avgpool(net.layer4(features)).flatten(1))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize(
    "layers",
    [["layer2.1"], ["layer3.0"], ["layer3.1"], ["layer4.1"], ["layer2.0", "layer3.0", "layer4.0"], ["conv1", "layer3"]],
)
@pytest.mark.parametrize("methods", [["grad_cam", "normgrad_conv1x1"], ["gradient", "guided_backprop"]])
def test_checkpointed_parts_give_the_plain_map_or_a_refusal(layers: list[str], methods: list[str], use_reentrant: bool):
    network = resnet18()
    torch.manual_seed(3)
    images = torch.rand(2, 3, 64, 96)
    expected = explain(network, images, methods=methods, layers=layers)
    wrapped = Checkpointed(network, use_reentrant=use_reentrant)
    taken, refusals = False, []
    for _ in range(2):
        try:
            found = explain(wrapped, images, methods=methods, layers=[f"plain.{layer}" for layer in layers])
        except UsageError as error:
            refusals.append(str(error))
            continue
        taken = True
        for method in methods:
            torch.testing.assert_close(found[method], expected[method], atol=1e-5, rtol=0)
    assert all("checkpoint" in text or "cuts the graph" in text for text in refusals)
    assert taken or use_reentrant or any(layer.startswith("layer3") for layer in layers)
    assert all(not module._forward_hooks for module in wrapped.modules())
