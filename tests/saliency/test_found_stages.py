"""Layers of foreign networks: found by a pass, with channels and tokens where they are, and their cells placed."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models as tv

from cxrlens.errors import UsageError
from cxrlens.models.registry import build_network
from cxrlens.saliency.capture import capture
from cxrlens.saliency.cells.grid import CellAxis, CellGrid
from cxrlens.saliency.cells.known import cell_grids
from cxrlens.saliency.cells.tracing import traced_grids
from cxrlens.saliency.explain import explain, resolve_layers
from cxrlens.saliency.joint_graph.map_graph import JointGraph
from cxrlens.saliency.stages import find_stages, map_sizes

timm = pytest.importorskip("timm")

SIZE = (64, 96)


def built(name: str, size: tuple[int, int] = SIZE) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_network(name, size=size).eval()


def first(output: Tensor) -> Tensor:
    return output


def last(output: Tensor) -> Tensor:
    return output.permute(0, 3, 1, 2)


def tokens(output: Tensor) -> Tensor:
    """Those behind the class token, patches of 16 pixels, row after row."""
    rows, columns = SIZE[0] // 16, SIZE[1] // 16
    return output[:, 1:].reshape(len(output), rows, columns, -1).permute(0, 3, 1, 2)


def by_hand(network: nn.Module, images: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """A layer's output and the gradient of logit 1 with respect to it, as they are."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()  # which in-place functions may change

    hook = network.get_submodule(layer).register_forward_hook(keep)
    score = network(images)[:, 1].sum()
    hook.remove()
    (gradient,) = torch.autograd.grad(score, kept)
    return kept[0].detach(), gradient


NETWORKS: dict[str, tuple[Callable[[Tensor], Tensor], str, tuple[str, ...]]] = {
    "torchvision:densenet121": (
        first,
        "features.norm5",
        ("features.transition1.conv", "features.transition2.conv", "features.transition3.conv", "features.norm5"),
    ),
    "torchvision:mobilenet_v3_small": (
        first,
        "features.12.2",
        ("features.1", "features.3", "features.8", "features.12.2"),
    ),
    "timm:test_resnet": (first, "layer4.0", ("layer1.0", "layer2.0", "layer3.0", "layer4.0")),
    "timm:test_convnext": (first, "stages.3", ("stages.0", "stages.1", "stages.2", "stages.3")),
    "timm:swin_tiny_patch4_window7_224": (last, "norm", ("layers.0", "layers.1", "layers.2", "norm")),
    "timm:vit_tiny_patch16_224": (tokens, "blocks.11.norm1", ("blocks.2", "blocks.5", "blocks.8", "blocks.11.norm1")),
}
"""The way of each to [N, C, h, w], and its layers."""


