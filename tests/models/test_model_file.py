"""The model file: an exact round trip, ordinary permissions, and damage that is told with the path."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from cxrlens.errors import UsageError
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import load_model, save_model
from cxrlens.models.registry import ARCHITECTURES, Architecture, Stages

CARD = ModelCard(
    architecture="tiny",
    preprocessing=Preprocessing(height=64, width=48, mean=(0.1, 0.2, 1 / 3), std=(0.5, 0.25, 0.7)),
    threshold=0.37,
    training={"recipe": {"epochs": 3, "lr": 0.005}, "seed": 7, "data": "Röntgen"},
    dev_scores={"auc": 0.9812345678901234, "accuracy": None},
    cxrlens_version="1.2.3",
    created="2030-01-02T03:04:05+00:00",
)


def tiny(classes: int = 2) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    )


@pytest.fixture(scope="module", autouse=True)
def _tiny_architecture() -> Iterator[None]:
    stages = Stages("0", ("0",))
    entry = Architecture("tiny", tiny, ARCHITECTURES["resnet18"].weights, "4", lambda _: stages, False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "tiny", entry)
        yield


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return tiny().eval()


@pytest.fixture(scope="module")
def stored(network: nn.Module, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, network, CARD)
    return path


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_the_round_trip_gives_identical_logits_and_card(name: str, build_lively, tmp_path: Path):
    network, card = build_lively(name), CARD.model_copy(update={"architecture": name})
    path = tmp_path / "new" / "model.safetensors"
    images = torch.rand(2, 3, 64, 48)
    with torch.no_grad():
        expected = network(images)
    save_model(path, network.to(memory_format=torch.channels_last), card)
    loaded, found = load_model(path)
    assert found == card
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(images), expected)
    assert expected[0, 0] != expected[1, 0]
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]  # nothing temporary is left
    assert load_model(path.parent)[1] == card  # a run directory stands for its model


def test_other_numbers_of_classes(tmp_path: Path):
    card = CARD.model_copy(update={"classes": ("affected",)})
    save_model(tmp_path / "one.safetensors", tiny(classes=1), card)
    loaded, found = load_model(tmp_path / "one.safetensors")
    assert loaded(torch.rand(1, 3, 64, 48)).shape == (1, 1)
    assert found.classes == ("affected",)


@pytest.mark.skipif(os.name == "nt", reason="no permission bits")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_the_umask_decides_who_may_read(network: nn.Module, umask: int, mode: int, tmp_path: Path):
    path = tmp_path / "model.safetensors"
    before = os.umask(umask)
    try:
        save_model(path, network, CARD)
    finally:
        os.umask(before)
    assert oct(stat.S_IMODE(path.stat().st_mode)) == oct(mode)


def refused(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rewritten(stored: Path, path: Path, *, state: Any = None, card: Any = None) -> Path:
    """The stored file with its tensors or its card's fields changed."""
    with safe_open(stored, framework="pt") as file:
        metadata = file.metadata()
    fields = json.loads(metadata["cxrlens"])
    tensors = load_file(stored)
    if state:
        state(tensors)
    if card:
        card(fields)
    save_file(tensors, path, metadata={"cxrlens": json.dumps(fields)})
    return path


def test_a_missing_file_and_a_folder_without_a_model(tmp_path: Path):
    assert "no such model file" in refused(tmp_path / "nothing.safetensors")
    assert "no such model file" in refused(tmp_path)


@pytest.mark.parametrize("share", [0, 0.003, 0.1, 0.5, 0.9999])
def test_a_file_cut_short(stored: Path, share: float, tmp_path: Path):
    content = stored.read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(content[: int(share * len(content))])
    assert "damaged" in refused(path)


@pytest.mark.parametrize("content", [b"text\n" * 100, b"\xff" * 64, b"PK\x03\x04" + bytes(64)])
def test_a_file_of_another_kind(content: bytes, tmp_path: Path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    assert "damaged or no model file" in refused(path)


def test_a_file_with_a_broken_header(stored: Path, tmp_path: Path):
    content = bytearray(stored.read_bytes())
    content[20:60] = b"x" * 40
    path = tmp_path / "header.safetensors"
    path.write_bytes(content)
    refused(path)


def test_weights_without_a_card(network: nn.Module, tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    save_file(network.state_dict(), path)
    assert "`weights`" in refused(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda card: card.update(format=2), "format"),
        (lambda card: card.update(unheard_of=1), "unheard_of"),
        (lambda card: card.pop("preprocessing"), "preprocessing"),
        (lambda card: card["preprocessing"].update(height=0), "height"),
        (lambda card: card.update(threshold=1.5), "threshold"),
        (lambda card: card.update(architecture="resnet43"), "resnet43"),
        (lambda card: card.update(architecture="resnet34"), "resnet34"),
        (lambda card: card.update(classes=["a", "b", "c"]), "classes"),
    ],
)
def test_a_card_that_cannot_be_used(stored: Path, change: Any, told: str, tmp_path: Path):
    assert told in refused(rewritten(stored, tmp_path / "card.safetensors", card=change))


def test_a_card_that_is_no_json(stored: Path, tmp_path: Path):
    path = tmp_path / "card.safetensors"
    save_file(load_file(stored), path, metadata={"cxrlens": "{half"})
    assert "model card" in refused(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("1.running_var"), "1.running_var"),
        (lambda state: state.update({"layer9.weight": torch.zeros(1)}), "layer9.weight"),
        (lambda state: state.update({"0.bias": torch.zeros(3)}), "0.bias"),
    ],
)
def test_weights_that_do_not_fit(stored: Path, change: Any, told: str, tmp_path: Path):
    assert told in refused(rewritten(stored, tmp_path / "weights.safetensors", state=change))


def test_saving_over_an_older_file_replaces_it_as_a_whole(network: nn.Module, tmp_path: Path):
    path = tmp_path / "model.safetensors"
    path.write_text("old")
    save_model(path, network, CARD)
    assert load_model(path)[1] == CARD
