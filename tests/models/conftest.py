"""Fixtures of this folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

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
def build_lively() -> Callable[..., nn.Module]:
    """Builds a seeded network whose batch norms are set so that random weights give logits of different images."""

    def build(name: str, *, seed: int = 0, classes: int = 2) -> nn.Module:
        torch.manual_seed(seed)
        network = build_network(name, classes=classes)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            network.train()(torch.randn(4, 3, 64, 64))
        return network.eval()

    return build
