"""DICOM nodes as destinations: C-STORE over an association."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.status import code_to_category

from cxrlens.delivery.destinations import DeliveryFailed, DeliverySettings
from cxrlens.errors import UsageError

log = logging.getLogger(__name__)

_PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
_FAULTY_FILE = (range(0xA900, 0xAA00), range(0xC000, 0xD000), range(0x0111, 0x0113), range(0x0117, 0x0118))
"""Statuses by which a peer has looked at a file and refuses it."""


def silence_pynetdicom() -> None:
    """Leave to this program what is said of associations: the library's lines name hosts, and tracebacks."""
    _config.LOG_HANDLER_LEVEL = "none"
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)


class DicomDestination:
    """A DICOM node that stores files.

    Args:
        address: its name in messages.
        ae_title: by which it is called.
    """

    def __init__(
        self,
        address: str,
        ae_title: str,
        host: str,
        port: int,
        settings: DeliverySettings,
        *,
        with_tls: bool = False,
    ) -> None:
        silence_pynetdicom()
        self._address = address
        self._ae_title = ae_title
        self._host = host
        self._port = port
        self._settings = settings
        self._tls = client_context(settings) if with_tls else None

    @property
    def name(self) -> str:
        return self._address

    def deliver(self, files: Sequence[Path]) -> None:
        """Send files over one association; see `Destination`."""
        datasets = [dcmread(file) for file in files]
        association = self._associated(_contexts(datasets))
        try:
            for dataset in datasets:
                self._store(association, dataset)
        finally:
            if association.is_established:
                association.release()

    def _associated(self, contexts: list[PresentationContext]) -> Association:
        entity = AE(self._settings.ae_title)
        entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = self._settings.seconds
        entity.network_timeout = self._settings.seconds
        association = entity.associate(
            self._host,
            self._port,
            contexts,
            ae_title=self._ae_title,
            tls_args=None if self._tls is None else (self._tls, self._host),
        )
        if association.is_established:
            return association
        if association.is_rejected:
            reason = association.acceptor.primitive
            said = "" if reason is None else f" ({reason.reason_str})"
            raise self._failed(f"rejects the association{said}; check both AE titles there")
        raise self._failed("cannot be reached, or has ended the association; check host, port, TLS and the AE titles")

    def _store(self, association: Association, dataset: Dataset) -> None:
        kind = UID(dataset.SOPClassUID).name
        try:
            answer = association.send_c_store(dataset)
        except ValueError as error:  # no presentation context was accepted for it
            raise self._failed(f"takes no {kind}", again=False) from error
        except RuntimeError as error:  # the association has ended meanwhile
            raise self._failed("has ended the association") from error
        status = answer.get("Status")
        if status is None:
            raise self._failed("has not answered, or has ended the association")
        category = code_to_category(status)
        if category == "Warning":
            log.info("%s: has stored a %s with the warning %#06x", self.name, kind, status)
        elif category != "Success":
            comment = f": {answer.ErrorComment}" if answer.get("ErrorComment") else ""
            faulty = any(status in kinds for kinds in _FAULTY_FILE)
            raise self._failed(f"refuses a {kind} with the status {status:#06x}{comment}", again=not faulty)

    def _failed(self, what: str, *, again: bool = True) -> DeliveryFailed:
        return DeliveryFailed(f"{self.name}: {what}", again=again)


def client_context(settings: DeliverySettings) -> ssl.SSLContext:
    """TLS towards a node, whose certificate has to name its host.

    Raises:
        UsageError: when a certificate cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.certificate is not None:
            context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{settings.ca_file or settings.certificate}: cannot be read as certificates ({error.strerror or error}); "
            "give files in the PEM format"
        ) from error
    return context


def _contexts(datasets: Iterable[Dataset]) -> list[PresentationContext]:
    """A presentation context for each kind and encoding among the files."""
    wanted: dict[tuple[str, bool], list[str]] = {}
    for dataset in datasets:
        syntax = dataset.file_meta.TransferSyntaxUID
        is_plain = syntax in _PLAIN
        known = wanted.setdefault((str(dataset.SOPClassUID), is_plain), [])
        for each in (syntax, ExplicitVRLittleEndian, ImplicitVRLittleEndian) if is_plain else (syntax,):
            if each not in known:
                known.append(each)
    return [build_context(kind, syntaxes) for (kind, _), syntaxes in wanted.items()]
