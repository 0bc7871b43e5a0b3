"""``results.jsonl``: all results as lines, written as they come; the store rules where the two disagree."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable
from pathlib import Path

from cxrlens.files import open_private
from cxrlens.screening.store.results import ResultTable

log = logging.getLogger(__name__)


class Export:
    """The lines of a store's results in a file."""

    def __init__(self, file: Path, results: ResultTable) -> None:
        self.file = file
        self._results = results
        self._size = -1

    def append(self, records: Iterable[str]) -> None:
        """Add the lines of results that were added to the store; write all where the file is not as it was left."""
        if (self.file.stat().st_size if self.file.exists() else 0) != self._size:
            self.agree()
        else:
            self._write(records)

    def agree(self, *, is_trimmed: bool = False) -> None:
        """Make the file say what the store holds.

        Lines that are missing at its end, as after a kill, are added, and a torn line goes. A file that a person has
        changed is set aside under another name, and written anew.

        Args:
            is_trimmed: cut away what follows behind the lines of the store, even whole lines.
        """
        records = self._results.records()
        same, differing, rest = self._compare(records)
        is_torn = b"\n" not in rest if differing is None else _line(differing).startswith(rest)
        if not is_torn and not (is_trimmed and differing is None):
            self._set_aside()
            records, differing, same = self._results.records(), None, 0
        elif rest:
            with self.file.open("r+b") as stream:
                stream.truncate(same)
        self._size = same
        if differing is not None or not self.file.exists():
            self._write(itertools.chain([differing] if differing else [], records))

    def _compare(self, records: Iterable[str]) -> tuple[int, str | None, bytes]:
        """Bytes that are the same, the first record of which the line differs, and what is in the file there."""
        same = 0
        if not self.file.exists():
            return same, None, b""
        with self.file.open("rb") as stream:
            for record in records:
                line = _line(record)
                found = stream.read(len(line))
                if found != line:
                    return same, record, found + stream.readline()
                same += len(line)
            return same, None, stream.readline()

    def _set_aside(self) -> None:
        names = (f"{self.file.stem}-set-aside-{number}{self.file.suffix}" for number in itertools.count(1))
        aside = next(place for place in map(self.file.with_name, names) if not place.exists())
        self.file.rename(aside)
        log.warning("%s: did not say what the store holds; it is kept as %s and written anew", self.file, aside.name)

    def _write(self, records: Iterable[str]) -> None:
        self._size = append_lines(self.file, records)


def append_lines(file: Path, records: Iterable[str]) -> int:
    """Add records to a file, which its owner alone may read if it is new; gives the file's size."""
    try:
        with open(file, "ab", opener=open_private) as stream:
            stream.writelines(map(_line, records))
            return stream.tell()
    except OSError as error:
        error.filename = error.filename or str(file)  # of a write to a full disk it has none
        raise


def _line(record: str) -> bytes:
    return record.encode() + b"\n"
