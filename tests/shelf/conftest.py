"""Two untrained models of a small network, and a folder for kept ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.named import FOLDER_VARIABLE
from cxrlens.models.registry import build_network
from small_networks import small_networks


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Model files of different weights, in folders called first and second."""
    made = []
    for seed, name in enumerate(("first", "second")):
        with torch.random.fork_rng(devices=[]), small_networks():
            torch.manual_seed(seed)
            network = build_network("resnet18")
        made.append(tmp_path_factory.mktemp("given") / name / "model.safetensors")
        made[-1].parent.mkdir()
        save_model(
            made[-1], network, ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=64, width=80))
        )
    return made[0], made[1]


@pytest.fixture(scope="module", autouse=True)
def _small_networks() -> Iterator[None]:
    with small_networks():
        yield


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of models; it is not there yet."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models"
