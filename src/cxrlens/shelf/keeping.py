"""The folder of models with names: what goes in is checked, copied whole and remembered with its hash.

A model is two files: ``NAME-HASH.safetensors`` (or ``.onnx``) and the record ``NAME.json``, which is written last and
alone says what the name stands for. A kill at any moment leaves the former record or the new one, each with its file.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cxrlens.environment import timestamp
from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.files import replacing, sha256_of, write_json
from cxrlens.models.card import ModelCard
from cxrlens.models.location import model_path, unknown_name
from cxrlens.models.named import (
    FOLDER_VARIABLE,
    KeptModel,
    Record,
    default_folder,
    find_kept,
    is_name,
    kept_models,
    known_as,
)
from cxrlens.outputs import claimed, remove_partials

_LEFT_BEHIND = re.compile(r"(?P<name>.+)-(?P<hash>[0-9a-f]{12})\.(safetensors|onnx)")


@dataclass(frozen=True)
class Verified:
    """A kept model, and whether its file is still what was added."""

    model: KeptModel
    state: Literal["ok", "damaged", "missing"]


def folder_of(folder: Path | None) -> Path:
    """The folder that is asked for, else the user's."""
    return default_folder() if folder is None else folder


def require_kept(name: str, folder: Path | None = None) -> KeptModel:
    """The model of this name.

    Raises:
        UsageError: when none is kept under it.
    """
    found = find_kept(name, folder)
    if found is None:
        raise UsageError(unknown_name(name))
    return found


def add_model(
    file: Path,
    name: str,
    *,
    folder: Path | None = None,
    force: bool = False,
    made_by: str = "",
) -> KeptModel:
    """Keep a copy of a model under a name; one that is there with the same content stays as it is.

    Args:
        file: a model file, the run folder of one, a file that ``cxrlens export`` wrote, or the name of another model.
        folder: of the models, by default the user's.
        force: replace a model of this name.
        made_by: the command whose own model this is; it replaces its former one also without ``force``.

    Raises:
        UsageError: when the file is no model, the name is none or taken, or the folder cannot be written.
    """
    check_name(name)
    source = model_path(file)
    card = read_card(source)
    there = folder_of(folder)
    with writing(there):
        sha256 = sha256_of(source)
        record = Record(
            name=name,
            kind="onnx" if is_onnx(source) else "safetensors",
            sha256=sha256,
            size=source.stat().st_size,
            architecture=card.architecture,
            input=card.preprocessing.size,
            source=str(source.resolve()),
            made_by=made_by,
            added=timestamp(),
        )
        before = check_free(there, record, force=force)
        if before is not None and before.record.sha256 == sha256 and state_of(before) == "ok":
            return before
        with replacing(there / record.file) as partial:
            shutil.copyfile(source, partial)
            if sha256_of(partial) != sha256:
                raise UsageError(f"{source}: has changed while it was copied; add it again when it is finished")
        remember(there, [record])
    return KeptModel(there, record)


def remove_model(name: str, *, folder: Path | None = None) -> KeptModel:
    """Forget a model and delete its copy; the file that it was added from is not touched.

    Raises:
        UsageError: when none is kept under this name, or the folder cannot be written.
    """
    require_kept(name, folder)
    there = folder_of(folder)
    with writing(there):
        kept = require_kept(name, there)  # another process may have removed it
        (there / f"{name}.json").unlink(missing_ok=True)
        kept.file.unlink(missing_ok=True)
    return kept


def verify_models(names: Sequence[str] = (), *, folder: Path | None = None) -> list[Verified]:
    """Compute the hashes of models anew, of all without names, and compare them with those that were kept.

    Raises:
        UsageError: when none is kept under one of the names.
        NothingToDoError: when no model is kept at all.
    """
    models = [require_kept(name, folder) for name in names] or kept_models(folder)
    if not models:
        raise NothingToDoError(
            f"{folder_of(folder)}: no model is kept here; 'cxrlens model add FILE --name NAME' keeps one"
        )
    return [Verified(model, state_of(model)) for model in models]


def state_of(model: KeptModel) -> Literal["ok", "damaged", "missing"]:
    """Whether its file still has the hash that it had when it was added."""
    try:
        found = sha256_of(model.file)
    except FileNotFoundError:
        return "missing"
    return "ok" if found == model.record.sha256 else "damaged"


def read_card(file: Path) -> ModelCard:
    """The card of a model, which is read as a whole to see whether it can be used.

    Raises:
        UsageError: when it cannot; when it is an exported one, and onnxruntime is not installed.
    """
    if is_onnx(file):
        from cxrlens.models.onnx_file import read_onnx

        return read_onnx(file).card
    from cxrlens.models.model_file import load_model

    return load_model(file)[1]


def is_onnx(file: Path) -> bool:
    """True for the name of an exported model."""
    return file.suffix.lower() == ".onnx"


def suggested_name(file: Path) -> str:
    """A name for a model file, or a folder with one: that which people know it by, in letters that names have."""
    stem = file.name if file.is_dir() else known_as(file)
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._") or "model"


def check_name(name: str) -> None:
    """Make sure that a text can be the name of a model.

    Raises:
        UsageError: when it cannot.
    """
    if not is_name(name):
        raise UsageError(
            f"`name={name}`: a model's name begins with a letter or digit, holds lower-case letters, digits and . _ - "
            "only, at most 64, and does not end like a model file; give another"
        )


def check_free(folder: Path, record: Record, *, force: bool) -> KeptModel | None:
    """Make sure that a model may be kept as its record says; the one that it replaces.

    Raises:
        UsageError: when another one is there and may not be replaced, or a file that is no record.
    """
    place = folder / f"{record.name}.json"
    before = find_kept(record.name, folder)
    if before is None and os.path.lexists(place):
        raise UsageError(
            f"{place}: is there already, and is no record of a model; move it away, or give another `name`"
        )
    if before is None or force or before.record.sha256 == record.sha256:
        return before
    if record.made_by and before.record.made_by == record.made_by:
        return before
    raise UsageError(
        f"{folder}: another model is kept as '{record.name}' ({before.record.source}); give another `name`, or `force` "
        "to replace it"
    )


def remember(folder: Path, records: Sequence[Record]) -> None:
    """Write the records of models whose files are there."""
    for record in records:
        write_json(folder / f"{record.name}.json", record.model_dump())


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """No other process writes into the folder meanwhile, which is made where it is not there.

    Before and after, what killed writers left is removed, and files that no record names any more.

    Raises:
        UsageError: when another process does, or the folder cannot be made or has no locks.
    """
    with claimed(folder, "keeping models", f"`models` or {FOLDER_VARIABLE}", private=False):
        remove_partials(folder, ())
        _remove_left_behind(folder)
        yield
        _remove_left_behind(folder)


def _remove_left_behind(folder: Path) -> None:
    """Remove files that were replaced, or whose process was killed before it wrote the record.

    They are known by their names, which hold the beginning of their content's hash; nothing else is touched.
    """
    named = {kept.record.file for kept in kept_models(folder)}
    for file in folder.iterdir():
        match = _LEFT_BEHIND.fullmatch(file.name)
        if match is None or file.name in named or not file.is_file() or not is_name(match["name"]):
            continue
        if sha256_of(file).startswith(match["hash"]):
            file.unlink(missing_ok=True)
