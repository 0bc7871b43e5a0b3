"""Images of a PACS by DICOMweb: QIDO-RS finds them, WADO-RS brings them as they are stored."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from dicomweb_client import DICOMwebClient
from requests_toolbelt import MultipartDecoder
from requests_toolbelt.multipart.decoder import ImproperBodyPartContentException, NonMultipartContentTypeException

from cxrlens.errors import ServerLostError, UnreadableImageError, UsageError
from cxrlens.screening.remote.origin import Feed, RemoteOrigin
from cxrlens.screening.remote.selection import Selection, Sieve
from cxrlens.screening.remote.web import TIMEOUT, WebError, WebServer, plain_words

Answer: TypeAlias = dict[str, dict[str, Any]]

PAGE = 200
"""Studies, series or instances of one query."""

_UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*")
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_DATE, _MODALITY, _STATION, _MANUFACTURER = "00080020", "00080060", "00081010", "00080070"

logging.getLogger("dicomweb_client").setLevel(logging.ERROR)  # its lines name patients' studies


@dataclass(frozen=True)
class DicomWebInstance(RemoteOrigin):
    """An image of a PACS; its name is STUDY/SERIES/INSTANCE, and a PACS changes no instance under its UID."""

    server: WebServer

    def exists(self) -> bool:
        study, series, instance = self.name.split("/")
        try:
            with plain_words():
                filters = {"SOPInstanceUID": instance}
                return bool(_client(self.server).search_for_instances(study, series, search_filters=filters))
        except WebError:
            return False

    def read(self) -> bytes:
        study, series, instance = self.name.split("/")
        try:
            content, kind = self.server.content(f"studies/{study}/series/{series}/instances/{instance}", _ACCEPT)
            return _only_part(content, kind)
        except WebError as error:
            raise UnreadableImageError(f"{self}: {error.reason}") from error


@dataclass(frozen=True)
class DicomWebSource:
    """A PACS, and what of it is wanted."""

    address: str
    server: WebServer
    selection: Selection

    def check(self) -> None:
        try:
            with plain_words():
                _client(self.server).search_for_studies(limit=1)
        except WebError as error:
            raise UsageError(f"{self.address}: {error.reason}") from error

    def feed(self) -> Feed | None:
        return None

    def origin(self, name: str) -> DicomWebInstance:
        uids = name.split("/")
        if len(uids) != 3 or not all(map(_UID.fullmatch, uids)):
            raise UsageError(f"{name}: is no name of an image of {self.address}")
        return DicomWebInstance(self.address, name, self.server)

    def origins(self) -> Iterator[DicomWebInstance]:
        sieve = Sieve(self.selection)
        try:
            yield from self._found(sieve)
        except WebError as error:
            raise ServerLostError(f"{self.address}: {error.reason}") from error
        finally:
            sieve.report(self.address)

    def _found(self, sieve: Sieve) -> Iterator[DicomWebInstance]:
        """Study by study and series by series: few archives search all instances at once, and some then cut it off."""
        client = _client(self.server)
        for study in self._studies(client, sieve):
            for series in self._series(client, study, sieve):
                for instance in _paged(client.search_for_instances, _INSTANCE, study, series):
                    name = f"{study}/{series}/{_uid(instance, _INSTANCE)}"
                    yield DicomWebInstance(self.address, name, self.server, version="UID")

    def _studies(self, client: DICOMwebClient, sieve: Sieve) -> Iterator[str]:
        date = {"StudyDate": self.selection.date} if self.selection.date else {}
        of_modality = [{"ModalitiesInStudy": modality} for modality in self.selection.modalities] or [{}]
        seen = set[str]()
        for wanted in of_modality:
            for study in _paged(client.search_for_studies, _STUDY, search_filters=date | wanted):
                uid = _uid(study, _STUDY)
                if uid not in seen and sieve.takes_study(_text(study, _DATE) or ""):
                    yield uid
                if len(of_modality) > 1:
                    seen.add(uid)

    def _series(self, client: DICOMwebClient, study: str, sieve: Sieve) -> Iterator[str]:
        fields = ["StationName", "Manufacturer"]
        for series in _paged(client.search_for_series, _SERIES, study, fields=fields):
            facts = _text(series, _MODALITY) or "", _text(series, _STATION), _text(series, _MANUFACTURER) or ""
            if sieve.takes_series(*facts):
                yield _uid(series, _SERIES)


def _client(server: WebServer) -> DICOMwebClient:
    client = DICOMwebClient(server.url, session=server.session(), timeout=TIMEOUT)
    client.set_http_retry_params(retry=False)  # the session does that
    return client


def _paged(search: Callable[..., list[Answer]], tag: str, *place: str, **wanted: Any) -> Iterator[Answer]:
    """All answers of a search, a page at a time; an archive may give fewer than asked for, and more another time.

    Raises:
        WebError: when the archive repeats itself, so that there is no getting to the end.
    """
    seen, offset = set[str](), 0
    while True:
        with plain_words():
            page = search(*place, limit=PAGE, offset=offset, **wanted)
        if not page:
            return
        new = [answer for answer in page if _uid(answer, tag) not in seen]
        if not new:
            if len(page) != PAGE:  # it does not know pages, and has given all at once
                return
            raise WebError("gives the same page of answers again and again; ask for a shorter range of dates")
        yield from new
        seen = {_uid(answer, tag) for answer in page}
        offset += len(page)


def _text(answer: Answer, tag: str) -> str | None:
    """The first value of an attribute; "" of an empty one, None where the answer does not have it."""
    if tag not in answer:
        return None
    values = answer[tag].get("Value") or [""]
    return str(values[0] or "")


def _uid(answer: Answer, tag: str) -> str:
    uid = _text(answer, tag) or ""
    if not _UID.fullmatch(uid):
        raise WebError("answers a query without a UID, or with one that is none")
    return uid


def _only_part(content: bytes, kind: str) -> bytes:
    """The file in an answer of WADO-RS; some servers send it bare."""
    if not kind.lower().startswith("multipart/"):
        return content
    try:
        parts = MultipartDecoder(content, kind).parts
    except (ImproperBodyPartContentException, NonMultipartContentTypeException, AttributeError) as error:
        raise WebError("sends an answer that is cut off, or no answer of WADO-RS") from error
    if len(parts) != 1:
        raise WebError(f"sends {len(parts)} files in place of one")
    body: bytes = parts[0].content
    return body
