"""Weights files are what they hold, not what they are called; what is none is said in one sentence that is true."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from cxrlens.errors import UsageError
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.architecture import IMAGENET
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.named import FOLDER_VARIABLE
from cxrlens.models.pretrained import pretrained_normalisation, pretrained_state
from cxrlens.models.registry import build_network, find_architecture
from cxrlens.models.weights_file import read_weights
from cxrlens.shelf.keeping import add_model
from unwarned import heard

STATE = {"a": torch.arange(900.0).reshape(30, 30), "b": torch.ones(3)}


class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


@pytest.fixture
def small_model(tmp_path: Path) -> Path:
    path = tmp_path / "m.safetensors"
    card = ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=64, width=64))
    save_model(path, build_network("resnet18"), card)
    return path


def same(found: dict[str, Tensor]) -> bool:
    return found.keys() == STATE.keys() and all(torch.equal(found[key], STATE[key]) for key in STATE)


def test_files_are_read_by_their_content(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "safe.pt")
    torch.save(STATE, tmp_path / "torch.safetensors")
    torch.save(STATE, tmp_path / "old", _use_new_zipfile_serialization=False)
    assert all(same(read_weights(file)) for file in tmp_path.iterdir())


def test_what_is_none_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(STATE, "whole.safetensors")
    torch.save(STATE, "whole.pt")
    torch.save(STATE, "old.pt", _use_new_zipfile_serialization=False)
    content = {name: Path(name).read_bytes() for name in ("whole.safetensors", "whole.pt", "old.pt")}
    expected = "it is a safetensors file that is cut short or damaged); copy it again"
    files: dict[str, tuple[bytes, str]] = {
        "cut.safetensors": (content["whole.safetensors"][:2000], expected),
        "cut-safetensors.pt": (content["whole.safetensors"][:60], expected),
        "cut.pt": (content["whole.pt"][:2000], "it is cut short or damaged); copy it again"),
        "cut-torch.safetensors": (content["whole.pt"][:2000], "it is cut short or damaged); copy it again"),
        "cut-old.pt": (content["old.pt"][:1500], "it is cut short or damaged); copy it again"),
        "text.pt": (b"not weights\n" * 9, "it holds text); give a .safetensors file"),
        "page.safetensors": (b"<!DOCTYPE html><html></html>", "it holds text)"),
        "empty.pt": (b"", "it is empty)"),
        "zeros.pt": (bytes(1000), "it begins neither as safetensors nor as torch's files)"),
        "model.onnx": (b"\x08\x07\x12\x07pytorch", "it is an ONNX model;"),
        "code.pt": (pickle.dumps({"a": Runs()}), "it holds Python objects"),
    }
    for name, (data, sentence) in files.items():
        Path(name).write_bytes(data)
        with pytest.raises(UsageError) as refused:
            read_weights(Path(name))
        said = str(refused.value)
        assert said.startswith(f"{name}: is no readable weights file (")
        assert sentence in said
        assert "\n" not in said
        assert "miniz" not in said
    with zipfile.ZipFile("other.pt", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(UsageError, match="a ZIP archive, but not as torch writes it"):
        read_weights(Path("other.pt"))
    assert not Path("ran").exists()
    assert heard(recwarn.list) == []


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (
            "ftp://host/y.pt",
            "ftp://host/y.pt: weights are not fetched from ftp:// addresses; fetch it, or give https://",
        ),
        ("file:///x/y.pt#sha256=0", "file:///x/y.pt#sha256=0: weights are not fetched from file://"),
        ("nosuch.pt", "nosuch.pt: no such weights file"),
    ],
)
def test_addresses_of_other_kinds_are_kept_as_they_were_written(weights: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        pretrained_normalisation(weights, find_architecture("resnet18"))
    assert str(refused.value).startswith(sentence)


def test_one_tensor_is_one(tmp_path: Path) -> None:
    state = build_network("resnet18").state_dict()
    del state["layer1.0.conv1.weight"]
    save_file(state, tmp_path / "lacks.safetensors")
    with pytest.raises(UsageError, match=r"not of resnet18: layer1\.0\.conv1\.weight is missing; give the weights"):
        build_network("resnet18", weights=str(tmp_path / "lacks.safetensors"))


def test_names_of_libraries_that_are_nearly_right() -> None:
    with pytest.raises(UsageError, match=r"torchvision:ResNet34_Weights\.IMAGENET1K_V1"):
        pretrained_normalisation("torchvision:resnet34", find_architecture("resnet34"))
    with pytest.raises(UsageError, match="did you mean timm:convnext_atto"):
        find_architecture("TIMM:convnext_atto")


def test_a_kept_model_gives_its_weights_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_model: Path
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    kept = add_model(small_model, "ward-3")
    architecture = find_architecture("resnet18")
    by_name, by_path = (pretrained_state(text, architecture, None) for text in ("ward-3", str(kept.file)))
    assert by_name.keys() == by_path.keys()
    assert all(torch.equal(by_name[key], by_path[key]) for key in by_name)
    assert pretrained_normalisation("ward-3", architecture) == IMAGENET
    with pytest.raises(UsageError, match=r"ward-4: no such weights file, and no model is kept .*'ward-3'"):
        pretrained_state("ward-4", architecture, None)
