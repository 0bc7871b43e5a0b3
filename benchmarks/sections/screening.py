"""Screening's rate and memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.page import against, measured_on, paragraph, table
from benchmarks.screening import ARCHITECTURE, BATCH, time_screening
from benchmarks.training_input import HEIGHT, PAPER, WIDTH
from cxrlens.jobs.inputs import default_workers

GOAL = 0.9
_INTRODUCTION = """\
Images a second of `cxrlens screen` from {} grey JPEGs of {} x {} pixels ({:.1f} MB each) with {} at {} px, batch {}:
all from starting to load the model to the finished page. "All maps" makes a map at the last layer, its outline, picture
and preview of every image. "Plain" loads the same model and does no more than PIL's reduced decoding, PIL's resize and
the forward pass, with torch's DataLoader. Both have {} reading process{}. The files are in the system's page cache.
{}"""
_MEMORY = """\
Peak resident memory of the main process and its readers together, pages that they share counted in each."""


def section(folder: Path, *, quick: bool, repeats: int, progress: Callable[[str], None]) -> str:
    workers = default_workers()
    timed = time_screening(
        images=16 if quick else 400,
        side=96 if quick else PAPER.image_size,
        workers=workers,
        repeats=min(repeats, 3),
        peaks=[8, 24] if quick else [100, 400, 1600],
        progress=progress,
    )
    described = _INTRODUCTION.format(
        timed.images,
        WIDTH,
        HEIGHT,
        timed.size / 1e6,
        ARCHITECTURE,
        timed.side,
        BATCH,
        workers,
        "" if workers == 1 else "es",
        measured_on(),
    )
    plain, none, everything = (timed.rates[name] for name in ("plain", "maps: none", "maps: all"))
    row = [f"{plain:.2f}", f"{none:.2f}", f"{everything:.2f}", against(everything / plain, GOAL, most=False)]
    heads = [f"{number} images" for number in timed.peak]
    return "\n\n".join(
        [
            "## Screening",
            paragraph(described),
            table(["plain", "no maps", "all maps", f"all maps / plain (at least {GOAL:g})"], [row]),
            paragraph(_MEMORY),
            table(heads, [[f"{value:.0f} MiB" for value in timed.peak.values()]]),
        ]
    )