@pytest.fixture(scope="module", params=list(NETWORKS))
def foreign(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    return request.param, built(request.param)


def test_the_layers_are_found(foreign: tuple[str, nn.Module]):
    name, network = foreign
    _, end, combined = NETWORKS[name]
    shape = (3, *SIZE)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert resolve_layers(network, "last", shape) == [end]
    assert resolve_layers(network, "combined", shape) == list(combined)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_a_layers_pair_is_the_one_by_hand_whatever_its_layout(foreign: tuple[str, nn.Module]):
    name, network = foreign
    to_map, end, combined = NETWORKS[name]
    torch.manual_seed(1)
    images = torch.rand(2, 3, *SIZE)
    for layers in ([end], list(combined)):
        for _ in range(2):  # the second pass knows the layout, and whether the head is a pooled one
            _, captured = capture(network, images, layers, 1)
            for layer in layers:
                activation, gradient = map(to_map, by_hand(network, images, layer))
                torch.testing.assert_close(captured[layer].activation, activation)
                torch.testing.assert_close(captured[layer].gradient, gradient)
    assert map_sizes(network, (3, *SIZE), combined) == {
        layer: tuple(captured[layer].activation.shape[2:]) for layer in combined
    }


def test_a_map_is_the_one_by_hand(foreign: tuple[str, nn.Module]):
    name, network = foreign
    to_map, end, _ = NETWORKS[name]
    torch.manual_seed(2)
    images = torch.rand(1, 3, *SIZE)
    activation, gradient = map(to_map, by_hand(network, images, end))
    raw = torch.relu((gradient.mean((2, 3), keepdim=True) * activation).sum(1))
    right = functional.interpolate(raw[:, None], SIZE, mode="bilinear", align_corners=False)[0, 0]
    result = explain(network, images, methods="grad_cam", grid="areas", interpolation="bilinear")
    assert result.layers == (end,)
    if float(right.max()) > 0:
        found = result["grad_cam"][0]
        torch.testing.assert_close(found, (right - right.min()) / (right.max() - right.min()), atol=1e-4, rtol=0)
    else:
        assert result.flat["grad_cam"].all()


def test_cells_lie_in_the_middle_of_their_patches():
    network = built("timm:vit_tiny_patch16_224")
    grids = cell_grids_of(network, "blocks.0.norm1", "blocks.11.norm1")
    middle = CellAxis(Fraction(16), Fraction(15, 2))
    assert grids == {"blocks.0.norm1": CellGrid(middle, middle), "blocks.11.norm1": CellGrid(middle, middle)}
    patches = CellAxis(Fraction(4), Fraction(3, 2))
    assert cell_grids_of(built("timm:test_convnext"), "stages.0")["stages.0"] == CellGrid(patches, patches)


def cell_grids_of(network: nn.Module, *layers: str) -> dict[str, CellGrid | None]:
    images = torch.zeros(1, 3, *SIZE)
    capture(network, images, list(layers), 1)
    return cell_grids(network, images, list(layers))


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("timm:swin_tiny_patch4_window7_224", ("layers.0", "layers.1", "layers.2", "norm")),
        ("torchvision:swin_t", ("features.1.1", "features.3.1", "features.5.5", "permute")),
    ],
)
def test_the_cells_of_windows_lie_in_the_middle_of_their_patches(name: str, layers: tuple[str, ...]):
    """Windows are shifted, padded, cut out and put back; patches of 4 pixels are joined two by two."""
    network = built(name)
    images = torch.zeros(1, 3, *SIZE)
    grids = traced_grids(network, images, {layer: network.get_submodule(layer) for layer in layers})
    for layer, stride in zip(layers, (4, 8, 16, 32), strict=True):
        middle = CellAxis(Fraction(stride), Fraction(stride - 1, 2))
        assert grids[layer] == CellGrid(middle, middle)


SPOTS = [(0, 5), (3, 0), (1, 4), (2, 2)]
"""Rows and columns of patches of 16 pixels, none on the diagonal of the image but one."""


@pytest.mark.parametrize(
    ("name", "layer"),
    [("timm:vit_tiny_patch16_224", "blocks.0.norm1"), ("timm:swin_tiny_patch4_window7_224", "patch_embed")],
)
@pytest.mark.parametrize("spot", SPOTS)
def test_a_planted_spot_is_found_where_it_was_planted(name: str, layer: str, spot: tuple[int, int]):
    """Dark patches give tokens of 0, as nothing is added to them; so only the bright one's lights up."""
    network = built(name)
    with torch.no_grad():
        network.get_submodule("patch_embed.proj").bias.zero_()
        if isinstance(getattr(network, "pos_embed", None), nn.Parameter):
            network.pos_embed.zero_()
    top, left = 16 * spot[0], 16 * spot[1]
    images = torch.zeros(1, 3, *SIZE)
    images[..., top : top + 16, left : left + 16] = 1 + torch.rand(16, 16)
    result = explain(network, images, methods=["normgrad_conv1x1", "normgrad_scaling"], layers=layer)
    for map_ in result.values():
        row, column = divmod(int(map_[0].argmax()), SIZE[1])
        assert top <= row < top + 16
        assert left <= column < left + 16
        outside = map_[0].clone()
        outside[max(top - 16, 0) : top + 32, max(left - 16, 0) : left + 32] = 0
        assert float(outside.max()) < 0.2


def test_the_spot_of_torchvisions_vit():
    torch.manual_seed(0)
    network = tv.VisionTransformer(64, 16, 2, 2, 32, 32, num_classes=2).eval()
    nn.init.normal_(network.heads.head.weight)
    layer = "encoder.layers.encoder_layer_0.ln_1"
    with torch.no_grad():
        network.conv_proj.bias.zero_()
        network.encoder.pos_embedding.zero_()
    images = torch.zeros(1, 3, 64, 64)
    images[..., 16:32, 48:64] = torch.rand(3, 16, 16)
    assert resolve_layers(network, "last", (3, 64, 64)) == ["encoder.layers.encoder_layer_1.ln_1"]
    map_ = explain(network, images, methods="normgrad_conv1x1", layers=layer)["normgrad_conv1x1"][0]
    row, column = divmod(int(map_.argmax()), 64)
    assert 16 <= row < 32
    assert 48 <= column < 64


