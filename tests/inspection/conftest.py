"""Fixtures of this folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.models.card import ModelCard
from cxrlens.models.registry import build_network


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """As pytest's, but removed at once: weights are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="session")
def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        network = build_network("resnet18")
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            network.train()(torch.randn(4, 3, 64, 64))
    return network.eval()


@pytest.fixture(scope="session", params=["stretch", "letterbox"])
def quality_model(request: pytest.FixtureRequest, network: nn.Module) -> QualityModel:
    preprocessing = Preprocessing(height=64, width=48, resize=request.param)
    return QualityModel(network, ModelCard(architecture="resnet18", preprocessing=preprocessing), torch.device("cpu"))
