"""Networks with few and thin layers, built as the registry's: for tests of what is done with one, not of its size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from torch import nn
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.resnet import BasicBlock, ResNet

from cxrlens.models.registry import ARCHITECTURES

_THINNER = 8


class _ThinResNet(ResNet):
    """A block a stage, of an eighth of the channels."""

    def __init__(self, classes: int) -> None:
        super().__init__(BasicBlock, [1, 1, 1, 1])
        self.fc = nn.Linear(512 // _THINNER, classes)

    def _make_layer(self, block: Any, planes: int, *how: Any, **others: Any) -> nn.Sequential:
        return super()._make_layer(block, planes // _THINNER, *how, **others)


def small_efficientnet(classes: int) -> nn.Module:
    """The first stages of EfficientNet-B0 and the width of its last: all kinds of blocks, one with a shortcut."""
    stages = (1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 320, 1)
    network = EfficientNet([MBConvConfig(*stage) for stage in stages], dropout=0.2, num_classes=classes)
    network.classifier[1].reset_parameters()
    return network


@contextmanager
def small_networks() -> Iterator[None]:
    """Inside, and in this process alone, the registry's names stand for small networks with the same names of layers.

    The networks themselves are tried in tests/models; tests/golden and processes of their own run commands with them.
    """
    small = {"resnet18": _ThinResNet, "resnet34": _ThinResNet, "efficientnet_b0": small_efficientnet}
    entries = {name: replace(ARCHITECTURES[name], build=build) for name, build in small.items()}
    with mock.patch.dict(ARCHITECTURES, entries):
        yield
