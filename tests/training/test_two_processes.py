"""The real command with DDP."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inspection.quality_model import load
from cxrlens.testing.run import score_model
from ports import unused_port
from waiting import PATIENCE


def test_two_processes_train_together(phantoms: Path, tmp_path: Path) -> None:
    """One run directory, and dev scores that count every image once."""
    command = [sys.executable, "-m", "cxrlens", "train", str(phantoms), "--runs", str(tmp_path), "--name", "ddp"]
    command += ["--arch", "resnet18", "--recipe", "small", "--image-size", "48", "--epochs", "1", "--batch-size", "4"]
    command += ["--device", "cpu", "--devices", "2", "--strategy", "ddp", "--workers", "0", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": str(unused_port())}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    run_dir = tmp_path / "ddp"
    result = score_model(Dataset(phantoms), load(run_dir, device="cpu"), tmp_path / "test", split="dev")
    reported = yaml.safe_load(done.stdout)["dev_scores"]
    assert reported["dev_auc"] == pytest.approx(result.scores.auc)
    assert reported["dev_accuracy"] == pytest.approx(result.scores.accuracy)
    checkpoint = torch.load(run_dir / "checkpoints/last.ckpt", map_location="cpu", weights_only=True)
    assert checkpoint["global_step"] == 2  # 12 images, two processes, batches of 4: 6 images each are 2 steps
