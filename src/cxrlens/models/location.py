"""Place of a model's file."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

from cxrlens.errors import UsageError
from cxrlens.models.named import is_ambiguous, is_name, leads_to_model, named_model, near_names

log = logging.getLogger(__name__)


def model_path(path: Path) -> Path:
    """The model file itself, that of a run directory, or that of a model that is kept under this name.

    A path wins over a name where both lead to a model, and that is said.

    Raises:
        UsageError: when there is none.
    """
    found = named_model(path)
    if found != path:
        if not found.is_file():
            raise UsageError(
                f"{found}: the file of the model '{path}' is gone; add it again with 'cxrlens model add --force'"
            )
        return found
    if path.is_dir() and not leads_to_model(path):
        raise UsageError(
            f"{path}: no such model file; the folder holds no model.safetensors, which 'cxrlens train' writes into its "
            "run folder"
        )
    if is_name(str(path)) and not leads_to_model(path):
        raise UsageError(unknown_name(str(path)))
    if is_ambiguous(path):
        _say_which(path, path.absolute())
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise UsageError(
            f"{path}: no such model file; 'cxrlens train' writes one as model.safetensors in its run folder"
        )
    return path


def unknown_name(name: str) -> str:
    """The sentence on a model that is neither a file nor kept under this name."""
    near = near_names(name)
    meant = f" (did you mean {' or '.join(repr(each) for each in near)}?)" if near else ""
    return (
        f"{name}: no such model file or run folder, and no model is kept under this name{meant}; 'cxrlens model list' "
        "shows those that are, 'cxrlens train', 'cxrlens demo' and 'cxrlens model add' make one"
    )


@functools.cache
def _say_which(path: Path, _absolute: Path) -> None:
    """Once for each place."""
    log.warning("%s: is taken as a path; a model is kept under the same name, but a file wins over it", path)
