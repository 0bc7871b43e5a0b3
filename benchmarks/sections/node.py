"""The node's latency and intake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.node import ARCHITECTURE, NodeSizes, node_all
from benchmarks.page import measured_on, paragraph, table

_INTRODUCTION = """\
`cxrlens node` ({}, {} px input, combined maps of all images) on the same machine as its senders and the archive that
takes its results. Uncompressed 12-bit images of {} x {} pixels, one an association; each sender sends {}, the next one
when the last is answered, or when the report on it has come. "Answered": from the beginning of the association to
success, the image being on the disk; "reported": to the report (SR) at the archive. "Taken" and "reported" a second:
of all senders together. Senders that do not wait fill a queue, and theirs is its latency. The maps of random weights
have some twenty outlines, each a region of the report that takes 20 ms to write: more than there usually are."""


def section(folder: Path, *, quick: bool, repeats: int, progress: Callable[[str], None]) -> str:
    sizes = NodeSizes.of(quick=quick)
    rows = [
        [
            f"{timed.senders}, waiting for each report" if timed.waits else timed.senders,
            f"{timed.answered:.0f} ms",
            f"{timed.reported / 1e3:.2f} s",
            f"{timed.reported_95 / 1e3:.2f} s",
            f"{timed.taken:.1f}",
            f"{timed.screened:.2f}",
        ]
        for timed in node_all(quick=quick, progress=progress)
    ]
    head = ["senders", "answered, median", "reported, median", "reported, 95 %", "taken a second", "reported a second"]
    described = _INTRODUCTION.format(ARCHITECTURE, sizes.side, sizes.rows, sizes.columns, sizes.each)
    return "\n\n".join(["## Node", paragraph(f"{described} {measured_on()}"), table(head, rows)])
