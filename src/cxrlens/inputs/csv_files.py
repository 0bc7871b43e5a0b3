"""CSV files as spreadsheets and other programs write them: one way to open them, and to say why one cannot be read."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrlens.errors import UsageError

_LONGEST_FIELD = 1 << 28  # characters: an outline of many points is longer than Python's 131,072


@contextmanager
def open_csv(path: Path, *, utf8_only: bool = False, missing: str = "check the path") -> Iterator[csv.DictReader[str]]:
    """The rows of a CSV by column name; a byte-order mark and any line ends are accepted.

    Args:
        path: the file.
        utf8_only: refuse other bytes; else they come as surrogates, as they do in file names.
        missing: what to do about a file that is not there.

    Raises:
        UsageError: when the file is missing or cannot be read as CSV, also while its rows are taken.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    reader = None
    try:
        with path.open(encoding="utf-8-sig", errors="strict" if utf8_only else "surrogateescape", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)  # else a quotation mark that nothing closes takes all rows
            yield reader
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; {missing}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text ({error.reason}); save it as CSV in UTF-8") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read as CSV: {error}") from error
    except csv.Error as error:
        line = reader.line_num + 1 if reader else 1  # where the row begins
        raise UsageError(f"{path}, line {line}: cannot be read as CSV: {error}; correct the row") from error


def lower_columns(path: Path, reader: csv.DictReader[str], used: Collection[str]) -> list[str]:
    """The names of the columns without letter case and blanks, by which the rows are then read.

    Raises:
        UsageError: when two columns have one of the names that are ``used``: each says something else.
    """
    columns = [name.strip().lower() for name in reader.fieldnames or ()]
    for name in used:
        if columns.count(name) > 1:
            raise UsageError(f"{path}: has the column '{name}' twice; rename or delete one")
    reader.fieldnames = columns
    return columns


def whole_number(text: str) -> str:
    """A whole number without the decimals that spreadsheets give it, 1.0 or 1,0; other texts stay as they are."""
    return re.sub(r"[.,]0+$", "", text) if re.fullmatch(r"\s*[+-]?[0-9]+[.,]0+", text) else text
