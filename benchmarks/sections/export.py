"""onnxruntime against torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnxruntime

from benchmarks.export import time_exports
from benchmarks.page import measured_on, paragraph, table

_INTRODUCTION = """\
Probability, last-layer map (NormGrad conv1x1) and peak of images in memory, as `cxrlens screen` asks for them, by
torch and by onnxruntime {}, which runs the file that `cxrlens export` writes. Milliseconds per image; the two take
turns, each with the threads that it takes by itself."""


def section(folder: Path, *, quick: bool, repeats: int, progress: Callable[[str], None]) -> str:
    rows = [
        [
            timed.architecture,
            f"{timed.size} px",
            timed.batch,
            *(f"{value:.1f} ms" for value in timed.milliseconds.values()),
            f"{timed.ratio:.2f}",
        ]
        for timed in time_exports(quick=quick, repeats=repeats, progress=progress)
    ]
    head = ["network", "input", "batch", "torch", "onnxruntime", "onnxruntime / torch"]
    text = f"{_INTRODUCTION.format(onnxruntime.__version__)} {measured_on()}"
    return "\n\n".join(["## Exported models", paragraph(text), table(head, rows)])
