"""Small models and their ONNX files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.resnet import BasicBlock, ResNet

from calibrated_cards import a_calibration
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import QualityModel, load
from cxrlens.models.card import CARD_KEY, ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import (
    ARCHITECTURES,
    Architecture,
    build_network,
    efficientnet_stages,
    resnet_stages,
)
from cxrlens.saliency.fusion import DEFAULT_FUSION, Fusion

SIZE = (128, 160)
CALIBRATION = a_calibration(temperature=1.7, review_target=None, review_interval=None, remarks=("Ä remark.",))


def efficientnet(classes: int) -> nn.Module:
    """An EfficientNet with each kind of block once: without and with more channels inside, and with a shortcut."""
    return EfficientNet(
        [MBConvConfig(1, 3, 1, 32, 16, 1), MBConvConfig(6, 5, 2, 16, 128, 2)], dropout=0.2, num_classes=classes
    )


def resnet10(classes: int) -> nn.Module:
    """A ResNet with a block a stage."""
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=classes)


SMALL_ARCHITECTURES = (
    Architecture(
        "resnet10", resnet10, ARCHITECTURES["resnet18"].weights, "fc", resnet_stages, bf16_training_on_cpu=True
    ),
    Architecture(
        "small_efficientnet",
        efficientnet,
        ARCHITECTURES["efficientnet_b0"].weights,
        "classifier.1",
        efficientnet_stages,
        bf16_training_on_cpu=False,
    ),
)
"""Of fewer blocks than the registry's, since each of them takes seconds to be exported."""


@dataclass(frozen=True)
class Exported:
    """A model, its file, its ONNX file, and the methods, the layers and the way of its maps."""

    model: QualityModel
    source: Path
    file: Path
    methods: tuple[str, ...]
    layers: str
    fusion: Fusion = DEFAULT_FUSION

    @property
    def needs_backward(self) -> bool:
        """True where a backward pass through layers makes the maps, which rounding moves more."""
        return self.layers != "last"

    def assert_near(self, found: Iterable[np.ndarray], expected: Iterable[np.ndarray]) -> None:
        """Maps [h, w] of onnxruntime and of torch: an activation near 0 moves a map before ReLUs."""
        apart = [np.abs(one - other) for one, other in zip(found, expected, strict=True)]
        if not self.needs_backward:
            assert max(each.max() for each in apart) <= 1e-4
            return
        means = [each.mean() for each in apart]
        assert np.median(means) <= 1e-4
        assert max(means) <= 5e-2


def write_model(path: Path, architecture: str, resize: str, *, calibrated: bool, classes: int = 2) -> QualityModel:
    """A seeded network whose batch norms are set by `pictures`, so that these give different logits."""
    preprocessing = Preprocessing(height=SIZE[0], width=SIZE[1], resize=resize)
    grey = torch.from_numpy(np.stack([preprocessing.resized(picture) for picture in pictures(6, seed=1)]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        network = build_network(architecture, classes=classes)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            network.train()(preprocessing.normalized(grey))
    card = ModelCard(
        architecture=architecture,
        preprocessing=preprocessing,
        threshold=0.3,
        calibration=CALIBRATION if calibrated else None,
        classes=("normal", "affected")[-classes:],
    )
    save_model(path, network, card)
    return load(path, device="cpu")


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Radiographs of other shapes each, float32 in [0, 1], with a bright spot off the diagonal."""
    random = np.random.default_rng(seed)
    found = []
    for index in range(count):
        height, width = 90 + 17 * index, 160 - 13 * index
        picture = random.random((height, width), dtype=np.float32) * 0.5
        picture[height // 5 : height // 3, width // 2 : 2 * width // 3] += 0.5
        found.append(picture)
    return found


def changed(exported: Exported, path: Path, **tensors: float) -> Path:
    """The file with weights, or fields of its card, replaced."""
    import onnx

    proto = onnx.load(exported.file)
    fill = tensors.pop("every_weight", None)
    for each in proto.graph.initializer:
        if fill is not None and each.data_type == onnx.TensorProto.FLOAT and len(each.dims) > 1:
            values = onnx.numpy_helper.to_array(each).copy()
            values[...] = fill
            each.CopyFrom(onnx.numpy_helper.from_array(values, each.name))
    for prop in proto.metadata_props:
        if prop.key == CARD_KEY and tensors:
            card = json.loads(prop.value)
            for name, value in tensors.items():
                part = card["calibration"] if name in card.get("calibration", {}) else card
                part[name] = value
            prop.value = json.dumps(card)
    path.write_bytes(proto.SerializeToString())
    return path
