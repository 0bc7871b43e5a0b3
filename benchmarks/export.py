"""A model at work: torch against onnxruntime, for probability and last-layer map of images in memory."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.saliency import ARCHITECTURES
from benchmarks.timing import lively, medians
from cxrlens.export.onnx import export_onnx
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.onnx_inspector import load_onnx
from cxrlens.inspection.quality_model import load
from cxrlens.inspection.torch_inspector import TorchInspector
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import build_network
from cxrlens.saliency.explain import Row

SIZES = (224, 600)
BATCHES = (8, 1)
METHOD = "normgrad_conv1x1"


@dataclass(frozen=True)
class TimedExport:
    """Median milliseconds per image, by runtime."""

    architecture: str
    size: int
    batch: int
    milliseconds: dict[str, float]

    @property
    def ratio(self) -> float:
        """Time of onnxruntime over that of torch."""
        return self.milliseconds["onnxruntime"] / self.milliseconds["torch"]


def time_exports(*, quick: bool, repeats: int, progress: Callable[[str], None]) -> list[TimedExport]:
    """Every network, size and batch; both runtimes take turns on the same images."""
    found = []
    for architecture in ARCHITECTURES:
        for size in (64,) if quick else SIZES:
            with tempfile.TemporaryDirectory() as folder:
                source, file = Path(folder) / "model.safetensors", Path(folder) / "model.onnx"
                card = ModelCard(architecture=architecture, preprocessing=Preprocessing(height=size, width=size))
                torch.manual_seed(0)
                save_model(source, lively(build_network(architecture), size), card)
                model = load(source, device="cpu")
                export_onnx(model, METHOD, source, file)
                inspectors = {"torch": TorchInspector(model, Row(METHOD, "last")), "onnxruntime": load_onnx(file)}
            for batch in BATCHES:
                grey = np.random.default_rng(0).random((batch, 1, size, size), dtype=np.float32)
                stored = [(size, size)] * batch
                runs = {name: partial(inspector.inspect, grey, stored) for name, inspector in inspectors.items()}
                seconds = medians(runs, repeats)
                each = {name: 1e3 * value / batch for name, value in seconds.items()}
                found.append(TimedExport(architecture, size, batch, each))
                progress(f"{architecture} {size} px, batch {batch}: {each}")
            gc.collect()
    return found
