"""A small model, and a server of it and of a screened folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from serving_files import asking, running, screened
from torch import nn

from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import QualityModel, load
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import build_network
from cxrlens.serving.app import create_app
from cxrlens.serving.settings import ServerSettings


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seeded ResNet-18 at 48 x 64 px, letterboxed, whose logits differ from picture to picture."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = build_network("resnet18")
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            network.train()(torch.randn(4, 3, 48, 64))
    card = ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=48, width=64, resize="letterbox"))
    save_model(path, network, card)
    return path


@pytest.fixture(scope="session")
def served_model(model_file: Path) -> QualityModel:
    return load(model_file, device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, served_model: QualityModel) -> Path:
    """A folder that was screened with the served model."""
    return screened(tmp_path_factory.mktemp("screened"), served_model.identity.sha256).path


@pytest.fixture(scope="module")
def client(served_model: QualityModel, folder: Path) -> Iterator[httpx.Client]:
    """Asks a local server of the model and the folder."""
    settings = ServerSettings(max_upload=1_000_000)
    with running(create_app(settings, served_model, folder)) as url, asking(url) as client:
        yield client
