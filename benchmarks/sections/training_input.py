"""The training input's rates and memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.page import against, measured_on, paragraph, table
from benchmarks.training_input import EPOCHS, HEIGHT, WIDTH, time_input

GOALS = {"first epoch": 2.0, "later epochs": 10.0}
_INTRODUCTION = """\
Images a second of `cxrlens train`'s input without a network, from {} grey JPEGs of {} x {} pixels ({:.1f} MB each) to
batches of 16 at {} px. The first epoch begins with an empty cache and holds all reading, hashing and decoding; "later
epochs" is the median of the {} after it. "Plain" is torchvision's ImageFolder with PIL's decoding, Resize and the same
augmentation by torchvision, an epoch of {} of the files. Both have {} loader processes. The files are in the system's
page cache. {}"""
_MEMORY = """\
Peak resident memory of the main process and its loader processes together, pages that they share counted in each."""


def section(folder: Path, *, quick: bool, repeats: int, progress: Callable[[str], None]) -> str:
    inputs = time_input(quick=quick, repeats=min(repeats, 3), progress=progress)
    described = _INTRODUCTION.format(
        inputs.images,
        WIDTH,
        HEIGHT,
        inputs.size / 1e6,
        inputs.side,
        EPOCHS - 1,
        inputs.plain_images,
        inputs.workers,
        measured_on(),
    )
    rows: list[list[object]] = []
    for augmentation, rates in inputs.rates.items():
        gains = [against(rates[name] / rates["plain"], goal, most=False, digits=1) for name, goal in GOALS.items()]
        rows.append([augmentation, *(f"{rate:.1f}" for rate in rates.values()), *gains])
    goals = [f"{name} / plain (at least {goal:g})" for name, goal in GOALS.items()]
    heads = [f"{n} images, {epochs} epoch{'s' * (epochs > 1)}" for n, epochs in inputs.peak]
    return "\n\n".join(
        [
            "## Training input",
            paragraph(described),
            table(["augmentation", *next(iter(inputs.rates.values())), *goals], rows),
            paragraph(_MEMORY),
            table(heads, [[f"{value:.0f} MiB" for value in inputs.peak.values()]]),
        ]
    )
