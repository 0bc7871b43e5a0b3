"""The store of a screening's results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.page import measured_on, paragraph, table
from benchmarks.store import BATCH, time_store

_INTRODUCTION = """\
A folder of {:,} screened images, a fifth of them with outlines, without the network's and the images' part. Writing
is in batches of {}, each on the disk before the next, names and contents looked up as `cxrlens screen` does. "Going on"
compares results.jsonl with the store. Seconds without imports; of a page and a verdict the median of 20. Peak is the
resident memory of the step's process, of which imports are the most. {} docs/decisions/one-store.md compares with the
files that the store has replaced."""


def section(folder: Path, *, quick: bool, repeats: int, progress: Callable[[str], None]) -> str:
    results = 2000 if quick else 100_000
    steps = time_store(results, progress)
    rows = [[name, in_seconds(step.seconds), f"{step.peak:.0f} MiB"] for name, step in steps.items()]
    described = paragraph(_INTRODUCTION.format(results, BATCH, measured_on()))
    return "\n\n".join(["## The store of results", described, table(["step", "time", "peak"], rows)])


def in_seconds(seconds: float) -> str:
    """A time in a table."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1e3:.0f} ms"
