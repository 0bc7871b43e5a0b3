"""The architectures: two logits, named parts that exist, and weights that are taken or refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

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


@pytest.fixture
def plain() -> nn.Module:
    torch.manual_seed(2)
    return ARCHITECTURES["resnet18"].build(2)


def renamed(network: nn.Module, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{key}": value for key, value in network.state_dict().items()}


WRAPPED = {
    "DataParallel": lambda net: nn.DataParallel(net).state_dict(),
    "a checkpoint of Lightning": lambda net: {"state_dict": renamed(net, "model."), "epoch": 3},
    "a run's own checkpoint": lambda net: {"state_dict": renamed(net, "network."), "epoch": 3, "loops": {}},
    "a compiled module": lambda net: renamed(net, "_orig_mod."),
    "compiled, in DataParallel, in a training module": lambda net: renamed(net, "model.module._orig_mod."),
    "one block compiled": lambda net: {
        key.replace("layer1.", "layer1._orig_mod."): value for key, value in net.state_dict().items()
    },
    "a dictionary of a training script": lambda net: {"model_state_dict": net.state_dict(), "optimizer": {"lr": 1}},
    "torchvision's training script": lambda net: {"model": net.state_dict(), "epoch": 3, "args": {"lr": 0.1}},
    "an averaged model": lambda net: torch.optim.swa_utils.AveragedModel(net).state_dict(),
}


@pytest.mark.parametrize("kind", list(WRAPPED))
def test_weights_are_taken_whatever_wrapped_the_network_when_they_were_saved(
    plain: nn.Module, kind: str, tmp_path: Path
):
    torch.save(WRAPPED[kind](plain), tmp_path / "weights.ckpt")
    network = build_network("resnet18", weights=str(tmp_path / "weights.ckpt"))
    for key, value in network.state_dict().items():  # the head too
        assert torch.equal(value, plain.state_dict()[key]), key


def test_wrapped_weights_in_safetensors(plain: nn.Module, tmp_path: Path):
    save_file(renamed(plain, "module."), tmp_path / "weights.safetensors")
    network = build_network("resnet18", weights=str(tmp_path / "weights.safetensors"))
    assert torch.equal(network.get_submodule("fc").weight, plain.get_submodule("fc").weight)


def refusal(state: object, path: Path, architecture: str = "resnet18") -> str:
    torch.save(state, path)
    with pytest.raises(UsageError) as caught:
        build_network(architecture, weights=str(path))
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("module.layer2.0.conv1.weight"), "layer2.0.conv1.weight is missing"),
        (lambda state: state.update({"module.extra.weight": torch.ones(1)}), "extra.weight is too many"),
        (
            lambda state: state.update({"criterion.weight": torch.ones(2)}),
            "conv1.weight is missing, module.conv1.weight",
        ),
        (
            lambda state: state.update({"module.conv1.weight": torch.ones(64, 1, 7, 7)}),
            "conv1.weight has the shape [64, 1, 7, 7], not [64, 3, 7, 7]",
        ),
        (
            lambda state: state.update({"module.conv1.weight": torch.ones(64, 3, 7, 7, dtype=torch.int8)}),
            "conv1.weight holds int8 numbers",
        ),
        (
            lambda state: state.update({"module.layer1.0.bn1.bias": torch.full((64,), torch.nan)}),
            "1 of its 122 tensors hold values that are no numbers (first: layer1.0.bn1.bias)",
        ),
    ],
)
def test_weights_that_fit_in_part_are_refused_and_the_near_miss_is_named(
    plain: nn.Module, change: Any, told: str, tmp_path: Path
):
    state = renamed(plain, "module.")
    change(state)
    assert told in refusal(state, tmp_path / "weights.pt")


def test_the_architecture_that_weights_are_of_is_named(tmp_path: Path):
    state = renamed(ARCHITECTURES["resnet34"].build(2), "model.")
    told = refusal(state, tmp_path / "weights.pt")
    assert "not of resnet18" in told
    assert "they are those of resnet34" in told


def test_a_pickled_module_is_told_from_a_damaged_file_and_runs_no_code(plain: nn.Module, tmp_path: Path):
    told = refusal(plain, tmp_path / "whole.pt")
    assert "a whole module" in told
    assert "state_dict()" in told

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    for state in (Evil(), {"state_dict": plain.state_dict(), "callbacks": Evil()}):
        assert "may run code" in refusal(state, tmp_path / "evil.pt")
        assert not (tmp_path / "executed").exists()
