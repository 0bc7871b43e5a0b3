"""CSV files as spreadsheets and other programs write them: one way to open them, and to say why one cannot be read."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrlens.errors import UsageError


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
    try:
        with path.open(encoding="utf-8-sig", errors="strict" if utf8_only else "surrogateescape", newline="") as stream:
            yield csv.DictReader(stream)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; {missing}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text ({error.reason}); save it as CSV in UTF-8") from error
    except (OSError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read as CSV: {error}") from error
