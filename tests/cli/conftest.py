"""A tiny phantom data set, a tiny untrained model, and few figures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cxrlens.dataset.phantom.dataset import write_phantom_dataset
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import build_network
from few_figures import few_figures_drawn


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
    """An untrained, seeded ResNet-18 at 64 px."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = build_network("resnet18")
    save_model(path, network, ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=64, width=64)))
    return path


@pytest.fixture(autouse=True)
def _few_figures_are_drawn() -> Iterator[None]:
    with few_figures_drawn():
        yield
