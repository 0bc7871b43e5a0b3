"""A command of cxrlens at work in a process of its own, as the benchmarks of servers need it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def running(*arguments: str | Path) -> Iterator[dict[str, Any]]:
    """The command while it runs; gives what it prints as JSON once it is ready."""
    command = [sys.executable, "-m", "cxrlens", *map(str, arguments)]
    source = Path(__file__).parents[1] / "src"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        try:
            while not lines or lines[-1].rstrip() != "}":
                line = process.stdout.readline()
                if not line:
                    raise RuntimeError(f"cxrlens {arguments[0]} did not start")
                lines.append(line)
            yield json.loads("".join(lines))
        finally:
            process.terminate()
