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
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.processes import default_workers
from cxrlens.inspection.quality_model import load
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import build_network
from cxrlens.process import keep_freed_memory
from cxrlens.screening.run import ScreeningSettings, screen
from cxrlens.screening.sources import take_sources

ARCHITECTURE = "resnet34"
BATCH = 8
LAYERS = {"maps, last layer": "last", "maps, combined": "combined"}
"""Of the maps that every image gets, by the name of a contender."""


@dataclass(frozen=True)
class TimedScreening:
    """Images a second by what was timed; peak MiB by number of images.

    Attributes:
        images: that were screened, pictures of `HEIGHT` x `WIDTH`.
        size: of a picture's file in bytes, on average.
        side: of the network's input.
        workers: processes that read, of both contenders.
        rates: "plain" and those of `LAYERS`; combined maps of a fifth of the images.
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
            for what, layers in LAYERS.items():
                found[what] = our_rate(folder, model, images // (5 if layers == "combined" else 1), workers, what)
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


def our_rate(folder: Path, model: Path, images: int, workers: int, what: str) -> float:
    """The whole command: reading, hashing, previews, maps, outlines, the worklist and the page."""
    began = time.perf_counter()
    _screen(folder, model, images, workers, what, lambda: None)
    return images / (time.perf_counter() - began)


def _screen(folder: Path, model: Path, images: int, workers: int, what: str, look: Callable[[], None]) -> None:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    sources = take_sources(list(map(str, sorted((folder / "data").rglob("*.jpg"))[:images])))
    settings = ScreeningSettings(model, "all", layers=LAYERS[what], batch_size=BATCH, workers=workers)
    result = screen(sources, out, settings, progress=lambda _: look())
    assert result.computed == result.counts["images"] == images


def _peak(folder: Path, images: int, workers: int) -> float:
    """MiB that a process of its own and its readers take at most."""
    command = [sys.executable, "-m", "benchmarks.screening", "--peak", str(folder), str(images), str(workers)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def _measure(folder: Path, images: int, workers: int) -> float:
    memory = Memory()
    _screen(folder, folder / "model.safetensors", images, workers, "maps, last layer", memory.look)
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
