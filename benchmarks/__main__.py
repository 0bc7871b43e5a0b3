"""``python -m benchmarks [SECTION ...]``: measure and write docs/benchmarks.md; ``--quick`` shows that it works."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.page import update_page
from benchmarks.sections import SECTIONS
from cxrlens.process import keep_freed_memory


def report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="tiny images, two repeats")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    unknown = [name for name in options.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no such section: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    keep_freed_memory()  # as the command line does; it holds for all contenders
    repeats = 2 if options.quick else options.repeats
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.sections or SECTIONS:
        text = SECTIONS[name](options.out, quick=options.quick, repeats=repeats, progress=report)
        update_page(options.out / "benchmarks.md", {name: text}, list(SECTIONS))


if __name__ == "__main__":
    main()
