"""A tiny phantom data set, a tiny untrained model of a small network, and few figures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from cxrlens.dataset.phantom.dataset import write_phantom_dataset
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import build_network
from few_figures import few_figures_drawn
from small_networks import small_networks


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 16 training and 8 dev phantoms, for reading only."""
    folder = tmp_path_factory.mktemp("phantoms") / "data"
    write_phantom_dataset(folder, train=16, dev=8, size=96)
    return folder


@pytest.fixture
def data(phantoms: Path, tmp_path: Path) -> Path:
    """A copy of the data set, to spoil."""
    return Path(shutil.copytree(phantoms, tmp_path / "data"))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained, seeded network at 64 px, of those that are called ResNet-18 here."""
    with torch.random.fork_rng(devices=[]), small_networks():
        torch.manual_seed(26)
        return _saved(tmp_path_factory.mktemp("model") / "model.safetensors", build_network("resnet18"))


@pytest.fixture(scope="session")
def whole_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `model`, of a whole ResNet-18: for processes of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(26)
        return _saved(tmp_path_factory.mktemp("whole") / "model.safetensors", resnet18(num_classes=2))


def _saved(path: Path, network: nn.Module) -> Path:
    save_model(path, network, ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=64, width=64)))
    return path


@pytest.fixture(scope="module", autouse=True)
def _small_networks() -> Iterator[None]:
    with small_networks():
        yield


@pytest.fixture(autouse=True)
def _few_figures_are_drawn() -> Iterator[None]:
    with few_figures_drawn():
        yield
