"""All that the commands print and write is what was frozen; `commands` says how to compare two versions exactly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from commands import ENVIRONMENT, FROZEN  # noqa: E402
from comparing import differences  # noqa: E402

for package in ("captum", "fastapi", "highdicom", "httpx", "onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package)

NAMES = sorted(path.stem for path in FROZEN.glob("*.txt"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The texts of this version; made in a process of their own, which no other test has changed."""
    out = tmp_path_factory.mktemp("golden") / "out"
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(HERE / "commands.py"), str(out)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return out


def test_the_same_steps_are_frozen(texts: Path) -> None:
    assert sorted(path.stem for path in texts.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_step(texts: Path, name: str) -> None:
    """Prints and writes what it printed and wrote when it was frozen."""
    found = differences((FROZEN / f"{name}.txt").read_text("utf-8"), (texts / f"{name}.txt").read_text("utf-8"))
    assert not found, "\n".join([f"{name} differs from what was frozen:", *found])
