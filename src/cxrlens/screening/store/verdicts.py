"""Readers' verdicts in the store: an audit log that only grows, and the verdicts that stand as a view of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, func, insert, select

from cxrlens.errors import CxrlensError
from cxrlens.screening.store.database import Database
from cxrlens.screening.store.schema import audit, results, verdicts

Verdict: TypeAlias = Literal["accept", "retake", "none"]
"""What a reader says of an image: fit for reading, a suggested retake, or nothing (yet, or any more)."""

Key = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file's content.")]


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KeptVerdict(_Kept):
    """A verdict that stands.

    Attributes:
        key: of the image; ``name`` in the worklist when the verdict was given.
        probability: that the image was screened with.
        time: when it was given, ISO 8601 in UTC.
    """

    key: Key
    name: str
    verdict: Literal["accept", "retake"]
    probability: float | None
    time: str


class GivenVerdict(_Kept):
    """The outcome of a verdict that was given.

    Attributes:
        replaced: what stood before, "none" where nothing did.
        changed: whether it was another one; the same verdict again is not recorded again.
        id: of the entry in the audit log that it stands in; null for "none" on an image without entries.
        time: of that entry.
    """

    key: Key
    name: str
    verdict: Verdict
    replaced: Verdict
    changed: bool
    id: int | None
    time: str


class AuditEntry(_Kept):
    """One entry of the audit log, which only grows.

    Attributes:
        id: rises with every entry.
        time: ISO 8601 in UTC.
        replaced: the verdict that stood before.
        probability: that the image was screened with.
        model_sha256: of the model that it was screened with.
    """

    id: int
    time: str
    key: Key
    name: str
    verdict: Verdict
    replaced: Verdict
    probability: float | None
    model_sha256: str


class StaleVerdictError(CxrlensError):
    """Somebody has given another verdict since the reader looked.

    Attributes:
        standing: the verdict that stands.
    """

    def __init__(self, name: str, standing: Verdict, time: str) -> None:
        said = "has withdrawn the verdict" if standing == "none" else f"has given the verdict '{standing}'"
        super().__init__(
            f"{name}: another reader {said} at {time}, after this page had looked; look at it, and judge again if you "
            "see it otherwise"
        )
        self.standing = standing


class ReusedNumberError(CxrlensError):
    """A client has given two verdicts under the number of one."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: another verdict was given under this number; draw a new one for each verdict")


class VerdictTable:
    """The verdicts of a database. Every call is a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def give(
        self,
        key: str,
        verdict: Verdict,
        model_sha256: Callable[[], str],
        seen: Verdict | None = None,
        request: str | None = None,
    ) -> GivenVerdict | None:
        """Let a verdict on an image stand; the one that stands already is not recorded again.

        Args:
            model_sha256: of the model that the folder is screened with; asked while no result can be written.
            seen: the verdict that stood when the reader looked; None replaces whatever stands.
            request: a number that the client made up for this verdict; one that was given under it already is not given
                again, whatever has been said since.

        Returns:
            None where no image of the worklist has this key.

        Raises:
            ReusedNumberError: when another verdict was given under this number.
            StaleVerdictError: when another verdict stands than was seen; nothing is changed then.
            StoreError: when it cannot be kept (a full disk, a locked file); nothing is changed then.
        """
        wanted = results.c.is_newest, results.c.key == key
        with self._database.writing() as connection:
            image = connection.execute(
                select(results.c.name, results.c.probability)
                .where(*wanted)
                .order_by(results.c.rank, results.c.name)
                .limit(1)
            ).first()
            if image is None:
                return None
            if request is not None and (given := _given(connection, request)) is not None:
                if (given.key, given.verdict) != (key, verdict):
                    raise ReusedNumberError(image.name)
                return given
            id_, time, before = last_entry(connection, key)
            if seen is not None and before not in (seen, verdict):
                raise StaleVerdictError(image.name, before, time)
            if verdict != before:
                time = datetime.now(UTC).isoformat(timespec="milliseconds")
                entry = {"time": time, "key": key, "name": image.name, "verdict": verdict, "replaced": before}
                entry |= {"probability": image.probability, "model_sha256": model_sha256(), "request": request}
                added = insert(audit).values(**entry)
                id_ = connection.execute(added.returning(audit.c.id)).scalar_one()
        return GivenVerdict(
            key=key, name=image.name, verdict=verdict, replaced=before, changed=verdict != before, id=id_, time=time
        )

    def standing(self) -> list[KeptVerdict]:
        """The verdicts that stand, in the order in which they were given."""
        columns = [each for each in verdicts.c if each.name != "id"]
        with self._database.reading() as connection:
            rows = connection.execute(select(*columns).order_by(verdicts.c.id)).mappings().all()
        return [KeptVerdict(**row) for row in rows]

    def of_files(self) -> Iterator[tuple[str, KeptVerdict]]:
        """The verdicts that stand with the names of the images they are on, which may share their content.

        The image of a verdict that is no longer in the worklist is named as it was when the verdict was given.
        """
        columns = [each for each in verdicts.c if each.name != "id"]
        found = verdicts.outerjoin(results, (results.c.key == verdicts.c.key) & results.c.is_newest)
        statement = select(results.c.name.label("file"), *columns).select_from(found)
        with self._database.reading() as connection:
            rows = connection.execute(statement.order_by(verdicts.c.id, results.c.rank, results.c.name)).mappings()
            for row in rows.all():
                kept = KeptVerdict(**{name: value for name, value in row.items() if name != "file"})
                yield row["file"] or kept.name, kept

    def audit(self, after: int = 0, limit: int = 1000) -> tuple[int, list[AuditEntry]]:
        """The number of all entries, and so many of those whose id is larger, oldest first."""
        with self._database.reading() as connection:
            total = connection.scalar(select(func.count()).select_from(audit)) or 0
            columns = [audit.c[name] for name in AuditEntry.model_fields]
            rows = connection.execute(select(*columns).where(audit.c.id > after).order_by(audit.c.id).limit(limit))
            return total, [AuditEntry(**row) for row in rows.mappings()]


def _given(connection: Connection, request: str) -> GivenVerdict | None:
    """What was given under a number."""
    columns = (audit.c[name] for name in ("key", "name", "verdict", "replaced", "id", "time"))
    found = connection.execute(select(*columns).where(audit.c.request == request)).mappings().first()
    return None if found is None else GivenVerdict(**found, changed=True)


def last_entry(connection: Connection, key: str) -> tuple[int | None, str, Verdict]:
    """(id, time, verdict) of the last entry of a key; the verdict is "none" where there is none."""
    last = select(audit.c.id, audit.c.time, audit.c.verdict).where(audit.c.key == key)
    found = connection.execute(last.order_by(audit.c.id.desc()).limit(1)).first()
    return (None, "", "none") if found is None else (found.id, found.time, found.verdict)
