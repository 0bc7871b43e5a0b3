"""Images a second of `cxrlens screen` with maps against decoding and a forward pass alone, and its memory.

``python -m benchmarks.screening --images 40 --side 448`` measures once and prints.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.timing import lively
from benchmarks.training_input import PAPER, Memory, write_pictures
from cxrlens.devices import has_bfloat16
from cxrlens.export.onnx import export_onnx
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.processes import default_workers
from cxrlens.inspection.quality_model import DEFAULT_METHOD, load
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.onnx_sessions import Runtime
from cxrlens.models.registry import build_network
from cxrlens.process import keep_freed_memory
from cxrlens.saliency.resizing import DEFAULT_RESIZE
from cxrlens.screening.run import screen
from cxrlens.screening.settings import ScreeningSettings
from cxrlens.screening.sources import take_sources

ARCHITECTURE = "resnet34"
BATCH = 8
SHARE = 5


@dataclass(frozen=True)
class Contender:
    """A screening: the layers of the maps that every image gets, and what runs the network in which precision."""

    layers: str
    runtime: Runtime
    precision: str = "f32"

    def part_of(self, images: int) -> int:
        """How many of so many images it screens: of combined maps a part will do."""
        return images // (SHARE if self.layers == "combined" else 1)


def contenders() -> dict[str, Contender]:
    """By name, what this processor can run."""
    found = {
        "maps, last layer": Contender("last", "torch"),
        "maps, combined": Contender("combined", "torch"),
        "maps, combined, OpenVINO f32": Contender("combined", "openvino"),
    }
    if has_bfloat16(torch.device("cpu")):
        found["maps, combined, OpenVINO bf16"] = Contender("combined", "openvino", "bf16")
    return found


@dataclass(frozen=True)
class TimedScreening:
    """Images a second by what was timed; peak MiB by number of images.

    Attributes:
        images: that were screened, pictures of `HEIGHT` x `WIDTH`.
        size: of a picture's file in bytes, on average.
        side: of the network's input.
        workers: processes that read, of both contenders.
        rates: "plain" and those of `contenders`; combined maps of a fifth of the images.
        peak: resident memory of the main process and its readers together.
    """

    images: int
    size: int
    side: int
    workers: int
    rates: dict[str, float]
    peak: dict[int, float]


def time_screening(
    *, images: int, side: int, workers: int, repeats: int, peaks: list[int], progress: Callable[[str], None]
) -> TimedScreening:
    """Contenders take turns; rates are medians. Each screening begins with an empty folder and writes all its files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write_pictures(folder / "data", max(images, *peaks), multiprocessing.cpu_count())
        model = write_model(folder / "model.safetensors", side)
        progress(f"{images} pictures of {size / 1e6:.2f} MB, {side} px, {workers} readers")
        rates: dict[str, list[float]] = {}
        for turn in range(repeats):
            found = {"plain": plain_rate(folder / "data", model, images, workers)}
            for what, contender in contenders().items():
                found[what] = our_rate(folder, contender, images, workers)
            for what, rate in found.items():
                rates.setdefault(what, []).append(rate)
            progress(f"screening, turn {turn + 1}: {found}")
        memory = {number: _peak(folder, number, workers) for number in peaks}
        progress(f"screening, peak MiB: {memory}")
    medians = {what: statistics.median(values) for what, values in rates.items()}
    return TimedScreening(images, size, side, workers, medians, memory)


def write_model(path: Path, side: int) -> Path:
    """Random weights, batch norms as in a trained network; all images are affected, so that "flagged" is "all"."""
    torch.manual_seed(0)
    network = lively(build_network(ARCHITECTURE), 64)
    card = ModelCard(architecture=ARCHITECTURE, preprocessing=Preprocessing(height=side, width=side), threshold=0.0)
    save_model(path, network, card)
    export_onnx(load(path, device="cpu"), [DEFAULT_METHOD], "combined", DEFAULT_RESIZE, path, path.with_suffix(".onnx"))
    return path


class Plain(Dataset[Tensor]):
    """PIL's reduced decoding, to the size that cxrlens decodes to, and PIL's resize."""

    def __init__(self, paths: list[Path], side: int) -> None:
        self.paths = paths
        self.side = side

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as image:
            image.draft("L", (2 * self.side, 2 * self.side))
            grey = image.convert("L").resize((self.side, self.side), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.asarray(grey, dtype=np.float32) / 255)[None]


def plain_rate(data: Path, file: Path, images: int, workers: int) -> float:
    """Decode, resize, forward pass, softmax, in batches, as a script would; nothing is written."""
    began = time.perf_counter()
    model = load(file, device="auto")
    paths = sorted(data.rglob("*.jpg"))[:images]
    loader = DataLoader(Plain(paths, model.preprocessing.height), BATCH, num_workers=workers)
    count = sum(len(model.probabilities(grey)) for grey in loader)
    assert count == images
    return images / (time.perf_counter() - began)


def our_rate(folder: Path, contender: Contender, images: int, workers: int) -> float:
    """The whole command: reading, hashing, previews, maps, outlines, the worklist and the page."""
    images = contender.part_of(images)
    began = time.perf_counter()
    _screen(folder, contender, images, workers, lambda: None)
    return images / (time.perf_counter() - began)


def _screen(folder: Path, contender: Contender, images: int, workers: int, look: Callable[[], None]) -> None:
    model = folder / ("model.safetensors" if contender.runtime == "torch" else "model.onnx")
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    sources = take_sources(list(map(str, sorted((folder / "data").rglob("*.jpg"))[:images])))
    settings = ScreeningSettings(
        model,
        "all",
        layers=contender.layers,
        runtime=contender.runtime,
        precision=contender.precision,
        batch_size=BATCH,
        workers=workers,
    )
    result = screen(sources, out, settings, progress=lambda _: look())
    assert result.computed == result.counts["images"] == images


def _peak(folder: Path, images: int, workers: int) -> float:
    """MiB that a process of its own and its readers take at most."""
    command = [sys.executable, "-m", "benchmarks.screening", "--peak", str(folder), str(images), str(workers)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def _measure(folder: Path, images: int, workers: int) -> float:
    memory = Memory()
    _screen(folder, Contender("last", "torch"), images, workers, memory.look)
    memory.look()
    return memory.peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--side", type=int, default=PAPER.image_size)
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--peak", nargs=3, metavar=("FOLDER", "IMAGES", "WORKERS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_freed_memory()
    if options.peak:
        print(_measure(Path(options.peak[0]), *map(int, options.peak[1:])))  # noqa: T201
        return
    timed = time_screening(
        images=options.images,
        side=options.side,
        workers=options.workers,
        repeats=options.repeats,
        peaks=[options.images],
        progress=lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201
    )
    print(f"{timed.rates}, peak MiB {timed.peak}")  # noqa: T201


if __name__ == "__main__":
    main()
