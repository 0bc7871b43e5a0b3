"""timm's and torchvision's networks: found by name, built for a size of images, saved and found again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cxrlens.errors import UsageError
from cxrlens.evaluation.randomisation import cascade, stages
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.architecture import Architecture
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import load_model, save_model
from cxrlens.models.registry import build_network, file_name_of, find_architecture

timm = pytest.importorskip("timm")

NETWORKS = {
    "torchvision:densenet121": "classifier",
    "torchvision:mobilenet_v3_small": "classifier.3",
    "torchvision:squeezenet1_1": "classifier.1",
    "timm:test_convnext": "head.fc",
    "timm:test_vit": "head",
    "timm:swin_tiny_patch4_window7_224": "head.fc",
}
"""The head of each."""


@pytest.mark.parametrize("name", list(NETWORKS))
def test_each_gives_two_logits_is_saved_and_found_again(name: str, tmp_path: Path):
    torch.manual_seed(0)
    size = (96, 64)
    network = build_network(name, size=size).eval()
    images = torch.rand(2, 3, *size)
    with torch.no_grad():
        logits = network(images)
    assert logits.shape == (2, 2)
    architecture = find_architecture(name)
    assert set(architecture.head_tensors) == {f"{NETWORKS[name]}.weight", f"{NETWORKS[name]}.bias"}
    assert architecture.classes_of(network) == 2
    preprocessing = Preprocessing(height=size[0], width=size[1])
    save_model(tmp_path / "model.safetensors", network, ModelCard(architecture=name, preprocessing=preprocessing))
    state = torch.get_rng_state()
    loaded, card = load_model(tmp_path / "model.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    assert card.architecture == name
    assert not loaded.training
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), logits, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("timm:restnet34", "timm:resnet34"),
        ("timm:vit_tiny_patch16", "timm:vit_tiny_patch16_224"),
        ("timm:hf-hub:owner/name", "has no network 'hf-hub:owner/name'"),
        ("timm:resnet18.a1_in1k", "give timm:resnet18 as the architecture and `weights=timm:resnet18.a1_in1k`"),
        ("torchvision:densnet121", "torchvision:densenet121"),
        ("torchvision:fasterrcnn_resnet50_fpn", "no classification network"),
        ("densenet121", "torchvision:densenet121"),
        ("resnet43", "resnet34"),
    ],
)
def test_unknown_names_are_refused_with_near_ones(name: str, told: str):
    with pytest.raises(UsageError) as caught:
        find_architecture(name)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_file_of_a_network_that_is_not_there_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    network = build_network("timm:test_resnet")
    preprocessing = Preprocessing(height=64, width=64)
    path = tmp_path / "model.safetensors"
    save_model(path, network, ModelCard(architecture="timm:gone_net", preprocessing=preprocessing))
    with pytest.raises(UsageError, match=r"model.safetensors: timm \S+ has no network 'gone_net'.*update timm"):
        load_model(path)
    save_model(path, network, ModelCard(architecture="timm:test_nfnet", preprocessing=preprocessing))
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"model.safetensors: .*pip install 'cxrlens\[timm\]'"):
        load_model(path)


@pytest.mark.parametrize(
    ("name", "size", "told"),
    [
        ("torchvision:vit_b_16", (100, 100), "100 x 100 px"),
        ("torchvision:vit_b_16", (64, 96), "it takes squares"),
        ("timm:test_maxvit", (100, 100), "100 x 100 px"),
        ("torchvision:inception_v3", (64, 64), "64 x 64 px"),
    ],
)
def test_a_size_that_a_network_does_not_take_is_named_with_one_that_it_does(
    name: str, size: tuple[int, int], told: str
):
    with torch.device("meta") if "vit_b" in name else torch.random.fork_rng(devices=[]), pytest.raises(UsageError) as e:
        build_network(name, size=size)
    made_for = find_architecture(name).image_size[0]
    assert told in str(e.value)
    assert f"`image_size={made_for}`" in str(e.value)


def test_networks_of_one_size_are_built_for_that_of_the_images():
    for name, size in (("timm:vit_tiny_patch16_224", (96, 64)), ("timm:test_maxvit", (64, 64))):
        network = build_network(name, size=size).eval()
        with torch.no_grad():
            assert network(torch.rand(1, 3, *size)).shape == (1, 2)


class Odd(nn.Module):
    """Gives no logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, classes, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.convolution(images)


def test_a_network_that_gives_no_logits_is_refused():
    odd = Architecture("odd", Odd)
    with pytest.raises(UsageError, match=r"odd gives \[1, 2, 62, 94\] for one image, not the logits \[1, 2\]"):
        odd.check(odd.make(2), (64, 96), 2)
    assert odd.head_tensors == {"convolution.weight": 0, "convolution.bias": 0}


def test_names_of_files_hold_no_colon():
    assert file_name_of("timm:vit_tiny_patch16_224") == "timm-vit_tiny_patch16_224"
    assert file_name_of("resnet34") == "resnet34"


def test_a_cascade_goes_block_by_block_and_leaves_no_weight_behind():
    network = build_network("timm:test_vit", size=(64, 96)).eval()
    names = stages(network)
    assert names[0] == "head"
    assert [name for name in names if name.startswith("blocks.")] == [f"blocks.{i}" for i in range(5, -1, -1)]
    assert {"cls_token", "pos_embed"} <= set(names)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 + 0.01 * torch.rand_like(parameter)
    trained = {key: value.clone() for key, value in network.named_parameters()}
    *_, (_, end) = cascade(network, "timm:test_vit", seed=1, size=(64, 96))
    assert not [key for key, value in end.named_parameters() if torch.equal(value, trained[key])]
