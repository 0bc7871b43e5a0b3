"""A calibrated model: the file keeps its calibration, and every probability goes through it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open
from torch import Tensor, nn

import cxrlens
from calibrated_cards import a_calibration
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.models.calibration import ScoreQuantiles
from cxrlens.models.card import ModelCard, parse_card
from cxrlens.models.model_file import load_model, save_model

PREPROCESSING = Preprocessing(height=8, width=6, mean=(0, 0, 0), std=(1, 1, 1))


class Brightness(nn.Module):
    """Log-odds 40 x (mean brightness - 0.5), as two logits or as one."""

    def __init__(self, logits: int = 2) -> None:
        super().__init__()
        self.count = logits

    def forward(self, images: Tensor) -> Tensor:
        odds = 40 * (images.mean(dim=(1, 2, 3)) - 0.5)
        return torch.stack([odds.new_full(odds.shape, 3), odds + 3], 1) if self.count == 2 else odds[:, None]


def model_of(*, logits: int = 2, calibrated: bool = True, threshold: float = 0.3) -> QualityModel:
    card = ModelCard(
        architecture="resnet18",
        preprocessing=PREPROCESSING,
        threshold=threshold,
        calibration=a_calibration() if calibrated else None,
    )
    return QualityModel(Brightness(logits), card, torch.device("cpu"))


def grey(*levels: float) -> Tensor:
    return torch.tensor(levels)[:, None, None, None].expand(-1, 1, 8, 6).contiguous()


def expected(level: float) -> float:
    """Temperature 2, from a share of one half to one tenth: odds / 9."""
    return 1 / (1 + math.exp(-(40 * (level - 0.5) / 2 - math.log(9))))


@pytest.mark.parametrize("logits", [1, 2])
def test_the_probability_is_calibrated_everywhere(logits: int):
    model, levels = model_of(logits=logits), (0.3, 0.5, 0.57, 0.7)
    found = model.probabilities(grey(*levels))
    assert found.tolist() == pytest.approx([expected(level) for level in levels], rel=1e-4)
    assert model.probability_of(model.logits(grey(*levels))).tolist() == found.tolist()
    check = model.check(np.full((16, 12), 0.57), methods=[], assess_any=True)
    assert check.probability == pytest.approx(expected(0.57), rel=1e-4)


def test_an_uncalibrated_model_gives_the_networks_softmax_and_no_triage():
    model = model_of(calibrated=False)
    assert model.probabilities(grey(0.57)).item() == pytest.approx(1 / (1 + math.exp(-40 * 0.07)), rel=1e-4)
    check = model.check(np.full((16, 12), 0.57), methods=[], assess_any=True)
    assert (check.decision, check.triage) == ("affected", None)
    assert model.triage(0.99) is None


def ramp(level: float) -> np.ndarray:
    """A picture [96, 80] of this mean, with something to be seen."""
    return np.tile(np.linspace(-1, 1, 80) * min(level, 1 - level) + level, (96, 1))


def test_triage_and_decision_at_the_thresholds():
    model = model_of()  # retake from 0.3 on, review from 0.05 on
    below = np.nextafter(0.3, 0)
    cases = {0.0: "pass", 0.0499: "pass", 0.05: "review", float(below): "review", 0.3: "retake", 1.0: "retake"}
    assert {probability: model.triage(probability) for probability in cases} == cases
    assert [model.decision(probability) == "affected" for probability in cases] == [
        found == "retake" for found in cases.values()
    ]
    checks = [model.check(ramp(level), methods=[]) for level in (0.3, 0.5, 0.9)]
    assert [(check.triage, check.decision) for check in checks] == [
        ("pass", "normal"),
        ("review", "normal"),
        ("retake", "affected"),
    ]


def test_probabilities_that_are_1_in_float32_stay_apart():
    model = model_of()
    found = model.probability_of(torch.tensor([[0.0, 50.0], [0.0, 60.0], [0.0, -900.0]]))
    assert 0.99999 < found[0] < found[1] < 1
    assert found[2] == pytest.approx(0, abs=1e-100)


def test_the_file_keeps_the_calibration(build_lively, tmp_path: Path):
    card = ModelCard(
        architecture="resnet18", preprocessing=PREPROCESSING, threshold=0.3, calibration=a_calibration(remarks=("Ä",))
    )
    save_model(tmp_path / "model.safetensors", build_lively("resnet18"), card)
    assert load_model(tmp_path / "model.safetensors")[1] == card
    assert cxrlens.load(tmp_path / "model.safetensors", device="cpu").triage(0.3) == "retake"


def test_a_file_without_calibration_does_not_mention_it(build_lively, tmp_path: Path):
    """So that versions of cxrlens that know no calibration go on reading it."""
    path = tmp_path / "model.safetensors"
    save_model(path, build_lively("resnet18"), ModelCard(architecture="resnet18", preprocessing=PREPROCESSING))
    with safe_open(path, framework="pt") as stored:
        fields = json.loads(stored.metadata()["cxrlens"])
    assert "calibration" not in fields
    assert load_model(path)[1].calibration is None
    assert fields["format"] == 1


def test_a_calibration_without_scores_does_not_mention_them() -> None:
    """Likewise; one with them is read as it was written."""
    scores = ScoreQuantiles(normal=(-2.0, -1.5), affected=(0.0, 0.25, 3.0))
    for kept in (None, scores):
        calibration = a_calibration(scores=kept)
        card = ModelCard(architecture="resnet18", preprocessing=PREPROCESSING, threshold=0.3, calibration=calibration)
        text = card.to_metadata()
        assert ("scores" in json.loads(text)["calibration"]) == (kept is not None)
        assert parse_card(text, "a.safetensors") == card
    with pytest.raises(ValidationError, match="they should rise"):
        ScoreQuantiles(normal=(0.0, 1.0), affected=(1.0, 0.0))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"temperature": 0}, "temperature"),
        ({"prevalence": 1}, "prevalence"),
        ({"source_share": 0}, "source_share"),
        ({"slope": 1}, "slope"),
        ({"review_threshold": 0.31}, "review_threshold"),
    ],
)
def test_a_calibration_that_cannot_be_used_is_refused(changes: dict[str, float], told: str):
    fields = {**a_calibration().model_dump(), **changes}
    with pytest.raises(ValidationError, match=told):
        ModelCard.model_validate({
            "architecture": "resnet18", "preprocessing": PREPROCESSING, "threshold": 0.3, "calibration": fields
        })  # fmt: skip
