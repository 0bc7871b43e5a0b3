"""The offline page in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.page import measured_on, paragraph, table
from benchmarks.review_page import open_pages

_INTRODUCTION = """\
The page of so many screened radiographs in headless Chromium, opened as a file from the system's page cache: previews
of 1024 px, each with a map and three outlines. "Usable": the list is there and the first radiograph drawn. "Step": from
a key to the next radiograph, with the polling of the measurement. Memory is the largest of the process that shows the
page. Medians of browsers that were started anew. {}"""


def section(folder: Path, *, quick: bool, repeats: int, progress: Callable[[str], None]) -> str:
    opened = open_pages([20] if quick else [121, 300, 2000], min(repeats, 3), progress)
    heads = ["images", "pictures", "page", "beside", "first paint", "usable", "step", "JS heap", "memory"]
    rows = [
        [
            f"{count:,}",
            "in the page" if layout == "one file" else "beside",
            f"{look.size / 1e6:.1f} MB",
            f"{look.beside / 1e6:.1f} MB" if layout != "one file" else "",
            *(f"{seconds:.2f} s" for seconds in (look.painted, look.usable, look.step)),
            f"{look.heap:.0f} MiB",
            f"{look.peak:.0f} MiB",
        ]
        for (count, layout), look in opened.items()
    ]
    return "\n\n".join(["## The offline page", paragraph(_INTRODUCTION.format(measured_on())), table(heads, rows)])
