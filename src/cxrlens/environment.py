"""The origin of a result: versions, machine and command."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

_PACKAGES = (
    "cxrlens",
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "scikit-learn",
    "numpy",
    "pillow",
)


def describe_environment(*, device: str, seed: int) -> dict[str, Any]:
    """Versions, commit of the working copy (if it is one), device, threads, seed and command line."""
    import torch

    return {
        "time": timestamp(),
        "command": command_line(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "commit": _commit(),
        "device": device,
        "device_name": torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor(),
        "cpus": os.cpu_count(),
        "seed": seed,
    }


def command_line() -> str:
    """The command line of the running process."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def timestamp() -> str:
    """The time now, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _commit() -> str | None:
    source = Path(__file__).resolve()

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(source.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", source.name)  # else it is some other project's repository
        return git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None
