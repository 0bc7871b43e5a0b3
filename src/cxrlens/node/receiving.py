"""The DICOM side of a node that takes images: C-ECHO and C-STORE, who may call, and what is answered."""

from __future__ import annotations

import errno
import io
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from pydicom import Dataset, dcmread
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from cxrlens.delivery.association import silence_pynetdicom
from cxrlens.dicom_out.source import SOURCE_CLASSES
from cxrlens.errors import UsageError
from cxrlens.inputs.readers import elements
from cxrlens.inputs.readers.codecs import can_decode
from cxrlens.inputs.readers.quiet import without_warnings
from cxrlens.node.counts import Counts
from cxrlens.node.spool import Instance, Kind, NoSpaceError, Received, Spool
from cxrlens.node.wanted import Wanted

log = logging.getLogger(__name__)

SUCCESS: Final = 0x0000
OUT_OF_RESOURCES: Final = 0xA700
OTHER_INSTANCE: Final = 0xA900
NOT_ASKED_FOR: Final = 0xC001
NOT_UNDERSTOOD: Final = 0xC000
PROCESSING_FAILURE: Final = 0x0110

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PDU = 1 << 17  # bytes; more than the usual 16 KiB make large images faster
_LARGEST_PDU = 1 << 24  # bytes that one piece may state, whatever was agreed
_COMMAND = 1  # bit of a piece that belongs to a command, not to an image
_COMMENT = 64  # signs that a status may say


@dataclass(frozen=True)
class ReceivingSettings:
    """The settings of the DICOM side.

    Attributes:
        ae_title: by which the node has to be called.
        host: the address that it listens on; ``port`` 0 takes a free one.
        callers: AE titles that may call; none for any.
        wanted: which images are taken.
        drops_unwanted: images that are not asked for are answered with success, and dropped; else they are refused.
        max_bytes: of one image; an association that sends more is ended.
        associations: at once; one more is rejected.
        tls: with which calls are encrypted, see `server_context`; None for none.
        seconds: for which a caller may be silent.
    """

    ae_title: str = "CXRLENS"
    host: str = "127.0.0.1"
    port: int = 11112
    callers: frozenset[str] = frozenset()
    wanted: Wanted = field(default_factory=Wanted)
    drops_unwanted: bool = False
    max_bytes: int = 512_000_000
    associations: int = 16
    tls: ssl.SSLContext | None = None
    seconds: float = 60.0


