"""Resident memory of a process; imports nothing that takes much of it."""

from __future__ import annotations

import math
import re
from pathlib import Path


def peak_mib(process: str = "self") -> float:
    """Largest resident memory that a process had, in MiB (Linux)."""
    # Not getrusage's ru_maxrss, which a process takes over from the one that started it.
    peak = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{process}/status").read_text(encoding="ascii"))
    return int(peak[1]) / 1024 if peak else math.nan
