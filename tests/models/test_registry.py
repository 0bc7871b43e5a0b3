"""The architectures: two logits, named parts that exist, and weights that are taken or refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cxrlens.errors import UsageError
from cxrlens.models.registry import ARCHITECTURES, build_network, find_architecture, stages_of


def first_block(network: nn.Module) -> Tensor:
    return next(network.parameters()).detach()


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_each_architecture_gives_two_logits(name: str):
    network = build_network(name).eval()
    with torch.no_grad():
        logits = network(torch.rand(2, 3, 64, 96))
    assert logits.shape == (2, 2)
    assert logits.isfinite().all()
    head = network.get_submodule(ARCHITECTURES[name].head)
    assert isinstance(head, nn.Linear)
    assert head.out_features == 2
    stages = stages_of(network)
    assert stages is not None
    for layer in (stages.last, *stages.combined):
        network.get_submodule(layer)


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_the_imagenet_weights_named_are_of_the_same_architecture(name: str):
    weights = ARCHITECTURES[name].weights
    assert weights.url.split("/")[-1].startswith(name)
    assert len(weights.meta["categories"]) == 1000


def test_an_unknown_architecture_names_near_ones():
    with pytest.raises(UsageError, match="efficientnet_b0"):
        find_architecture("EfficientNet-B1")
    with pytest.raises(UsageError, match="resnet34"):
        build_network("resnet43")


def test_other_networks_have_no_known_stages():
    assert stages_of(nn.Sequential(nn.Conv2d(3, 2, 1))) is None


@pytest.fixture
def source() -> nn.Module:
    torch.manual_seed(1)
    return ARCHITECTURES["resnet18"].build(1000)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_weights_of_a_file_are_taken_and_a_head_of_1000_classes_is_left_random(
    source: nn.Module, suffix: str, tmp_path: Path
):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(source.state_dict(), path)
    else:
        torch.save({"state_dict": source.state_dict()} if suffix == ".pth" else source.state_dict(), path)
    heads = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = build_network("resnet18", weights=str(path))
        given = source.state_dict()
        for key, value in network.state_dict().items():
            if not key.startswith("fc."):
                assert torch.equal(value, given[key]), key
        heads.append(network.get_submodule("fc").weight)
    assert heads[0].shape == (2, 512)
    assert not torch.equal(heads[0], heads[1])


def test_a_head_of_the_same_size_is_taken_too(tmp_path: Path):
    source = build_network("efficientnet_b0")
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    network = build_network("efficientnet_b0", weights=str(tmp_path / "weights.pt"))
    for key, value in network.state_dict().items():
        assert torch.equal(value, source.state_dict()[key]), key


def test_weights_without_head_or_batch_counters_are_taken(source: nn.Module, tmp_path: Path):
    state = {k: v for k, v in source.state_dict().items() if not k.startswith("fc.") and "num_batches" not in k}
    torch.save(state, tmp_path / "weights.pt")
    network = build_network("resnet18", weights=str(tmp_path / "weights.pt"))
    assert torch.equal(first_block(network), first_block(source))


@pytest.mark.parametrize(
    ("given", "asked"),
    [("resnet18", "resnet34"), ("resnet34", "resnet18"), ("resnet50", "resnet34"), ("resnet18", "efficientnet_b0")],
)
def test_weights_of_another_architecture_are_refused(given: str, asked: str, tmp_path: Path):
    path = tmp_path / "weights.pt"
    torch.save(ARCHITECTURES[given].build(1000).state_dict(), path)
    with pytest.raises(UsageError, match=asked) as caught:
        build_network(asked, weights=str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.pt", None),
        ("empty.pt", b""),
        ("text.pt", b"no weights\n"),
        ("text.safetensors", b"no weights\n"),
        ("empty.safetensors", b""),
        ("code.pt", pickle.dumps(Path("x"), protocol=2)),
    ],
)
def test_unreadable_weights_are_refused(name: str, content: bytes | None, tmp_path: Path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        build_network("resnet18", weights=str(path))
    assert str(path) in str(caught.value)


def test_a_file_cut_short_or_without_a_state_dict_is_refused(source: nn.Module, tmp_path: Path):
    torch.save(source.state_dict(), tmp_path / "whole.pt")
    content = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: len(content) // 2])
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "numbers.pt")
    for name in ("cut.pt", "list.pt", "numbers.pt"):
        with pytest.raises(UsageError, match=name):
            build_network("resnet18", weights=str(tmp_path / name))
