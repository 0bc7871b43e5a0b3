"""Models by name: where they are kept, and the file that a name stands for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Literal

from platformdirs import user_data_dir
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cxrlens.errors import UsageError
from cxrlens.user_folder import user_folder

FOLDER_VARIABLE: Final = "CXRLENS_MODELS"

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SUFFIXES: Final = ("safetensors", "onnx")
_DIGITS: Final = 12  # of the hash, in the name of a file


class Record(BaseModel):
    """What is known of a model that is kept; the file ``NAME.json`` beside it.

    Attributes:
        format: version of these fields.
        name: lower-case letters, digits and . _ - only, see `is_name`.
        kind: of its file, and the ending of that.
        sha256: of the file's content, ``size`` its bytes.
        architecture: as its model card says; likewise ``input``, the size of its images in words.
        source: where it was taken from, in words.
        made_by: the command whose own model this is, and which may replace it; "" for one that a person has added.
        added: time, ISO 8601.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: str
    kind: Literal["safetensors", "onnx"]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(gt=0)
    architecture: str
    input: str
    source: str
    made_by: str = ""
    added: str

    @model_validator(mode="after")
    def _has_a_name(self) -> Record:
        if not is_name(self.name):
            raise ValueError("name should hold lower-case letters, digits and . _ - only")
        return self

    @property
    def file(self) -> str:
        """Name of the model's file: that of the model, the beginning of its hash, and the kind."""
        return f"{self.name}-{self.sha256[:_DIGITS]}.{self.kind}"


@dataclass(frozen=True)
class KeptModel:
    """A model that is kept in a folder."""

    folder: Path
    record: Record

    @property
    def file(self) -> Path:
        """Its model file."""
        return self.folder / self.record.file


def default_folder() -> Path:
    """The folder that ``CXRLENS_MODELS`` names, else the platform's place for data of this user.

    Raises:
        UsageError: when this user has no home.
    """
    remedy = f"models are kept; name a folder with the environment variable {FOLDER_VARIABLE}"
    return user_folder(FOLDER_VARIABLE, "XDG_DATA_HOME", user_data_dir, remedy, inside="models")


def is_name(text: str) -> bool:
    """True for what can be the name of a model that is kept: it could be no path of a model's file."""
    return _NAME.fullmatch(text) is not None and not text.endswith(tuple(f".{suffix}" for suffix in _SUFFIXES))


def kept_models(folder: Path | None = None) -> list[KeptModel]:
    """All models of a folder, by default the user's, in the order of their names; files of others are passed over.

    Raises:
        UsageError: when something else is in the folder's place.
    """
    folder = default_folder() if folder is None else folder
    _require_folder(folder)
    return sorted(_found(folder), key=lambda each: each.record.name)


def find_kept(name: str, folder: Path | None = None) -> KeptModel | None:
    """The model of this name; None where there is none.

    Raises:
        UsageError: when what should keep models is no folder.
    """
    folder = default_folder() if folder is None else folder
    _require_folder(folder)
    return _read(folder / f"{name}.json") if is_name(name) else None


def kept_as(file: Path) -> str | None:
    """The name under which a file is kept, where it lies in a folder of models; None for other files."""
    match = re.fullmatch(rf"(.+)-[0-9a-f]{{{_DIGITS}}}\.({'|'.join(_SUFFIXES)})", file.name)
    kept = find_kept(match[1], file.parent) if match else None
    return kept.record.name if kept is not None and kept.record.file == file.name else None


def known_as(file: Path) -> str:
    """The short name that people know a model's file by.

    That under which it is kept; that of its run's folder, for the best model there and whatever is called "model"; else
    the file's own without its ending.
    """
    if (kept := kept_as(file)) is not None:
        return kept
    folder = Path(os.path.abspath(file)).parent  # noqa: PTH100 (a link to a folder keeps its own name)
    is_of_folder = file.stem == "model" or file.resolve() == (folder / "model.safetensors").resolve()
    return (folder.name if is_of_folder else "") or file.stem


def named_model(path: Path) -> Path:
    """The file of the model that is kept under this name.

    The path itself where it leads to a model's file or a run with one, is no name, or no model is kept under it.

    Raises:
        UsageError: when what should keep models is no folder.
    """
    if not is_name(str(path)) or leads_to_model(path):
        return path
    kept = _known(str(path))
    return path if kept is None else kept.file


def is_ambiguous(path: Path) -> bool:
    """True where the path leads to a model while another one is kept under the same name."""
    if not (is_name(str(path)) and leads_to_model(path)):
        return False
    try:
        return _known(str(path)) is not None
    except UsageError:  # no matter, as a file was named
        return False


def leads_to_model(path: Path) -> bool:
    """True where there is a file, or a run folder with a model."""
    return path.is_file() or (path / "model.safetensors").is_file()


def near_names(name: str) -> list[str]:
    """Names of kept models that may have been meant."""
    try:
        return get_close_matches(name, [each.record.name for each in kept_models()], cutoff=0.5)
    except UsageError:
        return []


def _known(name: str) -> KeptModel | None:
    """As `find_kept`; nothing is known where this user has no folder."""
    try:
        folder = default_folder()
    except UsageError:
        return None
    return find_kept(name, folder)


def _require_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is no folder that could keep models; name one with `models` or {FOLDER_VARIABLE}")


def _found(folder: Path) -> Iterator[KeptModel]:
    for path in folder.glob("*.json"):
        kept = _read(path)
        if kept is not None:
            yield kept


def _read(path: Path) -> KeptModel | None:
    """The record in a file; None where it is none, or another name's."""
    try:
        record = Record.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return KeptModel(path.parent, record) if path.name == f"{record.name}.json" else None
