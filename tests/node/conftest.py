"""A tiny untrained model, to which all images are affected."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import build_network


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seeded ResNet-18 at 64 px."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = build_network("resnet18")
    preprocessing = Preprocessing(height=64, width=64)
    save_model(path, network, ModelCard(architecture="resnet18", preprocessing=preprocessing, threshold=0.0))
    return path
