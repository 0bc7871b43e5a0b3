"""``python -m benchmarks``: run everything and write docs/benchmarks.md; ``--quick`` shows that it works."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.page import write_page
from benchmarks.profile import profile_all
from benchmarks.saliency import memory_all, time_all
from benchmarks.study import study_all
from benchmarks.training_input import time_input
from cxrlens.process import keep_freed_memory

NOTES = Path(__file__).with_name("notes.md")


def report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny images, two repeats")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    keep_freed_memory()  # as the command line does; it holds for all contenders
    repeats = 2 if options.quick else options.repeats
    options.out.mkdir(parents=True, exist_ok=True)
    timings = time_all(quick=options.quick, repeats=repeats, progress=report)
    memory = memory_all(quick=options.quick)
    write_page(
        options.out,
        timings,
        memory,
        profile_all(quick=options.quick, repeats=min(repeats, 3)),
        study_all(quick=options.quick, repeats=min(repeats, 3), progress=report),
        time_input(quick=options.quick, repeats=min(repeats, 3), progress=report),
        NOTES.read_text(encoding="utf-8"),
    )


if __name__ == "__main__":
    main()
