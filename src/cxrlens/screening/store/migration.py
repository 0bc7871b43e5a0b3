"""Folders of earlier versions: results in results.jsonl, verdicts in verdicts.sqlite, which are read and left alone.

What processes of such a version add to them later is taken over when the store is opened next.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, func, insert, select, update

from cxrlens.errors import UsageError
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.results import row_of
from cxrlens.screening.store.schema import audit, fact, results, set_fact
from cxrlens.screening.store.verdicts import last_entry

_ROWS = 500
_COLUMNS = ("id", "time", "key", "name", "verdict", "replaced", "probability", "model_sha256")


def migrate(connection: Connection, folder: ScreenedFolder, *, is_new: bool) -> None:
    """Take over what an earlier version left, within the transaction in which the store is made.

    Args:
        is_new: the store holds nothing yet.

    Raises:
        UsageError: when a line of results.jsonl is damaged, or verdicts.sqlite holds no verdicts.
    """
    if folder.is_of_earlier_version() and not is_new:  # such a version has begun it anew, or this was not said yet
        connection.execute(results.delete())
        _take_results(connection, folder, 0)
    elif is_new or folder.committed_file.exists():
        _take_results(connection, folder, int(fact(connection, "results_taken_over") or 0))
    _take_verdicts(connection, folder.path / "verdicts.sqlite")


def _take_results(connection: Connection, folder: ScreenedFolder, begin: int) -> None:
    """Those that follow behind this byte."""
    end = begin
    for _, part in groupby(enumerate(_lines(folder, begin)), lambda each: each[0] // _ROWS):
        lines = [line for _, line in part]
        rows = [row_of(image, line.decode().removesuffix("\n")) | {"is_newest": False} for line, image in lines]
        connection.execute(insert(results), rows)
        end += sum(len(line) for line, _ in lines)
    if end > begin:
        connection.execute(update(results).where(results.c.is_newest).values(is_newest=False))
        newest = select(func.max(results.c.id)).group_by(results.c.name)
        connection.execute(update(results).where(results.c.id.in_(newest)).values(is_newest=True))
        set_fact(connection, "results_taken_over", str(end))


def _lines(folder: ScreenedFolder, begin: int) -> Iterator[tuple[bytes, ScreenedImage]]:
    """Whole lines from a byte on, each as it stands and as it reads; those of an unfinished batch are left out."""
    if not folder.results_file.exists():
        return
    end = _committed(folder)
    with folder.results_file.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n") or stream.tell() > end:
                return
            if stream.tell() <= begin:
                continue
            try:
                image = ScreenedImage.model_validate_json(line)
            except ValidationError as error:
                raise UsageError(
                    f"{folder.results_file}: line {number} is damaged; delete that line, "
                    "and its image is screened again"
                ) from error
            yield line, image


def _committed(folder: ScreenedFolder) -> int:
    """Bytes of finished batches; all, where the folder does not say."""
    size = folder.results_file.stat().st_size
    try:
        committed = int(folder.committed_file.read_text("utf-8"))
    except (OSError, ValueError):
        return size
    return committed if 0 <= committed <= size else size


def _take_verdicts(connection: Connection, path: Path) -> None:
    known = int(fact(connection, "verdicts_taken_over") or 0)
    entries = _entries(path, known) if path.exists() else []
    if not entries:
        return
    set_fact(connection, "verdicts_taken_over", str(entries[-1]["id"]))
    if connection.scalar(select(audit.c.id).limit(1)) is None:
        connection.execute(insert(audit), entries)
    else:
        _add_verdicts(connection, entries)


def _add_verdicts(connection: Connection, entries: list[dict[str, Any]]) -> None:
    """Behind those that were given here in the meantime."""
    for entry in entries:
        last = last_entry(connection, entry["key"])
        standing = "none" if last is None else last.verdict
        if entry["verdict"] != standing:
            new = {name: value for name, value in entry.items() if name != "id"} | {"replaced": standing}
            connection.execute(insert(audit).values(**new))


def _entries(path: Path, after: int) -> list[dict[str, Any]]:
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=20)) as connection:
            (format_,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables and not format_:  # its process was killed when it began
                return []
            if format_ != 1:
                raise UsageError(f"{path}: holds no verdicts, or those of another version of cxrlens; move it away")
            query = f"SELECT {', '.join(_COLUMNS)} FROM audit WHERE id > ? ORDER BY id"
            entries = [dict(zip(_COLUMNS, row, strict=True)) for row in connection.execute(query, (after,))]
    except sqlite3.Error as error:
        raise UsageError(f"{path}: verdicts cannot be read ({error}); check the file and its rights") from error
    for entry in entries:
        if not re.fullmatch("[0-9a-f]{64}", str(entry["key"])):
            raise UsageError(
                f"{path}: entry {entry['id']} of its audit log is on {str(entry['key'])[:80]!r}, which is no digest of "
                "an image; the file is damaged, move it away"
            )
    return entries
