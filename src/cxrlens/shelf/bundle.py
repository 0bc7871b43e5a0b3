"""Bundles: models with their names and hashes in one file, to carry to computers without a network.

A ZIP archive that holds ``cxrlens-models.json`` and, below ``models/``, the files that it names. Nothing of it is kept
before all of it has been read and has the hashes that it says.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cxrlens.environment import timestamp
from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.files import replacing, to_json
from cxrlens.models.content import BUNDLE_CONTENTS, content_of
from cxrlens.models.named import KeptModel, Record, kept_models
from cxrlens.outputs import require_own
from cxrlens.shelf.keeping import (
    check_free,
    check_name,
    folder_of,
    read_card,
    remember,
    require_kept,
    state_of,
    writing,
)
from cxrlens.validation import first_fault

_MOST: Final = 1 << 20  # bytes of the contents
_PIECE: Final = 1 << 20
_UNREADABLE: Final = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError, KeyError)


class _Contents(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    models: tuple[Record, ...] = Field(min_length=1)


def is_bundle(file: Path) -> bool:
    """True for a file that `export_bundle` wrote, as its contents tell, or its beginning where it is cut short."""
    if content_of(file) == "bundle":
        return True
    try:
        with zipfile.ZipFile(file) as archive:
            return BUNDLE_CONTENTS in archive.namelist()
    except (OSError, *_UNREADABLE):
        return False


def export_bundle(
    names: Sequence[str], out: Path, *, folder: Path | None = None, force: bool = False
) -> list[KeptModel]:
    """Write a bundle of models, of all without names; returns them.

    Raises:
        UsageError: when a name is unknown, a model's file is damaged or gone, or ``out`` is there already.
        NothingToDoError: when no model is kept at all.
    """
    models = [require_kept(name, folder) for name in dict.fromkeys(names)] or kept_models(folder)
    if not models:
        raise NothingToDoError(
            f"{folder_of(folder)}: no model is kept here; 'cxrlens model add FILE --name NAME' keeps one"
        )
    if out.suffix.lower() != ".zip":
        raise UsageError(f"{out}: a bundle is a ZIP archive; give `out` a name that ends in .zip")
    if out.is_dir() or (out.exists() and not force):
        raise UsageError(f"{out}: already exists; give another name or `force`")
    require_own(out, is_bundle)
    contents = _Contents(models=tuple(_for_others(model.record) for model in models))
    with replacing(out) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(BUNDLE_CONTENTS), to_json(contents.model_dump()))
        for model in models:
            _pack(archive, model)
    return models


def add_bundle(
    file: Path, *, name: str | None = None, folder: Path | None = None, force: bool = False
) -> list[KeptModel]:
    """Keep the models of a bundle under their names; those that are there with the same content stay as they are.

    Args:
        name: another one for the only model of a bundle.

    Raises:
        UsageError: when the bundle is damaged or no bundle, a model in it is not usable, a name is taken, or the folder
            cannot be written. Nothing is kept then.
    """
    there = folder_of(folder)
    try:
        with zipfile.ZipFile(file) as archive:
            contents = _contents(archive, file)
            renamed = _renamed(contents, name, file)
            with writing(there):
                return _take_in(archive, contents, renamed, there, file, force=force)
    except (OSError, *_UNREADABLE) as error:
        if isinstance(error, OSError) and error.filename is not None:  # of a file of ours
            raise
        if not is_bundle(file):
            raise _no_bundle(file) from error
        raise UsageError(f"{file}: is a bundle of models that is cut short or damaged; copy it again") from error


def _take_in(
    archive: zipfile.ZipFile,
    contents: Sequence[Record],
    renamed: Sequence[Record],
    folder: Path,
    file: Path,
    *,
    force: bool,
) -> list[KeptModel]:
    before = [check_free(folder, record, force=force) for record in renamed]
    new = [
        (packed, record)
        for packed, record, kept in zip(contents, renamed, before, strict=True)
        if kept is None or kept.record.sha256 != record.sha256 or state_of(kept) != "ok"
    ]
    with ExitStack() as written:  # each is renamed to its place only when all were read and are what they should be
        for packed, record in new:
            partial = written.enter_context(replacing(folder / record.file))
            _unpack(archive, packed, partial, file)
            _check(partial, record, file)
    remember(folder, [record for _, record in new])
    return [require_kept(record.name, folder) for record in renamed]


def _check(partial: Path, record: Record, file: Path) -> None:
    """Make sure that a model can be used, and is what the list of models says."""
    try:
        card = read_card(partial)
    except UsageError as error:
        raise UsageError(f"{file}: '{record.name}' in it is not usable: {error}") from error
    if (card.architecture, card.preprocessing.size) != (record.architecture, record.input):
        raise UsageError(
            f"{file}: '{record.name}' in it is no {record.architecture} of {record.input}, as it says; export it again"
        )


def _for_others(record: Record) -> Record:
    """A record without what concerns this computer alone."""
    return record.model_copy(update={"source": Path(record.source).name, "made_by": ""})


def _contents(archive: zipfile.ZipFile, file: Path) -> Sequence[Record]:
    try:
        entry = archive.getinfo(BUNDLE_CONTENTS)
        with archive.open(entry) as stream:
            text = stream.read(_MOST + 1)
    except KeyError as error:
        raise _no_bundle(file) from error
    if len(text) > _MOST:
        raise UsageError(f"{file}: its list of models is too long to be one; export it again")
    try:
        models = _Contents.model_validate_json(text).models
    except ValidationError as error:
        raise UsageError(
            f"{file}: its list of models cannot be read ({first_fault(error)}); update cxrlens?"
        ) from error
    if len({model.name for model in models}) != len(models):
        raise UsageError(f"{file}: names a model twice; export it again")
    return models


def _no_bundle(file: Path) -> UsageError:
    return UsageError(
        f"{file}: is no bundle of models, which 'cxrlens model export' writes; give a model file or a bundle"
    )


def _renamed(models: Sequence[Record], name: str | None, file: Path) -> list[Record]:
    """The records as they will be kept."""
    if name is not None:
        check_name(name)
        if len(models) > 1:
            raise UsageError(f"{file}: holds {len(models)} models, which keep their names; leave `name` out")
    changes = {"added": timestamp(), "made_by": ""} | ({} if name is None else {"name": name})
    return [
        model.model_copy(update={**changes, "source": f"{model.source}, from the bundle {file.name}"})
        for model in models
    ]


def _pack(archive: zipfile.ZipFile, model: KeptModel) -> None:
    """Put a model's file into the archive.

    Raises:
        UsageError: when it is not what was added.
    """
    try:
        with model.file.open("rb") as stream, archive.open(_entry(model.record), "w", force_zip64=True) as packed:
            digest, _ = _copy(stream, packed, model.record.size)
    except FileNotFoundError:
        digest = ""
    if digest != model.record.sha256:
        raise UsageError(
            f"{model.file}: the file of '{model.record.name}' is damaged or gone; add the model again with `force`"
        )


def _unpack(archive: zipfile.ZipFile, record: Record, place: Path, file: Path) -> None:
    """Write a model of the archive to a place.

    Raises:
        UsageError: when it is not there, or not what the list of models says.
    """
    entry = _entry(record)
    if entry.filename not in archive.namelist():
        raise UsageError(f"{file}: lacks the file of '{record.name}'; copy it again")
    with archive.open(entry.filename) as packed, place.open("wb") as stream:
        digest, is_whole = _copy(packed, stream, record.size)
    if digest != record.sha256 or not is_whole:
        raise UsageError(f"{file}: '{record.name}' in it does not have the hash that it should; copy it again")


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> tuple[str, bool]:
    """Copy at most so many bytes; their SHA-256, and whether they were all there was."""
    digest, left = hashlib.sha256(), size
    while left and (piece := source.read(min(_PIECE, left))):
        digest.update(piece)
        target.write(piece)
        left -= len(piece)
    return digest.hexdigest(), not left and not source.read(1)


def _entry(record: Record) -> zipfile.ZipInfo:
    """Its name is made of what `Record` allows, and leads nowhere else."""
    return zipfile.ZipInfo(f"models/{record.file}")
