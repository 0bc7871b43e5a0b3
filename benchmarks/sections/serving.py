"""The server's latency and throughput."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.page import against, measured_on, paragraph, table
from benchmarks.serving import BATCH, CLIENTS, COMBINED, GOALS, Sizes, serving_all

NOTES = Path(__file__).with_name("serving_notes.md")
_INTRODUCTION = """\
`cxrlens serve` on the same machine as its clients, which send grey JPEGs of {} px one after the other and wait for
probability, map, contours and preview: one client alone, then {} at once. Milliseconds from the request to its answer.
The forward passes are of the same network at {} px, batches of {} in memory, without any reading. "Share" is the
answers a second of {} clients against the images a second of these passes. Exported models run on OpenVINO. Goals, for
the fastest runtime with combined maps: 95 % of the answers to 16 clients within {}."""


def section(folder: Path, *, quick: bool, repeats: int, progress: Callable[[str], None]) -> str:
    sizes = Sizes.of(quick=quick)
    rows = []
    for timed in serving_all(quick=quick, repeats=min(repeats, 3), progress=progress):
        goal = GOALS[timed.architecture]
        for place, crowd in timed.crowd.items():
            times = [f"{value:.0f} ms" for value in (timed.forward, timed.alone[place].p50, crowd.p50)]
            slowest = crowd.p95 / 1e3
            times.append(f"{against(slowest, goal, most=True) if place[1] == COMBINED else f'{slowest:.2f}'} s")
            shares = f"{crowd.rate:.2f}", f"{crowd.rate * timed.forward / 1e3:.2f}", f"{timed.images_a_pass[place]:.1f}"
            rows.append([timed.architecture, *place, *times, *shares])
    head = [
        "network",
        "runtime",
        "map",
        "forward, per image",
        "one client, median",
        f"{CLIENTS} clients, median",
        f"{CLIENTS} clients, 95 %",
        "answers a second",
        "share",
        "images a pass",
    ]
    goals = " and ".join(f"{goal:g} s ({architecture})" for architecture, goal in GOALS.items())
    described = _INTRODUCTION.format(sizes.upload, CLIENTS, sizes.side, BATCH, CLIENTS, goals)
    return "\n\n".join(
        ["## Serving", paragraph(f"{described} {measured_on()}"), table(head, rows), NOTES.read_text("utf-8")]
    )
