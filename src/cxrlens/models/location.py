"""Place of a model's file."""

from __future__ import annotations

from pathlib import Path

from cxrlens.errors import UsageError


def model_path(path: Path) -> Path:
    """The model file itself, or that of a run directory.

    Raises:
        UsageError: when there is none.
    """
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise UsageError(
            f"{path}: no such model file; 'cxrlens train' writes one as model.safetensors in its run folder"
        )
    return path
