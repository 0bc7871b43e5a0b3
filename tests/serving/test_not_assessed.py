"""An image for which the model gives no number is answered so, and never as normal."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import torch
from serving_files import check, encoded, running

from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import load
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import build_network
from cxrlens.serving.app import create_app
from cxrlens.serving.settings import ServerSettings


def test_the_server_says_so_and_goes_on(tmp_path: Path) -> None:
    network = build_network("resnet18")
    with torch.no_grad():
        network.get_submodule("conv1").weight.fill_(1e38)  # 0 for a black image, beyond float32 for another
    preprocessing = Preprocessing(height=64, width=64, mean=(0, 0, 0), std=(1, 1, 1))
    save_model(tmp_path / "m.safetensors", network, ModelCard(architecture="resnet18", preprocessing=preprocessing))
    app = create_app(ServerSettings(assess_any=True), load(tmp_path / "m.safetensors", device="cpu"), None)
    with running(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        answers = [check(client, encoded(np.full((70, 60), level, np.uint8))) for level in (0, 200, 0)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert [answer.json()["triage"] for answer in answers] == [None, "not_assessable", None]
    assert "the model gives no number for this image" in answers[1].json()["reason"]
    assert (answers[1].json()["decision"], answers[1].json()["probability"]) == (None, None)