class Receiver:
    """Takes images into a spool while it is entered.

    Args:
        arrived: is told of each image that is new, in the thread of its association, before that is answered.

    Raises:
        UsageError: when the address cannot be listened on.
    """

    def __init__(
        self, settings: ReceivingSettings, spool: Spool, counts: Counts, arrived: Callable[[Path], None]
    ) -> None:
        silence_pynetdicom()
        self._settings = settings
        self._spool = spool
        self._counts = counts
        self._arrived = arrived
        self._arriving: dict[int, int] = {}  # bytes of the image at hand, by association
        self._entity = _entity(settings)
        self.port = settings.port

    def __enter__(self) -> Self:
        settings = self._settings
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._guard),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_PDU_RECV, self._count_bytes),
            (evt.EVT_REJECTED, self._note_rejected),
            (evt.EVT_ABORTED, self._note_aborted),
            (evt.EVT_CONN_CLOSE, self._note_closed),
        ]
        try:
            server = self._entity.start_server(
                (settings.host.strip("[]"), settings.port),
                block=False,
                ssl_context=settings.tls,
                evt_handlers=handlers,
            )
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(
                f"{settings.host}:{settings.port} cannot be listened on ({reason}); give another --port or --host"
            ) from error
        assert server is not None
        self.port = server.server_address[1]
        return self

    def __exit__(self, *_: object) -> None:
        """Take no more calls, and end those at hand."""
        for server in list(self._entity._servers):
            server.shutdown()
        for association in self._entity.active_associations:
            if association.is_established:
                association.abort()
            elif association.dul.socket is not None:  # to break it off is not known to the library in this state
                association.dul.socket.close()

    def _store(self, event: evt.Event) -> Dataset:
        """Answer one image."""
        self._arriving.pop(id(event.assoc), None)
        caller = event.assoc.requestor.ae_title.strip()
        try:
            return self._answer(event, caller)
        except Exception:  # the caller has to be told that nothing is kept
            self._counts.add("failed")
            log.exception("an image from %s could not be taken", caller)
            return _status(PROCESSING_FAILURE, "an unexpected error; the log of the node says more")

    def _answer(self, event: evt.Event, caller: str) -> Dataset:
        request: Any = event.request
        instance = Instance(
            str(request.AffectedSOPInstanceUID),
            str(request.AffectedSOPClassUID),
            str(event.context.transfer_syntax),
            request.DataSet.getvalue(),
        )
        header = _header(instance)
        if header is None:
            return self._refuse(caller, NOT_UNDERSTOOD, "the data set cannot be read")
        if elements.text(header, "SOPInstanceUID") != instance.uid:
            return self._refuse(caller, OTHER_INSTANCE, "the data set has another SOP Instance UID")
        if reason := self._settings.wanted.refusal(header):
            if not self._settings.drops_unwanted:
                return self._refuse(caller, NOT_ASKED_FOR, reason)
            self._counts.add("refused")
            log.info("an image from %s is dropped: %s", caller, reason)
            return _status(SUCCESS)
        try:
            received = self._spool.take(instance)
        except NoSpaceError:
            return self._no_space(caller)
        except OSError as error:
            if error.errno in _FULL:
                return self._no_space(caller)
            self._counts.add("failed")
            log.error("%s: an image could not be written (%s)", error.filename, error.strerror or error)
            return _status(PROCESSING_FAILURE, "the image could not be written")
        self._note(received, caller)
        return _status(SUCCESS)

    def _note(self, received: Received, caller: str) -> None:
        if received.kind is Kind.REPEATED:
            self._counts.add("repeated")
            log.info("%s: was sent again by %s, and is not screened again", received.file.name, caller)
            return
        if received.kind is Kind.CORRECTED:
            self._counts.add("corrected")
            log.info(
                "%s: a correction from %s: other content under a SOP Instance UID that came before; both are kept, "
                "and it is screened anew",
                received.file.name,
                caller,
            )
        else:
            self._counts.add("new")
        self._arrived(received.file)

    def _refuse(self, caller: str, status: int, reason: str) -> Dataset:
        self._counts.add("refused")
        log.info("an image from %s is refused: %s", caller, reason)
        return _status(status, reason)

    def _no_space(self, caller: str) -> Dataset:
        self._counts.add("no_space")
        log.error("%s: the disk is full, and an image from %s is refused; make space", self._spool.folder, caller)
        return _status(OUT_OF_RESOURCES, "the disk is full")

    def _guard(self, event: evt.Event) -> None:
        """Let no caller hold a thread by falling silent within a piece, nor memory by stating a huge one."""
        connection: Any = event.assoc.dul.socket
        connection.socket.settimeout(self._settings.seconds)
        received = connection.recv

        def bounded(number: int) -> bytearray:
            if number > _LARGEST_PDU:
                raise OSError(errno.EMSGSIZE, f"a piece of {number} bytes was announced")
            piece: bytearray = received(number)
            return piece

        connection.recv = bounded

    def _count_bytes(self, event: evt.Event) -> None:
        """End an association whose image is larger than anything that is read."""
        items = getattr(event.pdu, "presentation_data_value_items", None) or ()
        pieces = [item.presentation_data_value or b"" for item in items]
        size = sum(len(piece) - 1 for piece in pieces if piece and not piece[0] & _COMMAND)
        if not size:
            return
        key = id(event.assoc)
        arrived = self._arriving[key] = self._arriving.get(key, 0) + size
        if arrived > self._settings.max_bytes:
            log.warning(
                "an association with %s is ended: its image has more than %d bytes",
                event.assoc.requestor.ae_title,
                self._settings.max_bytes,
            )
            event.assoc.abort()

    def _note_rejected(self, event: evt.Event) -> None:
        log.warning(
            "an association is rejected: %s calls %s from %s",
            event.assoc.requestor.ae_title or "nobody",
            event.assoc.requestor.primitive.called_ae_title if event.assoc.requestor.primitive else "nobody",
            event.assoc.requestor.address,
        )

    def _note_aborted(self, event: evt.Event) -> None:
        log.warning("an association with %s was broken off", event.assoc.requestor.ae_title)

    def _note_closed(self, event: evt.Event) -> None:
        if self._arriving.pop(id(event.assoc), 0):
            log.warning(
                "a connection with %s was lost within an image, of which nothing is kept",
                event.assoc.requestor.ae_title,
            )


def _entity(settings: ReceivingSettings) -> AE:
    entity = AE(settings.ae_title)
    entity.require_called_aet = True
    entity.require_calling_aet = sorted(settings.callers)
    entity.maximum_associations = settings.associations
    entity.maximum_pdu_size = _PDU
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = settings.seconds
    entity.add_supported_context(Verification)
    syntaxes = [syntax for syntax in AllTransferSyntaxes if can_decode(syntax)]
    for kind in sorted(SOURCE_CLASSES):
        entity.add_supported_context(kind, syntaxes)
    return entity


def _header(instance: Instance) -> Dataset | None:
    """The data set without its pixels; None where it cannot be read."""
    try:
        with without_warnings():
            return dcmread(io.BytesIO(instance.content), stop_before_pixels=True)
    except Exception:  # pydicom names no set of errors
        return None


def _status(code: int, comment: str = "") -> Dataset:
    status = Dataset()
    status.Status = code
    if comment:
        status.ErrorComment = comment[:_COMMENT]
    return status


class _HandshakeLater(ssl.SSLContext):
    """A caller that is slow to begin with TLS holds up nobody else: its own thread waits for it."""

    seconds = 30.0

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> ssl.SSLSocket:
        sock.settimeout(self.seconds)
        return super().wrap_socket(sock, *args, **{**options, "do_handshake_on_connect": False})


def server_context(certificate: Path, key: Path | None, client_ca: Path | None) -> ssl.SSLContext:
    """TLS for calls.

    Args:
        certificate: of this node, and its ``key``, in the PEM format.
        client_ca: authorities of which callers need a certificate; None asks for none.

    Raises:
        UsageError: when a file cannot be read as such.
    """
    context = _HandshakeLater(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{certificate}: cannot be read as a certificate with its key ({error.strerror or error}); give "
            "--certificate and --key in the PEM format"
        ) from error
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"{client_ca}: cannot be read as certificates ({error.strerror or error}); give them in the PEM format"
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context
