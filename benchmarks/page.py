"""docs/benchmarks.md: sections that are measured apart from each other, and the parts that they share."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from cxrlens.processor import cpu_has_bfloat16, cpu_is_faster_in_bfloat16

_INTRODUCTION = """\
`make bench` measures all sections of this page, `python -m benchmarks NAME` one of them ({}). Each says where and
when it was measured: compare ratios within a section, not times between machines. **Bold**: a goal that is missed."""


def update_page(path: Path, sections: dict[str, str], order: Sequence[str]) -> None:
    """Put sections, each beginning with its heading, in their places; the page's other sections stay.

    Args:
        sections: the text of those measured now, by name.
        order: the names of all sections.
    """
    found = _read(path) | sections
    parts = [f"# Benchmarks\n\n{paragraph(_INTRODUCTION.format(', '.join(order)))}\n"]
    parts += [f"{_mark(name)}\n{found[name].strip()}\n" for name in order if name in found]
    path.write_text("\n".join(parts), encoding="utf-8")


def measured_on() -> str:
    """One sentence on the machine and the day."""
    units = torch.backends.cpu.get_cpu_capability()
    if cpu_is_faster_in_bfloat16():
        units += ", bfloat16 in matrices"  # such as AMX's
    elif cpu_has_bfloat16():
        units += ", bfloat16 in vectors"
    day = datetime.now(UTC).date().isoformat()
    return f"Measured on {torch.get_num_threads()} CPU threads ({units}) with torch {torch.__version__}, {day}."


def paragraph(text: str) -> str:
    """The text in lines of the page's width."""
    return textwrap.fill(text, 118)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def against(value: float, goal: float, *, most: bool, digits: int = 2) -> str:
    """The value, bold when it misses the goal, which it should be at most or at least."""
    text = f"{value:.{digits}f}"
    return text if (value <= goal if most else value >= goal) else f"**{text}**"


def _mark(name: str) -> str:
    return f"<!-- {name} -->"


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    _, *parts = re.split(r"^<!-- (\w+) -->$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))