def test_what_the_class_token_does_not_read_is_no_last_layer():
    """The patches' part of the last block goes nowhere: a map there would be constant."""
    network = built("timm:vit_tiny_patch16_224")
    images = torch.rand(1, 3, *SIZE)
    assert explain(network, images, methods="normgrad_conv1x1", layers="blocks.11").flat["normgrad_conv1x1"].all()
    assert not explain(network, images, methods="normgrad_conv1x1").flat["normgrad_conv1x1"].any()
    pooled = timm.create_model("test_vit2", num_classes=2, img_size=SIZE, global_pool="avg").eval()
    end = find_stages(pooled, (3, *SIZE)).last
    assert not explain(pooled, images, methods="normgrad_conv1x1", layers=end).flat["normgrad_conv1x1"].any()


def test_zero_factors_of_a_fresh_network_hide_no_layer():
    torch.manual_seed(0)
    network = tv.resnet18(num_classes=2, zero_init_residual=True).eval()
    plain = nn.Sequential(*network.children())
    plain.insert(-1, nn.Flatten())
    plain.eval()
    stages = find_stages(plain, (3, *SIZE))
    assert stages.last == "7.1"
    assert stages.combined == ("4.1", "5.1", "6.1", "7.1")


class Flattened(nn.Module):
    """No map between image and logits."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 64 * 96, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))


def test_a_network_without_layers_names_the_option():
    with pytest.raises(UsageError, match=r"Flattened.*`layers=NAME`"):
        explain(Flattened().eval(), torch.rand(1, 3, *SIZE), methods="grad_cam")
    with pytest.raises(UsageError, match=r"cannot be found.*`layers=NAME`"):
        find_stages(Flattened().eval(), (3, 64, 64))


def test_a_network_whose_last_tokens_have_no_known_place_is_not_explained_at_an_earlier_layer():
    """A pooling vision transformer: its later tokens are of no convolution's map."""
    network = built("timm:pit_ti_224", (224, 224))
    with pytest.raises(UsageError, match=r"tokens whose places in the image are not known.*`layers=NAME`"):
        find_stages(network)
    assert explain(network, torch.rand(1, 3, 224, 224), methods="grad_cam", layers="patch_embed")["grad_cam"].any()


def test_as_many_channels_as_columns_are_told_apart_by_the_operations():
    """A ConvNeXt of 40 channels and 40 x 40 cells, whose last telling module works on the last dimension."""
    network = built("timm:convnext_atto", (160, 160))
    images = torch.rand(1, 3, 160, 160)
    activation, gradient = by_hand(network, images, "stages.0")
    assert activation.shape == (1, 40, 40, 40)
    _, captured = capture(network, images, ["stages.0"], 1)
    torch.testing.assert_close(captured["stages.0"].activation, activation)
    torch.testing.assert_close(captured["stages.0"].gradient, gradient)
    assert find_stages(network, (3, 160, 160)).combined[0] == "stages.0"


def small_swin() -> nn.Module:
    """Two stages, of windows of 5 x 5 cells, the second of each shifted; the maps are not whole numbers of windows."""
    kind = timm.models.swin_transformer.SwinTransformer
    return kind(img_size=SIZE, embed_dim=24, depths=(2, 2), num_heads=(2, 2), window_size=5, num_classes=2).eval()


GRAPHS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "DenseNet": (lambda: tv.DenseNet(8, (2, 2), 16, num_classes=2).eval(), ["features.transition1.conv"]),
    "ConvNeXt": (lambda: built("timm:test_convnext"), ["stages.2", "stages.3"]),
    "ViT": (lambda: built("timm:test_vit"), ["blocks.3", "blocks.5.norm1"]),
    "Swin": (small_swin, ["layers.0", "norm"]),
}


@pytest.mark.parametrize("kind", list(GRAPHS))
def test_a_graph_without_autograd_gives_the_same(kind: str):
    torch.manual_seed(3)
    build, layers = GRAPHS[kind]
    network = build()
    torch.manual_seed(4)
    images = torch.rand(2, 3, *SIZE)
    logits, expected = capture(network, images, layers, 1)
    graph = JointGraph(network, (3, *SIZE), layers, 1)
    found_logits, found = graph(images)
    torch.testing.assert_close(found_logits, logits, atol=1e-4, rtol=1e-4)
    for layer in layers:
        torch.testing.assert_close(found[layer].activation, expected[layer].activation, atol=1e-4, rtol=1e-3)
        largest = float(expected[layer].gradient.abs().max())
        torch.testing.assert_close(found[layer].gradient, expected[layer].gradient, atol=1e-4 * largest, rtol=1e-3)
