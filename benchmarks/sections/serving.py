"""The server's latency and throughput."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.page import measured_on, paragraph, table
from benchmarks.serving import BATCH, CLIENTS, Sizes, serving_all

_INTRODUCTION = """\
`cxrlens serve` on the same machine as its clients, which send grey JPEGs of {} px one after the other and wait for
probability, map, contours and preview: one client alone, then {} at once. Milliseconds from the request to its answer.
The forward passes are of the same network at {} px, batches of {} in memory, without any reading. "Share" is the
answers a second of {} clients against the images a second of these passes."""


def section(folder: Path, *, quick: bool, repeats: int, progress: Callable[[str], None]) -> str:
    sizes = Sizes.of(quick=quick)
    rows = []
    for timed in serving_all(quick=quick, repeats=min(repeats, 3), progress=progress):
        for row, crowd in timed.crowd.items():
            alone = timed.alone[row]
            times = [f"{value:.0f} ms" for value in (timed.forward, alone.p50, crowd.p50, crowd.p95)]
            shares = f"{crowd.rate:.2f}", f"{crowd.rate * timed.forward / 1e3:.2f}", f"{timed.images_a_pass[row]:.1f}"
            rows.append([timed.architecture, row, *times, *shares])
    head = [
        "network",
        "map",
        "forward, per image",
        "one client, median",
        f"{CLIENTS} clients, median",
        f"{CLIENTS} clients, 95 %",
        "answers a second",
        "share",
        "images a pass",
    ]
    described = _INTRODUCTION.format(sizes.upload, CLIENTS, sizes.side, BATCH, CLIENTS)
    return "\n\n".join(["## Serving", paragraph(f"{described} {measured_on()}"), table(head, rows)])
