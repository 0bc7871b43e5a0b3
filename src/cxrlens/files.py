"""Writing result files so that a reader never sees half of one."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from cxrlens.errors import UsageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; renamed to it on success, deleted on an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        if error.filename is None:  # of a write to a full disk
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content in hexadecimal digits, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def short_name(name: str, longest: int = 150) -> str:
    """The name of a file to be derived from one of this name; a long one is cut and gets a digest of itself.

    File systems take 255 bytes, and the endings of results and of temporary names have to fit too.
    """
    encoded = os.fsencode(name)
    if len(encoded) <= longest:
        return name
    return f"{encoded[:longest].decode(errors='ignore')}~{hashlib.sha256(encoded).hexdigest()[:12]}"


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text; lines end in a line feed on every system."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write JSON; numbers that are not finite become null."""
    write_text(path, to_json(value) + "\n")


def read_yaml(path: Path, kind: str, remedy: str) -> dict[str, Any]:
    """The values by name in a YAML file.

    Args:
        kind: names what the file should hold in an error, such as "recipe".
        remedy: ends an error's sentence.

    Raises:
        UsageError: when the file is missing, unreadable, no YAML, or holds no names with values.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such {kind} file; {remedy}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())}); {remedy}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path}: holds no {kind}; {remedy}")
    return values


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as `to_csv` gives them, one by one."""
    with (
        replacing(path) as partial,
        partial.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as stream,
    ):
        _write_rows(stream, columns, rows)


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """CSV text; None and NaN become empty fields, floats have 6 significant digits."""
    stream = io.StringIO()
    _write_rows(stream, columns, rows)
    return stream.getvalue()


def _write_rows(stream: TextIO, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    quoting = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    for row in rows:
        fields = [_field(row.get(column)) for column in columns]
        # Python before 3.13 leaves a carriage return bare, which begins a row for others.
        has_return = any(isinstance(field, str) and "\r" in field for field in fields)
        (quoting if has_return else writer).writerow(fields)


def to_json(value: Any) -> str:
    """JSON text with sorted-as-given keys; numbers that are not finite become null."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False)


def plain(value: Any) -> Any:
    """The value in JSON's own types: paths as text, NaN and infinity as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def new_folder(path: Path, *, force: bool = False, remedy: str = "give another name or `force`") -> Path:
    """Make a folder for results.

    Raises:
        UsageError: when it already holds something and ``force`` is not given, or it cannot be made.
    """
    try:
        if not force and path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path}: already exists and is not empty; {remedy}")
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be made ({error.strerror or error}); choose another place") from error
    return path


def _field(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value
