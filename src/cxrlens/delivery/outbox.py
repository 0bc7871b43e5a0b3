"""What is still to be delivered, and what was: a table on disk that outlives the process."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrlens.table_file import TableFile

FIRST_DELAY = 5.0
"""Seconds after which a delivery that failed is tried again; twice as long each time."""

LONGEST_DELAY = 300.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (
    key TEXT NOT NULL,
    destination TEXT NOT NULL,
    files TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'refused')),
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL,
    added REAL NOT NULL,
    delivered REAL,
    said TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (key, destination)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (destination, due) WHERE state = 'waiting';
"""


@dataclass(frozen=True)
class Delivery:
    """Files that are to reach a destination.

    Attributes:
        key: what they are known by; a key is delivered once to a destination.
        files: paths, from the outbox's folder on.
        attempts: that have failed.
        added: when it was put here, in seconds since the epoch.
    """

    key: str
    destination: str
    files: tuple[str, ...]
    attempts: int
    added: float


@dataclass(frozen=True)
class Tally:
    """Deliveries to a destination, by their state."""

    waiting: int = 0
    delivered: int = 0
    refused: int = 0


class Outbox:
    """The outbox of a folder; threads may share it. What was put into it is on the disk.

    Args:
        file: the table, made where there is none; paths of files are relative to its folder.

    Raises:
        TableFileError: when it cannot be opened, or is something else. Likewise as all methods do when it fails.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._table = TableFile(file, _SCHEMA, "check the disk and the rights there", is_durable=True)

    def close(self) -> None:
        """Close the file."""
        self._table.close()

    def put(self, key: str, files: Sequence[Path], destinations: Sequence[str]) -> None:
        """Have files delivered to each destination, but for those that have had this key, or wait for it, already."""
        folder = self.file.parent
        paths = json.dumps([file.relative_to(folder).as_posix() for file in files])
        now = time.time()
        rows = [(key, destination, paths, now, now) for destination in destinations]
        with self._table.writing() as table:
            table.executemany(
                "INSERT INTO deliveries (key, destination, files, state, due, added) VALUES (?, ?, ?, 'waiting', ?, ?) "
                "ON CONFLICT DO NOTHING",
                rows,
            )

    def due(self, destination: str, *, early: bool = False) -> Delivery | None:
        """The delivery to be tried next, of those whose time has come, or, where that is asked for, of all."""
        row = self._table.first(
            "SELECT key, destination, files, attempts, added FROM deliveries "
            "WHERE state = 'waiting' AND destination = ? AND due <= ? ORDER BY due LIMIT 1",
            (destination, math.inf if early else time.time()),
        )
        return None if row is None else Delivery(row[0], row[1], tuple(json.loads(row[2])), row[3], row[4])

    def paths(self, delivery: Delivery) -> list[Path]:
        """Where its files are."""
        return [self.file.parent / file for file in delivery.files]

    def delivered(self, delivery: Delivery) -> None:
        """Note that the destination has said it keeps the files."""
        self._set(delivery, state="delivered", delivered=time.time(), said="")

    def refused(self, delivery: Delivery, sentence: str) -> None:
        """Note that the destination has refused the files; they are kept, and tried again after `try_refused`."""
        self._set(delivery, state="refused", attempts=delivery.attempts + 1, said=sentence)

    def failed(self, delivery: Delivery, sentence: str) -> float:
        """Note that it is to be tried again; gives the seconds until then."""
        delay = delay_after(delivery.attempts + 1)
        self._set(delivery, attempts=delivery.attempts + 1, due=time.time() + delay, said=sentence)
        return delay

    def try_refused(self) -> int:
        """Have what was refused tried once more, as the destination may have been mended; how many there are."""
        with self._table.writing() as table:
            changed = table.execute(
                "UPDATE deliveries SET state = 'waiting', due = ? WHERE state = 'refused'", (time.time(),)
            )
            return changed.rowcount

    def hasten(self) -> None:
        """Have all that waits tried at once, however often it has failed."""
        with self._table.writing() as table:
            table.execute("UPDATE deliveries SET due = ?, attempts = 0 WHERE state = 'waiting'", (time.time(),))

    def tallies(self) -> dict[str, Tally]:
        """How many deliveries there are to each destination, of those that have any."""
        rows = self._table.all("SELECT destination, state, count(*) FROM deliveries GROUP BY 1, 2")
        found: dict[str, dict[str, int]] = {}
        for destination, state, number in rows:
            found.setdefault(destination, {})[state] = number
        return {destination: Tally(**states) for destination, states in found.items()}

    def waiting(self, destination: str) -> int:
        """How many deliveries to a destination are still to be made."""
        row = self._table.first(
            "SELECT count(*) FROM deliveries WHERE state = 'waiting' AND destination = ?", (destination,)
        )
        return 0 if row is None else int(row[0])

    def _set(self, delivery: Delivery, **values: object) -> None:
        names = ", ".join(f"{name} = :{name}" for name in values)
        with self._table.writing() as table:
            table.execute(
                f"UPDATE deliveries SET {names} WHERE key = :key AND destination = :destination",
                {**values, "key": delivery.key, "destination": delivery.destination},
            )


def delay_after(attempts: int) -> float:
    """Seconds to wait after so many attempts have failed, never the same for all that failed together."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(attempts - 1, 16)) * random.uniform(0.8, 1.2)
