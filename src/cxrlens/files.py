"""Writing result files so that a reader never sees half of one, and that no program takes a name for a command."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from cxrlens.errors import UsageError

_PARTIAL = re.compile(r"\.(?:[0-9a-f]{16}|[0-9]+)\.partial\..+", re.DOTALL)  # numbers: of an earlier version
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_FORMULA = re.compile(r"['\s]*[=+\-@\t\r\n＝＋－＠]")
_HIDDEN_FORMULA = re.compile(r"[;\t]['\s]*[=+\-@＝＋－＠]")  # where a semicolon ends a cell, as in some languages
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[Path]:
    """A new empty file beside ``path`` to write to; renamed to it on success, deleted on an exception.

    Its name is drawn at random and the file system makes it for one process alone, so that no two writers share it,
    on whatever computers or in whatever containers they run.

    Args:
        private: readable by its owner alone, whatever the umask; a file that is replaced hands on its rights.

    Raises:
        UsageError: when a folder lies where the file should, or a file where its folder should.
    """
    refuse_folder(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(
            f"{error.filename}: is no folder, and one of this name is to be written; move it away"
        ) from error
    partial = _new_partial(path, 0o600 if private else 0o666)
    try:
        if private and path.is_file():
            partial.chmod(path.stat().st_mode & 0o777)
        yield partial
        partial.replace(path)
    except OSError as error:
        if error.filename is None:  # of a write to a full disk
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def refuse_folder(path: Path) -> None:
    """Make sure that no folder lies where a file is to be written, or removed.

    Raises:
        UsageError: when one does.
    """
    if path.is_dir():
        raise UsageError(f"{path}: is a folder, and a file of this name is to be written; move it away")


def _new_partial(path: Path, mode: int) -> Path:
    while True:
        partial = path.with_name(f".{secrets.token_hex(8)}.partial.{short_name(path.name, 200)}")
        try:
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        except FileExistsError:
            continue
        return partial


def open_private(path: str, flags: int) -> int:
    """An opener for `open`: a file that it makes is readable by its owner alone, whatever the umask."""
    return os.open(path, flags, 0o600)


def is_partial(name: str) -> bool:
    """True for the name of a file that a writer has not finished: it is at work, or it was killed."""
    return _PARTIAL.fullmatch(name) is not None


def printable(text: str) -> str:
    """The text on one line, with nothing in it that a terminal obeys: control characters become escapes."""
    return _CONTROL.sub(lambda sign: sign[0].encode("unicode_escape").decode(), text)


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


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Write UTF-8 text; lines end in a line feed on every system. ``private`` is that of `replacing`."""
    with replacing(path, private=private) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")


def write_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Write JSON; numbers that are not finite become null. ``private`` is that of `replacing`."""
    write_text(path, to_json(value) + "\n", private=private)


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
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: no text, or no date, as of a 13th month
        raise UsageError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())}); {remedy}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path}: holds no {kind}; {remedy}")
    return values


def write_csv(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    *,
    paths: Collection[str] = (),
    private: bool = False,
) -> None:
    """Write rows as `to_csv` gives them, one by one; ``private`` is that of `replacing`."""
    with (
        replacing(path, private=private) as partial,
        partial.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as stream,
    ):
        _write_rows(stream, columns, rows, paths)


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, paths: Collection[str] = ()) -> str:
    """CSV text; None and NaN become empty fields, floats have 6 significant digits.

    No text in it is a formula to a spreadsheet, see `path_cell` and `text_cell`.

    Args:
        paths: the columns that hold paths.
    """
    stream = io.StringIO()
    _write_rows(stream, columns, rows, paths)
    return stream.getvalue()


def path_cell(path: str) -> str:
    """A path as a CSV has it: one that a spreadsheet would take for a formula begins with "./", the same path."""
    return f"./{path}" if _FORMULA.match(path) else path


def text_cell(text: str) -> str:
    """A text as a CSV has it: an apostrophe before what a spreadsheet would take for a formula; numbers stay."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def text_of_cell(cell: str) -> str:
    """The text of which `text_cell` made a cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _write_rows(
    stream: TextIO, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], paths: Collection[str]
) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    quoting = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    for row in rows:
        fields = [_field(row.get(column), is_path=column in paths) for column in columns]
        # Python before 3.13 leaves a carriage return bare, which begins a row for others.
        is_torn = any(isinstance(field, str) and ("\r" in field or _HIDDEN_FORMULA.search(field)) for field in fields)
        (quoting if is_torn else writer).writerow(fields)


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


def _field(value: Any, *, is_path: bool) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, str):
        return path_cell(value) if is_path else text_cell(value)
    return f"{value:.6g}" if isinstance(value, float) else value
