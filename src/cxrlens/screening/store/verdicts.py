"""Readers' verdicts in the store: an audit log that only grows, and the verdicts that stand as a view of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import ColumnElement, Connection, FromClause, func, insert, select, true

from cxrlens.errors import CxrlensError
from cxrlens.screening.store.database import Database
from cxrlens.screening.store.marks import MOST_MARKS, Mark, check_marks, read_marks, write_marks
from cxrlens.screening.store.results import image_of
from cxrlens.screening.store.schema import audit, results, verdicts

Verdict: TypeAlias = Literal["accept", "retake", "none"]
"""What a reader says of an image: fit for reading, a suggested retake, or nothing (yet, or any more)."""

Key = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file's content.")]


LONGEST_COMMENT = 1000
"""Characters."""

Reason = Annotated[str, Field(pattern="^[a-z0-9_-]{0,40}$")]
Comment = Annotated[str, Field(max_length=LONGEST_COMMENT)]
Marks = Annotated[tuple[Mark, ...], Field(max_length=MOST_MARKS)]


class Grounds(BaseModel):
    """Why a verdict was given.

    Attributes:
        reason: id of why the image is to be retaken; "" where none was given, as by earlier versions.
        comment: what the reader wrote.
        marks: what the reader drew on the picture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: Reason = ""
    comment: Comment = ""
    marks: Marks = ()

    @field_validator("marks", mode="before")
    @classmethod
    def _as_the_store_keeps_them(cls, marks: Any) -> Any:
        return read_marks(marks) if isinstance(marks, str) else marks


NO_GROUNDS = Grounds()


class _Kept(Grounds):
    reader: str = ""


class KeptVerdict(_Kept):
    """A verdict of a reader that stands.

    Attributes:
        id: of its entry in the audit log.
        key: of the image; ``name`` in the worklist when the verdict was given.
        probability: that the image was screened with.
        time: when it was given, ISO 8601 in UTC.
        reader: name of who gave it; "" where that is not known.
    """

    id: int
    key: Key
    name: str
    verdict: Literal["accept", "retake"]
    probability: float | None
    time: str


class GivenVerdict(_Kept):
    """The outcome of a verdict that was given.

    Attributes:
        replaced: the reader's verdict that stood before, "none" where none did.
        changed: whether it was another one, or had other grounds; the same again is not recorded again.
        id: of the entry in the audit log that it stands in; null for "none" on an image without entries.
        time: of that entry.
        reader: name of who gave it; "" where that is not known.
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
        replaced: the reader's verdict that stood before.
        probability: that the image was screened with.
        model_sha256: of the model that it was screened with.
        reader: name of who gave it; "" where that is not known.
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
    """Somebody has given another verdict, or the same one with other grounds, since the reader looked.

    Attributes:
        standing: the verdict that stands.

    Args:
        reader: whose verdict it is; "" where readers are not known, and another one may have given it.
        changed: which of the grounds are others, in words; none where the verdict is another one.
    """

    def __init__(
        self, name: str, standing: Verdict, time: str, *, reader: str = "", changed: Sequence[str] = ()
    ) -> None:
        if changed:
            said = f"has changed {' and '.join(changed)} of the verdict"
        else:
            said = "has withdrawn the verdict" if standing == "none" else f"has given the verdict '{standing}'"
        who = f"{reader}, on another page," if reader else "another reader"
        super().__init__(
            f"{name}: {who} {said} at {time}, after this page had looked; look at it, and judge again if you "
            "see it otherwise"
        )
        self.standing = standing


class ReusedNumberError(CxrlensError):
    """A client has given two verdicts under the number of one."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: another verdict was given under this number; draw a new one for each verdict")


@dataclass(frozen=True)
class Sight:
    """What a reader may see of verdicts.

    Attributes:
        blind: the name of a reader who sees those of others only on images that they have judged themselves; None sees
            all.
    """

    blind: str | None = None

    def of(self, kept: FromClause) -> ColumnElement[bool]:
        """True of what may be seen of the log, or of the verdicts that stand."""
        if self.blind is None:
            return true()
        own = verdicts.alias("own")
        judged = select(own.c.key).where(own.c.reader == self.blind)
        return (kept.c.reader == self.blind) | kept.c.key.in_(judged)


