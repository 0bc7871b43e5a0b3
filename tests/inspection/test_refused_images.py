"""An image that lies too far from those that the model knows is refused, whatever runs the network."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Note, Refusal, refusals
from cxrlens.inspection.onnx_inspector import OnnxInspector
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.inspection.record import ImageRecord
from cxrlens.inspection.torch_inspector import TorchInspector
from cxrlens.models.card import ModelCard
from cxrlens.models.onnx_file import OnnxOutput
from cxrlens.saliency.explain import Row
from known_radiographs import a_distance, known

HEIGHT, WIDTH = 96, 72
STORED = (192, 144)


@pytest.fixture(params=["stretch", "letterbox"])
def model(request: pytest.FixtureRequest, network: nn.Module) -> QualityModel:
    preprocessing = Preprocessing(height=HEIGHT, width=WIDTH, resize=request.param)
    card = ModelCard(architecture="resnet18", preprocessing=preprocessing, distance=a_distance(HEIGHT, WIDTH))
    return QualityModel(network, card, torch.device("cpu"))


def batch() -> np.ndarray:
    """Three that are like those that the model knows, and the same turned by 180 degrees."""
    pictures = known(3, (HEIGHT, WIDTH), seed=9)
    return np.concatenate([pictures, pictures[:, ::-1, ::-1]])[:, None].copy()


def onnx_of(model: QualityModel) -> OnnxInspector:
    """By a runtime that gives torch's numbers."""

    def run(grey: np.ndarray, **_: Any) -> OnnxOutput:
        logits = model.logits(torch.from_numpy(grey))
        return OnnxOutput(logits.numpy(), model.probability_of(logits).double().numpy())

    exported: Any = SimpleNamespace(card=model.card, run=run, makes_maps_apart=False)
    return OnnxInspector(exported, model.identity, with_maps=False)


@pytest.mark.parametrize("maps", ["none", "flagged", "all"])
def test_what_is_far_away_is_refused_with_and_without_maps(model: QualityModel, maps: Any) -> None:
    inspector = TorchInspector(model, Row("normgrad_conv1x1", "last"))
    note = Note("It was read thus.")
    results = inspector.inspect(batch(), [STORED] * 6, maps=maps, remarks=[[note]] * 6)
    for result in results[:3]:
        assert result.distance is not None
        assert result.distance <= 1
        assert result.remarks == (note,)
    for result in results[3:]:
        assert result.distance is not None
        assert result.distance > 1
        assert result.remarks[0] == note
        assert refusals(result.remarks) == result.remarks[1:]
        assert f"distance {result.distance:.3g}, limit 1" in result.remarks[1]
        assert result.triage == "not_assessable"
        assert result.map is None


def test_an_image_has_its_distance_alone_and_in_any_batch_by_any_runtime(model: QualityModel) -> None:
    grey = batch()
    together = TorchInspector(model, None).inspect(grey, [STORED] * 6)
    others = onnx_of(model).inspect(grey, [STORED] * 6, maps="none")
    for index, (result, other) in enumerate(zip(together, others, strict=True)):
        (alone,) = TorchInspector(model, None).inspect(grey[[index]], [STORED])
        assert result.distance == alone.distance == other.distance
        assert result.remarks == alone.remarks == other.remarks


def test_it_is_judged_all_the_same_where_that_is_asked_for(model: QualityModel) -> None:
    inspector = TorchInspector(model, Row("normgrad_conv1x1", "last"))
    for result in inspector.inspect(batch(), [STORED] * 6, assess_any=True)[3:]:
        assert not result.not_assessed
        assert len(result.doubts) == 1
        assert result.map is not None
        assert result.decision in ("normal", "affected")


def test_a_check_of_one_image_says_it_too(model: QualityModel) -> None:
    picture = known(1, (HEIGHT, WIDTH), seed=9)[0]
    assert not refusals(model.check(picture, layers="last").remarks)
    found = model.check(np.ascontiguousarray(picture[::-1]), layers="last")
    assert any(isinstance(remark, Refusal) for remark in found.remarks)
    record = ImageRecord(name="a.png", **found.fields())
    assert record.distance == found.distance


def test_a_model_that_cannot_tell_refuses_nothing(network: nn.Module) -> None:
    card = ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=HEIGHT, width=WIDTH))
    for result in TorchInspector(QualityModel(network, card, torch.device("cpu")), None).inspect(batch(), [STORED] * 6):
        assert result.distance is None
        assert result.remarks == ()
