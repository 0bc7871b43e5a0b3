"""What a screening costs as it grows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.page import measured_on, paragraph, table
from benchmarks.scale import ENGINES, time_engines, time_stores
from benchmarks.screening import ARCHITECTURE, BATCH
from benchmarks.sections.store import in_seconds
from benchmarks.training_input import HEIGHT, WIDTH
from cxrlens.inputs.processes import default_workers

_ENGINES = """\
Images a second of `cxrlens screen` from grey JPEGs of {} x {} pixels with {} at {} px, batch {}, maps of the combined
layers of every image, on this computer alone: without a cluster ({} reading process{}), and by one and two workers of
a Ray cluster that is started for it, which share the processors. "Start" is until the first batch is done. {}"""
_STORES = """\
Stores of screened folders, a fifth of the images with outlines, without the network's and the images' part; seconds
without imports, of a page of {} images and of a verdict medians. Bytes are those a result.
docs/scale.md tells what follows."""


def section(folder: Path, *, quick: bool, repeats: int, progress: Callable[[str], None]) -> str:
    side = 96 if quick else 600
    engines = time_engines(images=48 if quick else 64, side=side, repeats=1 if quick else 2, progress=progress)
    stores = time_stores([2000] if quick else [10_000, 100_000, 1_000_000], progress)
    local = engines[next(iter(ENGINES))]
    workers = default_workers()
    described = _ENGINES.format(
        WIDTH, HEIGHT, ARCHITECTURE, side, BATCH, workers, "" if workers == 1 else "es", measured_on()
    )
    rows = [
        [name, f"{each.rate:.2f}", f"{each.rate / local.rate:.2f}", f"{each.start:.1f} s"]
        for name, each in engines.items()
    ]
    steps = list(next(iter(stores.values())).steps)
    names = sorted(
        {name for each in stores.values() for name in each.bytes if name in ("store.sqlite", "results.jsonl")}
    )
    costs = [[name, *(in_seconds(each.steps[name].seconds) for each in stores.values())] for name in steps]
    costs += [[f"{name}, bytes", *(f"{each.bytes[name]:,.0f}" for each in stores.values())] for name in names]
    peak = [f"{max(step.peak for step in each.steps.values()):.0f} MiB" for each in stores.values()]
    return "\n\n".join(
        [
            "## Scale",
            paragraph(described),
            table(["engine", "images a second", "to this computer", "start"], rows),
            paragraph(_STORES.format(200)),
            table(
                ["step", *(f"{number:,} results" for number in stores)], [*costs, ["largest memory of a step", *peak]]
            ),
        ]
    )
