"""A model at work in every runtime and precision: its probability alone, with one combined map, and with seven maps."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from benchmarks.contenders import SEVEN
from benchmarks.saliency import ARCHITECTURES
from benchmarks.timing import lively, medians
from cxrlens.devices import has_bfloat16
from cxrlens.export.int8 import write_branch
from cxrlens.export.onnx import export_onnx, to_bytes
from cxrlens.export.training_images import TrainingImages
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.onnx_inspector import load_onnx
from cxrlens.inspection.quality_model import DEFAULT_LAYERS, DEFAULT_METHOD, QualityModel, load
from cxrlens.inspection.torch_inspector import TorchInspector
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.onnx_sessions import open_session
from cxrlens.models.registry import build_network
from cxrlens.processor import cpu_multiplies_int8
from cxrlens.saliency.explain import Row
from cxrlens.saliency.joint_graph.map_graph import MapGraph
from cxrlens.saliency.resizing import DEFAULT_RESIZE

BATCHES = {64: (8, 1), 224: (8, 1), 600: (4, 1)}
"""By size: all sessions of EfficientNet-B0 together take more than 24 GiB for eight images of 600 px."""

ALONE, COMBINED, ROWS = "probability", "one combined map", "seven rows"
OUTCOMES = (ALONE, COMBINED, ROWS)
TORCH = "torch f32"


@dataclass(frozen=True)
class TimedExport:
    """Median milliseconds per image, by runtime and what it gives; a runtime may lack some."""

    architecture: str
    size: int
    batch: int
    milliseconds: dict[tuple[str, str], float]

    def ratio(self, runtime: str, outcome: str) -> float | None:
        """To torch's probability alone, which is a plain float32 forward pass."""
        found = self.milliseconds.get((runtime, outcome))
        return None if found is None else found / self.milliseconds[TORCH, ALONE]


def runtimes() -> list[str]:
    """All that this processor can run."""
    lower = has_bfloat16(torch.device("cpu"))
    return [
        TORCH,
        *(["torch bf16"] if lower else []),
        "onnxruntime",
        "OpenVINO f32",
        *(["OpenVINO bf16"] if lower else []),
        *(["onnxruntime int8", "OpenVINO int8"] if cpu_multiplies_int8() else []),
    ]


def time_exports(*, quick: bool, repeats: int, progress: Callable[[str], None]) -> list[TimedExport]:
    """Every network, size and batch; all runtimes take turns on the same images."""
    found = []
    for architecture in ARCHITECTURES:
        for size in (64,) if quick else (224, 600):
            with tempfile.TemporaryDirectory() as folder:
                contenders = _contenders(architecture, size, Path(folder))
            for batch in BATCHES[size]:
                grey = np.random.default_rng(0).random((batch, 1, size, size), dtype=np.float32)
                seconds = medians({name: partial(run, grey) for name, run in contenders.items()}, repeats)
                each = {name: 1e3 * value / batch for name, value in seconds.items()}
                found.append(TimedExport(architecture, size, batch, each))
                progress(f"{architecture} {size} px, batch {batch}: {each}")
            del contenders
            gc.collect()
    return found


def _contenders(architecture: str, size: int, folder: Path) -> dict[tuple[str, str], Callable[[np.ndarray], object]]:
    """By runtime and outcome: what makes it of grey images [N, 1, h, w]."""
    source, file, several = (folder / name for name in ("model.safetensors", "model.onnx", "rows.onnx"))
    card = ModelCard(architecture=architecture, preprocessing=Preprocessing(height=size, width=size))
    torch.manual_seed(0)
    save_model(source, lively(build_network(architecture), size), card)
    model = load(source, device="cpu")
    export_onnx(model, [DEFAULT_METHOD], DEFAULT_LAYERS, DEFAULT_RESIZE, source, file)
    names = write_rows(model, SEVEN, several)
    found: dict[tuple[str, str], Callable[[np.ndarray], object]] = {}
    for precision in ("f32", "bf16") if has_bfloat16(torch.device("cpu")) else ("f32",):
        of_torch = load(source, device="cpu", precision=precision)
        inspector = TorchInspector(of_torch, Row(DEFAULT_METHOD, DEFAULT_LAYERS))
        found |= _inspected(f"torch {precision}", inspector)
        found[f"torch {precision}", ROWS] = partial(_rows_by_torch, of_torch, SEVEN)
        found |= _inspected(f"OpenVINO {precision}", load_onnx(file, runtime="openvino", precision=precision))
        session = open_session(several, "openvino", precision)
        found[f"OpenVINO {precision}", ROWS] = partial(_rows_by_session, session, names)
    found |= _inspected("onnxruntime", load_onnx(file))
    found["onnxruntime", ROWS] = partial(_rows_by_session, open_session(several), names)
    if cpu_multiplies_int8():
        write_branch(file, _random_images(folder, size))
        int8 = _inspected("onnxruntime int8", load_onnx(file, precision="int8"))
        int8 |= _inspected("OpenVINO int8", load_onnx(file, runtime="openvino", precision="int8"))
        found |= {key: run for key, run in int8.items() if key[1] == ALONE}  # maps are those of f32
    return found


def _random_images(folder: Path, size: int) -> TrainingImages:
    """Ranges of random activations are as good as others where time is measured."""
    pictures = folder / "pictures"
    pictures.mkdir()
    for seed in range(20):
        pixels = np.random.default_rng(seed).integers(256, size=(size, size), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{seed}.png")
    return TrainingImages.of(pictures)


def write_rows(model: QualityModel, rows: Sequence[Row], file: Path) -> list[str]:
    """Write a graph of several rows' maps, which need not share their layers; the names of its outputs."""
    grey = torch.zeros(3, 1, model.preprocessing.height, model.preprocessing.width)
    graph = _Rows(MapGraph(model.network, model.preprocessing.normalized(grey), rows), model.preprocessing).eval()
    names = ["logits", *(f"map_{place}" for place in range(len(rows)))]
    file.write_bytes(to_bytes(graph, grey, names, {}))
    return names


class _Rows(nn.Module):
    """Logits and the maps of all rows of grey images."""

    def __init__(self, maps: MapGraph, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.maps = maps
        self._preprocessing = preprocessing

    def forward(self, grey: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits, maps, _ = self.maps(self._preprocessing.normalized(grey))
        return logits, *maps


def _inspected(name: str, inspector: object) -> dict[tuple[str, str], Callable[[np.ndarray], object]]:
    """As `cxrlens screen` asks, with the peaks of the maps."""

    def run(maps: str, grey: np.ndarray) -> object:
        return inspector.inspect(grey, [grey.shape[2:]] * len(grey), maps=maps)  # type: ignore[attr-defined]

    return {(name, ALONE): partial(run, "none"), (name, COMBINED): partial(run, "all")}


def _rows_by_torch(model: QualityModel, rows: Sequence[Row], grey: np.ndarray) -> object:
    return model.explain_rows(torch.from_numpy(grey), rows)


def _rows_by_session(session: object, names: Sequence[str], grey: np.ndarray) -> object:
    return session.run(names, {"grey": grey})  # type: ignore[attr-defined]