SEES_ALL = Sight()


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
        *,
        reader: str = "",
        grounds: Grounds = NO_GROUNDS,
        seen_grounds: Grounds | None = None,
    ) -> GivenVerdict | None:
        """Let a reader's verdict on an image stand; the one of this reader that stands already is not recorded again.

        Args:
            model_sha256: of the model that the folder is screened with; asked while no result can be written.
            seen: the verdict of this reader that stood when the reader looked; None replaces whatever stands.
            request: a number that the client made up for this verdict; one that was given under it already is not given
                again, whatever has been said since.
            reader: whose verdict it is; that of another reader is left alone.
            seen_grounds: what went along with the verdict that was seen; None replaces whatever went along.

        Returns:
            None where no image of the worklist has this key.

        Raises:
            ReusedNumberError: when another verdict was given under this number.
            StaleVerdictError: when another verdict, or one with other grounds, stands than was seen; nothing is changed
                then.
            UnfitMarkError: when what was drawn is no object of the picture; likewise.
            StoreError: when it cannot be kept (a full disk, a locked file); nothing is changed then.
        """
        wanted = results.c.is_newest, results.c.key == key
        with self._database.writing() as connection:
            image = connection.execute(
                select(results.c.name, results.c.probability, results.c.record)
                .where(*wanted)
                .order_by(results.c.rank, results.c.name)
                .limit(1)
            ).first()
            if image is None:
                return None
            said: dict[str, Any] = {"verdict": verdict, "reader": reader, **dict(grounds)}
            if request is not None and (given := _given(connection, request)) is not None:
                if (given.key, _said(given)) != (key, said):
                    raise ReusedNumberError(image.name)
                return given
            last = last_entry(connection, key, reader)
            before: Verdict = "none" if last is None else last.verdict
            nothing = {"verdict": "none", "reader": reader, **dict(NO_GROUNDS)}
            is_new = said != (nothing if last is None else _said(last))
            id_, time = (None, "") if last is None else (last.id, last.time)
            if seen is not None and is_new:
                changed = _changed(seen_grounds, NO_GROUNDS if last is None else last)
                if before != seen:
                    raise StaleVerdictError(image.name, before, time, reader=reader)
                if changed:
                    raise StaleVerdictError(image.name, before, time, reader=reader, changed=changed)
            if is_new:
                if grounds.marks:
                    picture = image_of(image.record)
                    check_marks(grounds.marks, height=picture.height, width=picture.width)
                time = datetime.now(UTC).isoformat(timespec="milliseconds")
                entry = {"time": time, "key": key, "name": image.name, "replaced": before, "request": request}
                entry |= {"probability": image.probability, "model_sha256": model_sha256()}
                entry |= said | {"marks": write_marks(grounds.marks)}
                id_ = connection.execute(insert(audit).values(**entry).returning(audit.c.id)).scalar_one()
        return GivenVerdict(key=key, name=image.name, replaced=before, changed=is_new, id=id_, time=time, **said)

    def standing(self, key: str | None = None, sight: Sight = SEES_ALL) -> list[KeptVerdict]:
        """The verdicts of all readers that stand, in the order in which they were given.

        Args:
            key: of one image; None for all images.
            sight: what of them may be seen.
        """
        wanted = select(verdicts).where(sight.of(verdicts)).order_by(verdicts.c.id)
        with self._database.reading() as connection:
            rows = connection.execute(wanted if key is None else wanted.where(verdicts.c.key == key)).mappings().all()
        return [KeptVerdict(**row) for row in rows]

    def of_files(self, sight: Sight = SEES_ALL) -> list[tuple[str, list[KeptVerdict]]]:
        """The verdicts that stand by the names of the images they are on, which may share their content.

        The image of a verdict that is no longer in the worklist is named as it was when the verdict was given.
        """
        found = verdicts.outerjoin(results, (results.c.key == verdicts.c.key) & results.c.is_newest)
        statement = select(results.c.name.label("file"), *verdicts.c).select_from(found).where(sight.of(verdicts))
        files: dict[tuple[str, str], list[KeptVerdict]] = {}
        with self._database.reading() as connection:
            rows = connection.execute(statement.order_by(verdicts.c.id, results.c.rank, results.c.name)).mappings()
            for row in rows:
                kept = KeptVerdict(**{name: value for name, value in row.items() if name != "file"})
                files.setdefault((row["file"] or kept.name, kept.key), []).append(kept)
        return [(name, given) for (name, _), given in files.items()]

    def audit(self, after: int = 0, limit: int = 1000, sight: Sight = SEES_ALL) -> tuple[int, list[AuditEntry]]:
        """The number of all entries, and so many of those whose id is larger, oldest first.

        Args:
            sight: what of them may be seen.
        """
        with self._database.reading() as connection:
            total = connection.scalar(select(func.count()).select_from(audit).where(sight.of(audit))) or 0
            columns = [audit.c[name] for name in AuditEntry.model_fields]
            later = select(*columns).where(audit.c.id > after, sight.of(audit))
            rows = connection.execute(later.order_by(audit.c.id).limit(limit))
            return total, [AuditEntry(**row) for row in rows.mappings()]

    def last_ids(self) -> tuple[int, int]:
        """Of the last entry of the log, and of the last result: whoever has seen these has seen all."""
        last = (select(func.max(each.c.id)).scalar_subquery() for each in (audit, results))
        with self._database.reading() as connection:
            entry, result = connection.execute(select(*last)).one()
        return entry or 0, result or 0


def _given(connection: Connection, request: str) -> GivenVerdict | None:
    """What was given under a number."""
    columns = (audit.c[name] for name in GivenVerdict.model_fields if name != "changed")
    found = connection.execute(select(*columns).where(audit.c.request == request)).mappings().first()
    return None if found is None else GivenVerdict(**found, changed=True)


_WORDS = {"reason": "the reason", "comment": "the comment", "marks": "the drawn objects"}


def _changed(seen: Grounds | None, standing: Grounds) -> list[str]:
    """Which grounds of a verdict are others than were seen, in words."""
    if seen is None:
        return []
    return [words for field, words in _WORDS.items() if getattr(seen, field) != getattr(standing, field)]


def _said(verdict: GivenVerdict | AuditEntry) -> dict[str, Any]:
    """What a reader has said, in which a repeated verdict is the same."""
    return {name: getattr(verdict, name) for name in ("verdict", "reader", *Grounds.model_fields)}


def last_entry(connection: Connection, key: str, reader: str = "") -> AuditEntry | None:
    """The last entry of a key and a reader; None where there is none."""
    columns = (audit.c[name] for name in AuditEntry.model_fields)
    last = select(*columns).where(audit.c.key == key, audit.c.reader == reader).order_by(audit.c.id.desc()).limit(1)
    found = connection.execute(last).mappings().first()
    return None if found is None else AuditEntry(**found)
