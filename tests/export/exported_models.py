"""Small models with a pooled linear head, and their ONNX files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import QualityModel, load
from cxrlens.models.calibration import Agreement, Calibration, CalibrationData, Estimate
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import ARCHITECTURES, Architecture, build_network, resnet_stages

SIZE = (128, 160)
_NOTHING = Estimate(value=None, low=None, high=None)
_AGREEMENT = Agreement(nll=0, brier=0, ece=0, mean_probability=0)
CALIBRATION = Calibration(
    temperature=1.7,
    source_share=0.5,
    prevalence=0.1,
    review_threshold=0.05,
    retake_target="specificity of at least 0.95",
    review_target=None,
    threshold_interval=_NOTHING,
    review_interval=None,
    data=CalibrationData(name="site", split="dev", images=2, affected=1),
    auc=_NOTHING,
    before=_AGREEMENT,
    after=_AGREEMENT,
    expected={},
    apparent={},
    folds=2,
    seed=0,
    remarks=("Ä remark.",),
    source_sha256="0" * 64,
)


def resnet10(classes: int) -> nn.Module:
    """A ResNet with a block a stage."""
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=classes)


RESNET10 = Architecture(
    "resnet10", resnet10, ARCHITECTURES["resnet18"].weights, "fc", resnet_stages, bf16_training_on_cpu=True
)


@dataclass(frozen=True)
class Exported:
    """A model, its file, its ONNX file and the method of the map."""

    model: QualityModel
    source: Path
    file: Path
    method: str


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
