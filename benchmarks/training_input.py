"""Images a second of the training input against ImageFolder, and its memory as images and epochs grow in number."""

from __future__ import annotations

import functools
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.memory import peak_mib
from cxrlens.dataset.phantom.dataset import make_phantom
from cxrlens.inputs.cache.store import ArrayStore
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.dataset.layouts import Split
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.process import keep_freed_memory
from cxrlens.training.data_module import QualityData
from cxrlens.training.recipe import PRESETS, Augmentation

HEIGHT, WIDTH = 3000, 2500
PAPER = PRESETS["paper"]
AUGMENTATIONS = {"none": Augmentation(flip=0.0), "paper": PAPER.augmentation}
EPOCHS = 4
_SUBJECTS = 4
_NOISE = 7  # gives files of 1.5 MB, the mean of Object-CXR
_LIMIT = 10**12


@dataclass(frozen=True)
class TimedInput:
    """Rates in images a second by augmentation and by what was timed; peak MiB by (images, epochs).

    Attributes:
        images: of the cxrlens rates.
        plain_images: of an epoch of the plain pipeline, whose epochs are all alike.
        size: of a picture's file in bytes, on average.
        side: of the network's input.
        workers: loader processes.
        rates: "plain", "first epoch" and "later epochs".
        peak: resident memory of the main process and its loader processes together.
    """

    images: int
    plain_images: int
    size: int
    side: int
    workers: int
    rates: dict[str, dict[str, float]]
    peak: dict[tuple[int, int], float]


def time_input(*, quick: bool, repeats: int, progress: Callable[[str], None]) -> TimedInput:
    """Without a network, all loaders with the same batch size and number of processes; contenders take turns."""
    images, plain_images, side = (24, 12, 96) if quick else (2000, 300, PAPER.image_size)
    peaks = [(8, 1), (24, 1), (24, 3)] if quick else [(500, 1), (1000, 1), (2000, 1), (2000, 5)]
    workers = multiprocessing.cpu_count()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write_pictures(folder / "data", images, workers)
        progress(f"{images} pictures of {size / 1e6:.2f} MB")
        rates: dict[str, dict[str, list[float]]] = {}
        for turn in range(repeats):
            for augmentation in AUGMENTATIONS:
                found = {"plain": plain_rate(folder / "data", plain_images, side, augmentation, workers)}
                found |= our_rates(folder, images, side, augmentation, workers)
                for what, rate in found.items():
                    rates.setdefault(augmentation, {}).setdefault(what, []).append(rate)
                progress(f"training input, augmentation {augmentation}, turn {turn + 1}: {found}")
        memory = {(n, epochs): _peak(folder, n, side, epochs, workers) for n, epochs in peaks}
        progress(f"training input, peak MiB: {memory}")
    medians = {a: {what: statistics.median(values) for what, values in found.items()} for a, found in rates.items()}
    return TimedInput(images, plain_images, size, side, workers, medians, memory)


