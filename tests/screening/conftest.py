"""A small network whose logits differ from image to image."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cxrlens.data.preprocessing import Preprocessing
from cxrlens.models.card import ModelCard
from cxrlens.models.registry import build_network
from cxrlens.quality_model import QualityModel


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
