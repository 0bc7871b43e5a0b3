"""The origin of a result: versions, machine and command."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
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


def origin_lines(environment: Mapping[str, Any], *about: str) -> list[str]:
    """What the foot of a page says of where it comes from.

    Args:
        environment: of `describe_environment`.
        about: lines of what the page is of, such as its model.
    """
    return [
        environment["command"],
        *about,
        ", ".join(f"{name} {version}" for name, version in environment["versions"].items()),
        f"commit {environment['commit'] or 'n/a (not a working copy)'}, seed {environment['seed']}, "
        f"{environment['device']}, {environment['time']}",
    ]


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