def plain_rate(data: Path, images: int, side: int, augmentation: str, workers: int) -> float:
    """ImageFolder, PIL's decoding, Resize, and torchvision's transforms of a picture in three channels."""
    given = AUGMENTATIONS[augmentation]
    steps = [v2.Resize((side, side)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    if augmentation != "none":
        steps += [
            v2.RandomHorizontalFlip(given.flip),
            v2.ColorJitter(given.brightness, given.contrast, 0.4, 0.1),
            v2.RandomAffine(
                given.degrees,
                (given.translate, given.translate),
                given.scale,
                given.shear,
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
        ]
    whole = ImageFolder(str(data / "train"), v2.Compose(steps))
    chosen = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))[:images].tolist()
    loader = DataLoader(Subset(whole, chosen), PAPER.batch_size, shuffle=True, num_workers=workers)
    return _rate(loader, images)


def our_rates(folder: Path, images: int, side: int, augmentation: str, workers: int) -> dict[str, float]:
    """The first epoch begins with an empty cache and holds all decoding; the later ones are its median."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        store = ArrayStore(Path(cache), _LIMIT)
        with store.in_use():
            began = time.perf_counter()
            data = _data(folder / "data", images, side, augmentation, workers, store)
            loader = data.train_dataloader()
            rates = []
            for epoch in range(EPOCHS):
                loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
                began = began if epoch == 0 else time.perf_counter()
                rates.append(_rate(loader, images, began))
    return {"first epoch": rates[0], "later epochs": statistics.median(rates[1:])}


def _data(
    root: Path,
    images: int,
    side: int,
    augmentation: str,
    workers: int,
    store: ArrayStore,
    progress: Callable[[], None] = lambda: None,
) -> QualityData:
    """Ready to be iterated over."""
    train = Dataset(root).split("train")
    recipe = PAPER.model_copy(update={"image_size": side, "augmentation": AUGMENTATIONS[augmentation]})
    half = images // 2
    items = [item for label in (0, 1) for item in [item for item in train.items if item.label == label][:half]]
    data = QualityData(
        Split("train", tuple(items)),
        Split("dev", (items[0], items[-1])),
        recipe,
        Preprocessing(height=side, width=side),
        store,
        workers=workers,
        progress=lambda *_: progress(),
    )
    data.prepare_data()
    data.setup()
    return data


def _rate(loader: Iterable[object], images: int, began: float | None = None) -> float:
    began = time.perf_counter() if began is None else began
    batches = sum(1 for _ in loader)
    assert batches == -(-images // PAPER.batch_size)
    return images / (time.perf_counter() - began)


def write_pictures(data: Path, images: int, workers: int) -> int:
    """Grey JPEGs of a few subjects, each with a noise of its own; their mean size in bytes."""
    paths = [data / "train" / ("normal", "affected")[i % 2] / f"{i:05}.jpg" for i in range(images)]
    for path in paths[:2]:
        path.parent.mkdir(parents=True)
    with ProcessPoolExecutor(workers) as pool:
        sizes = list(pool.map(_write_picture, paths, range(images), chunksize=max(images // (8 * workers), 1)))
    return round(statistics.mean(sizes))


def noisy_picture(number: int) -> npt.NDArray[np.uint8]:
    """[`HEIGHT`, `WIDTH`]: a phantom with noise, whose JPEG is as large as a radiograph's."""
    noise = np.random.default_rng(number).integers(-_NOISE, _NOISE + 1, (HEIGHT, WIDTH), dtype=np.int8)
    return np.clip(np.add(_subject(number % _SUBJECTS), noise, dtype=np.int16), 0, 255).astype(np.uint8)


def _write_picture(path: Path, number: int) -> int:
    picture = noisy_picture(number)
    Image.fromarray(picture).save(path, quality=90)
    return path.stat().st_size


@functools.cache
def _subject(seed: int) -> npt.NDArray[np.uint8]:
    phantom = make_phantom(seed, affected=bool(seed % 2), size=512).image
    return np.asarray(Image.fromarray(phantom).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def _peak(folder: Path, images: int, side: int, epochs: int, workers: int) -> float:
    """MiB that a process of its own and its loader processes take at most, decoding included."""
    arguments = [str(folder), str(images), str(side), str(epochs), str(workers)]
    command = [sys.executable, "-m", "benchmarks.training_input", *arguments]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


class Memory:
    """The highest sum of the peaks of this process and of those that it runs at a time."""

    def __init__(self) -> None:
        self.peak = 0.0

    def look(self) -> None:
        processes = ["self", *(str(process.pid) for process in multiprocessing.active_children())]
        self.peak = max(self.peak, sum(map(peak_mib, processes)))


def _measure(folder: Path, images: int, side: int, epochs: int, workers: int) -> float:
    memory = Memory()
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        store = ArrayStore(Path(cache), _LIMIT)
        with store.in_use():
            data = _data(folder / "data", images, side, "paper", workers, store, memory.look)
            loader = data.train_dataloader()
            for epoch in range(epochs):
                loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
                for number, _ in enumerate(loader):
                    if number % 8 == 0:
                        memory.look()
    return memory.peak


if __name__ == "__main__":
    keep_freed_memory()
    print(_measure(Path(sys.argv[1]), *map(int, sys.argv[2:])))  # noqa: T201
