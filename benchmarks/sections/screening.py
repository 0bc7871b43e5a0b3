"""Screening's rate and memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.page import against, measured_on, paragraph, table
from benchmarks.screening import ARCHITECTURE, BATCH, contenders, time_screening
from benchmarks.training_input import HEIGHT, PAPER, WIDTH
from cxrlens.inputs.processes import default_workers

NOTES = Path(__file__).with_name("screening_notes.md")
GOALS = {"maps, last layer": 0.9}
GOAL = 1.0
"""The least share of the plain rate."""
_INTRODUCTION = """\
Images a second of `cxrlens screen` from {} grey JPEGs of {} x {} pixels ({:.1f} MB each) with {} at {} px, batch
{}: all from starting to load the model to the finished page; those with combined maps take a fifth of the images.
Every image gets a map, with outline and picture; in use only those to review or retake do. "Plain" loads the same
model in float32 and does no more than PIL's reduced decoding, PIL's resize and the forward pass, with torch's
DataLoader. All have {} reading process{}. The files are in the system's page cache. {}"""
_MEMORY = """\
Peak resident memory of the main process and its readers together, pages that they share counted in each."""


def section(folder: Path, *, quick: bool, repeats: int, progress: Callable[[str], None]) -> str:
    workers = default_workers()
    timed = time_screening(
        images=40 if quick else 300,
        side=96 if quick else PAPER.image_size,
        workers=workers,
        repeats=min(repeats, 2),
        peaks=[8, 24] if quick else [50, 200, 400],
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
    plain = timed.rates["plain"]
    rows = [["plain", f"{plain:.2f}", "", ""]]
    for name in contenders():
        goal = GOALS.get(name, GOAL)
        share = against(timed.rates[name] / plain, goal, most=False)
        rows.append([name, f"{timed.rates[name]:.2f}", share, f"at least {goal:g}"])
    heads = [f"{number} images" for number in timed.peak]
    return "\n\n".join(
        [
            "## Screening",
            paragraph(described),
            table(["screening", "images a second", "to plain", "goal"], rows),
            paragraph(_MEMORY),
            table(heads, [[f"{value:.0f} MiB" for value in timed.peak.values()]]),
            NOTES.read_text("utf-8"),
        ]
    )
