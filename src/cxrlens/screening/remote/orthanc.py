"""Images of an Orthanc by its own REST API, and the feed of its changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cxrlens.errors import ServerLostError, UnreadableImageError, UsageError
from cxrlens.screening.remote.origin import Feed, FeedBegunAnewError, RemoteOrigin
from cxrlens.screening.remote.selection import Selection, Sieve
from cxrlens.screening.remote.web import WebError, WebServer

_PAGE = 1000
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")
_KNOWN = 10_000  # series whose facts are kept


@dataclass(frozen=True)
class OrthancInstance(RemoteOrigin):
    """An image of an Orthanc; its name is the identifier by which Orthanc knows it, which follows from its UIDs."""

    server: WebServer

    def exists(self) -> bool:
        try:
            self.server.json(f"instances/{self.name}")
        except WebError:
            return False
        return True

    def read(self) -> bytes:
        try:
            return self.server.content(f"instances/{self.name}/file", "*/*")[0]
        except WebError as error:
            raise UnreadableImageError(f"{self}: {error.reason}") from error


@dataclass(frozen=True)
class OrthancSource:
    """An Orthanc, and what of it is wanted."""

    address: str
    server: WebServer
    selection: Selection

    def check(self) -> None:
        try:
            if "Version" not in self.server.json("system"):
                raise WebError("is no Orthanc; check the address")
        except WebError as error:
            raise UsageError(f"{self.address}: {error.reason}") from error

    def feed(self) -> Feed | None:
        return OrthancFeed(self)

    def origin(self, name: str) -> OrthancInstance:
        if not _ID.fullmatch(name):
            raise UsageError(f"{name}: is no name of an image of {self.address}")
        return OrthancInstance(self.address, name, self.server)

    def origins(self) -> Iterator[OrthancInstance]:
        sieve = Sieve(self.selection)
        try:
            with self._lost():
                for study in self._studies():
                    yield from self._of_study(study, sieve)
        finally:
            sieve.report(self.address)

    def _studies(self) -> list[str]:
        query = {}
        if self.selection.date:
            query["StudyDate"] = self.selection.date
        if self.selection.modalities:
            query["ModalitiesInStudy"] = "\\".join(self.selection.modalities)
        return [
            _id(study) for study in _list(self.server.json("tools/find", posted={"Level": "Study", "Query": query}))
        ]

    def _of_study(self, study: str, sieve: Sieve) -> Iterator[OrthancInstance]:
        facts = _one_there(self.server, f"studies/{study}")
        if facts is None or not sieve.takes_study(_tag(facts, "StudyDate")):
            return
        for series in _list(self.server.json(f"studies/{study}/series")):
            if _is_taken(series, sieve):
                for instance in _list(self.server.json(f"series/{_id(series['ID'])}/instances")):
                    yield self.of_facts(instance)

    def of_facts(self, facts: dict[str, Any]) -> OrthancInstance:
        """An image of what Orthanc says of it; each file that it is sent anew has another name on its disk."""
        version = str(facts.get("FileUuid", ""))
        return OrthancInstance(self.address, _id(facts.get("ID")), self.server, version=version)

    @contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except WebError as error:
            raise ServerLostError(f"{self.address}: {error.reason}") from error


class OrthancFeed:
    """The changes of an Orthanc by which an image came, see `Feed`."""

    def __init__(self, source: OrthancSource) -> None:
        self._source = source
        self._server = source.server
        self._wants = lru_cache(maxsize=_KNOWN)(self._wants_series)

    def last(self) -> int:
        with self._source._lost():
            return int(self._server.json("changes?last").get("Last", 0))

    def since(self, number: int) -> Iterator[tuple[int, RemoteOrigin | None]]:
        if self.last() < number:
            raise FeedBegunAnewError
        is_done = False
        while not is_done:
            with self._source._lost():
                page = self._server.json("changes", params={"since": number, "limit": _PAGE})
                changes, is_done = _list(page.get("Changes")), bool(page.get("Done", True))
                is_done = is_done or not changes
            for change in changes:
                number = int(change["Seq"])
                with self._source._lost():
                    origin = self._image_of(change)
                yield number, origin

    def _image_of(self, change: dict[str, Any]) -> OrthancInstance | None:
        if change.get("ChangeType") != "NewInstance":
            return None
        facts = _one_there(self._server, f"instances/{_id(change.get('ID'))}")
        if facts is None or not self._wants(_id(facts.get("ParentSeries"))):
            return None
        return self._source.of_facts(facts)

    def _wants_series(self, series: str) -> bool:
        facts = _one_there(self._server, f"series/{series}")
        sieve = Sieve(self._source.selection)
        if facts is None or not _is_taken(facts, sieve):
            return False
        study = _one_there(self._server, f"studies/{_id(facts.get('ParentStudy'))}")
        return study is not None and sieve.takes_study(_tag(study, "StudyDate"))


def _is_taken(series: dict[str, Any], sieve: Sieve) -> bool:
    station = series.get("MainDicomTags", {}).get("StationName")
    return sieve.takes_series(_tag(series, "Modality"), station, _tag(series, "Manufacturer"))


def _tag(facts: dict[str, Any], name: str) -> str:
    return str(facts.get("MainDicomTags", {}).get(name, ""))


def _one_there(server: WebServer, path: str) -> dict[str, Any] | None:
    """What is said of one thing; None where it has been deleted meanwhile."""
    try:
        found: dict[str, Any] = server.json(path)
    except WebError as error:
        if error.status == 404:
            return None
        raise
    return found


def _list(answer: Any) -> list[Any]:
    if not isinstance(answer, list):
        raise WebError("answers something that is not Orthanc's; check the address")
    return answer


def _id(text: Any) -> str:
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise WebError("names something as an Orthanc does not; check the address")
    return text
