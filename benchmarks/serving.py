"""The server under one client and under sixteen, against plain forward passes of the same model."""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import torch
from PIL import Image

from benchmarks.commands import running
from benchmarks.export import TORCH
from benchmarks.saliency import ARCHITECTURES
from benchmarks.timing import lively, medians
from cxrlens.dataset.phantom.dataset import write_phantom_dataset
from cxrlens.devices import has_bfloat16
from cxrlens.export.onnx import export_onnx
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import DEFAULT_LAYERS, DEFAULT_METHOD, load
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import build_network
from cxrlens.saliency.resizing import DEFAULT_RESIZE

CLIENTS = 16
BATCH = 8
COMBINED = "NormGrad, combined"
METHODS = {"Grad-CAM, last": ("grad_cam", "last"), COMBINED: (DEFAULT_METHOD, DEFAULT_LAYERS)}
GOALS = {"resnet34": 4.6, "efficientnet_b0": 3.9}
"""Seconds in which 95 % of a crowd's answers with combined maps should come: half of what torch took at first."""


@dataclass(frozen=True)
class Load:
    """What clients saw: median and 95th percentile of milliseconds to an answer, and answers a second."""

    p50: float
    p95: float
    rate: float


@dataclass(frozen=True)
class TimedServing:
    """A network's server.

    Attributes:
        forward: milliseconds per image of plain passes of batches in memory, in a process that has all processors.
        alone: one client, by runtime and row of the map; ``crowd`` sixteen.
        images_a_pass: of the crowd's, likewise.
    """

    architecture: str
    forward: float
    alone: dict[tuple[str, str], Load]
    crowd: dict[tuple[str, str], Load]
    images_a_pass: dict[tuple[str, str], float]


@dataclass(frozen=True)
class Sizes:
    """How much is measured: the input's side, the uploads' longest side, and uploads a client and load."""

    side: int
    upload: int
    alone: int
    each: int

    @classmethod
    def of(cls, *, quick: bool) -> Sizes:
        return cls(64, 256, 3, 2) if quick else cls(600, 2048, 8, 4)


def serving_all(*, quick: bool, repeats: int, progress: Callable[[str], None]) -> list[TimedServing]:
    """Every network."""
    sizes = Sizes.of(quick=quick)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        uploads = _uploads(Path(folder), sizes)
        for architecture in ARCHITECTURES:
            model = _model(Path(folder), architecture, sizes.side)
            forward = _forward(model, repeats)
            alone, crowd, together = {}, {}, {}
            for runtime, options in _runtimes(model).items():
                with _server(options) as url:
                    for row in METHODS if runtime == TORCH else (COMBINED,):
                        method, layers = METHODS[row]
                        data = {"method": method, "layers": layers}
                        _load(url, uploads, data, CLIENTS, 1)  # the first passes of any number of images, and processes
                        alone[runtime, row] = _load(url, uploads, data, 1, sizes.alone)
                        before = _passes(url)
                        crowd[runtime, row] = _load(url, uploads, data, CLIENTS, sizes.each)
                        images, passes = (after - start for after, start in zip(_passes(url), before, strict=True))
                        together[runtime, row] = images / passes
            found.append(TimedServing(architecture, forward, alone, crowd, together))
            progress(f"serving {architecture}, {sizes.side} px: {found[-1]}")
    return found


def _uploads(folder: Path, sizes: Sizes) -> list[bytes]:
    """Grey JPEGs, as large as detectors make them."""
    write_phantom_dataset(folder / "data", train=8, dev=8, size=min(sizes.upload, 512))
    found = []
    for path in sorted((folder / "data").rglob("*.jpg"))[:8]:
        stream = io.BytesIO()
        size = (sizes.upload * 5 // 6, sizes.upload)
        Image.open(path).convert("L").resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=92)
        found.append(stream.getvalue())
    return found


def _model(folder: Path, architecture: str, side: int) -> Path:
    torch.manual_seed(0)
    network = lively(build_network(architecture), side)
    path = folder / f"{architecture}.safetensors"
    save_model(
        path, network, ModelCard(architecture=architecture, preprocessing=Preprocessing(height=side, width=side))
    )
    return path


def _runtimes(model: Path) -> dict[str, list[str]]:
    """The options by which the server runs a model, by name of the runtime with its precision."""
    exported = model.with_suffix(".onnx")
    export_onnx(load(model, device="cpu"), [DEFAULT_METHOD], DEFAULT_LAYERS, DEFAULT_RESIZE, model, exported)
    found = {TORCH: ["-m", str(model)]}
    for precision in ("f32", "bf16") if has_bfloat16(torch.device("cpu")) else ("f32",):
        found[f"OpenVINO {precision}"] = ["-m", str(exported), "--runtime", "openvino", "--precision", precision]
    return found


def _forward(path: Path, repeats: int) -> float:
    model = load(path, device="cpu")
    batch = torch.rand(BATCH, 1, model.preprocessing.height, model.preprocessing.width)

    def run() -> None:
        with torch.inference_mode():
            model.network(model.preprocessing.normalized(batch))

    return 1e3 * medians({"forward": run}, repeats)["forward"] / BATCH


@contextmanager
def _server(options: list[str]) -> Iterator[str]:
    """The command in a process of its own."""
    common = ["--port", "0", "--json", "--device", "cpu", "--batch-size", str(BATCH)]
    with running("serve", *options, *common) as ready:
        yield str(ready["url"])


def _load(url: str, uploads: list[bytes], data: dict[str, str], clients: int, each: int) -> Load:
    """So many clients, each of which sends so many uploads, one after the other."""

    def client(number: int) -> list[float]:
        seconds = []
        with httpx.Client(base_url=url, timeout=600) as asking:
            for turn in range(each):
                content = uploads[(number + turn) % len(uploads)]
                began = time.perf_counter()
                asking.post("/api/check", files={"file": content}, data=data).raise_for_status()
                seconds.append(time.perf_counter() - began)
        return seconds

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        seconds = [value for found in threads.map(client, range(clients)) for value in found]
    elapsed = time.perf_counter() - began
    return Load(1e3 * statistics.median(seconds), 1e3 * float(np.quantile(seconds, 0.95)), len(seconds) / elapsed)


def _passes(url: str) -> tuple[float, float]:
    """Images that were explained so far, and in how many passes."""
    lines = dict(line.rsplit(" ", 1) for line in httpx.get(f"{url}metrics").text.splitlines() if line[0] != "#")
    return float(lines["cxrlens_batch_images_sum"]), float(lines["cxrlens_batch_images_count"])
