"""Destinations of DICOM files, and how a user names them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from cxrlens.delivery.credentials import NO_CREDENTIALS, Credentials
from cxrlens.errors import CxrlensError, UsageError

FORMS: Final = (
    "dicom://AETITLE@HOST:PORT (C-STORE), dicoms://AETITLE@HOST:PORT (with TLS), or https://HOST/PATH (STOW-RS)"
)
"""How a destination is written."""

_AE_TITLE = re.compile(r"[ -\[\]-~]{1,16}")  # ASCII without a backslash


class DeliveryFailed(CxrlensError):
    """Files have not arrived, or not all of them.

    Attributes:
        sentence: why, and at which destination.
        again: True where the same files may be taken another time: the destination is away, busy or full. False where
            it has looked at them and refuses them.
    """

    def __init__(self, sentence: str, *, again: bool) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.again = again


class Destination(Protocol):
    """A place that DICOM files are sent to."""

    @property
    def name(self) -> str:
        """Its address, without a password: what it is called in messages, and known by in an outbox."""
        ...

    def deliver(self, files: Sequence[Path]) -> None:
        """Send files; when it returns, the destination has said that it keeps all of them.

        Sending a file twice is harmless: it has the same SOP Instance UID.

        Raises:
            DeliveryFailed: when one of them has not arrived; others may have.
        """
        ...


@dataclass(frozen=True)
class DeliverySettings:
    """The settings that destinations share.

    Attributes:
        ae_title: by which this side calls itself.
        credentials: for DICOMweb.
        ca_file: certificates of the authorities that are trusted with TLS, in place of the system's.
        certificate: of this side, with which it proves itself to destinations with TLS; and its ``key``.
        seconds: for which an answer is waited for.
    """

    ae_title: str = "CXRLENS"
    credentials: Credentials = NO_CREDENTIALS
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    seconds: float = 30.0


def open_destination(address: str, settings: DeliverySettings) -> Destination:
    """The destination of an address; see `FORMS`. Nothing is sent yet.

    Raises:
        UsageError: when the address is none, holds a password, or needs a package that is not installed.
    """
    parts = split_address(address)
    if parts.scheme in ("http", "https"):
        require_packages("dicomweb_client")
        from cxrlens.delivery.stow import WebDestination

        return WebDestination(address, settings)
    if parts.scheme not in ("dicom", "dicoms"):
        raise UsageError(f"{address}: is no destination; write {FORMS}")
    title = check_ae_title(unquote(parts.username or ""), address)
    if parts.hostname is None or parts.port is None or parts.path.strip("/") or parts.query:
        raise UsageError(f"{address}: needs an AE title, a host and a port, and nothing else; write {FORMS}")
    require_packages("pynetdicom")
    from cxrlens.delivery.association import DicomDestination

    return DicomDestination(address, title, parts.hostname, parts.port, settings, with_tls=parts.scheme == "dicoms")


def split_address(address: str) -> SplitResult:
    """The parts of an address of a destination or archive.

    Raises:
        UsageError: when it is no address, or holds a password, which is not repeated.
    """
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"{_without_user(address)}: is no address ({error}); write {FORMS}") from error
    if parts.password is not None or (parts.username is not None and parts.scheme in ("http", "https")):
        raise UsageError(
            f"{_without_user(address)}: names a user or a password, which others can read on the command line; put "
            "them into a file (--credentials) or the environment (CXRLENS_PACS_USER, CXRLENS_PACS_PASSWORD)"
        )
    return parts


def check_ae_title(title: str, where: str) -> str:
    """An AE title as DICOM has it: 1 to 16 signs of ASCII, without a backslash, blanks at its ends not counted.

    Args:
        where: begins the error's sentence.

    Raises:
        UsageError: when it is none.
    """
    title = title.strip(" ")
    if not _AE_TITLE.fullmatch(title):
        raise UsageError(f"{where}: an AE title has 1 to 16 letters, digits or signs of ASCII, and no backslash")
    return title


def _without_user(address: str) -> str:
    return re.sub(r"//[^/]*@", "//", address)


def require_packages(*names: str) -> None:
    """Find out whether the packages that talk to a PACS are there.

    Raises:
        UsageError: when one is not.
    """
    missing = [name.replace("_", "-") for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"this needs {' and '.join(missing)}, which is not installed: pip install 'cxrlens[pacs]'")
