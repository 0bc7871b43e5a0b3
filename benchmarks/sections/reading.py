"""What reading an image costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.page import measured_on, paragraph, table
from benchmarks.reading import AT_LEAST, time_reading
from benchmarks.training_input import HEIGHT, WIDTH

_INTRODUCTION = """\
Milliseconds of processor time per grey picture of {} x {} pixels, medians of {} turns that all columns of a line take;
other programs may have run meanwhile. "Decoded" is Pillow's or pydicom's array alone, "read" what
`cxrlens.inputs.readers.read` takes for pixels in [0, 1], checks of the file and remarks, of which "display" looks at
what is displayed. "For a network" is read with at least {} x {} pixels, for an input of half that. {}"""


def section(folder: Path, *, quick: bool, repeats: int, progress: Callable[[str], None]) -> str:
    found = time_reading(quick=quick, repeats=repeats, progress=progress)
    described = _INTRODUCTION.format(WIDTH, HEIGHT, repeats, AT_LEAST[1], AT_LEAST[0], measured_on())
    rows = [
        [
            kind,
            f"{timed.size / 1e6:.1f} MB",
            *(f"{1e3 * seconds:.1f}" for seconds in (timed.decoded, timed.read, timed.display, timed.reduced)),
            f"{timed.read / timed.decoded:.2f}",
            f"{timed.display / timed.decoded:.2f}",
        ]
        for kind, timed in found.items()
    ]
    head = ["file", "size", "decoded", "read", "display", "for a network", "read / decoded", "display / decoded"]
    return "\n\n".join(["## Reading", paragraph(described), table(head, rows)])
