"""Addresses of images: ``SCHEME://...``; none holds a password, as others can read a command's options."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from cxrlens.errors import UsageError

WEB: Final = {
    "dicomweb": "https", "dicomweb+http": "http", "orthanc": "https", "orthanc+http": "http"
}  # fmt: skip
"""Schemes of servers that are asked by HTTP, and how: unencrypted only where the address says so."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PASSWORD = re.compile(r"://[^/]*:.*@")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")


def is_address(text: str) -> bool:
    """True of ``SCHEME://...``; all else is a path."""
    return _ADDRESS.match(text) is not None


def is_web_address(text: str) -> bool:
    """True of the address of a server that is asked by HTTP."""
    return text.partition("://")[0].lower() in WEB and is_address(text)


@dataclass(frozen=True)
class Address:
    """An address, taken apart.

    Attributes:
        scheme: in lower case.
        root: without what selects among the images there, and without a slash at its end.
        query: what selects, by name.
    """

    scheme: str
    root: str
    query: dict[str, str]

    @property
    def is_web(self) -> bool:
        """True of a server that is asked by HTTP."""
        return self.scheme in WEB

    @property
    def url(self) -> str:
        """The address of such a server as HTTP has it."""
        return f"{WEB[self.scheme]}://{self.root.partition('://')[2]}"


def parse_address(text: str) -> Address:
    """An address as a user gives it.

    Raises:
        UsageError: when it holds a password or user, cannot be understood, or is a place on this machine.
    """
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    if _PASSWORD.search(text) or (scheme in WEB and "@" in rest.partition("?")[0]):
        raise UsageError(
            f"{_without_user(text)}: names a user or a password, which others can read on the command line; put them "
            "into a file (`credentials`) or the environment, see docs/remote.md"
        )
    if scheme in ("file", "local"):
        raise UsageError(f"{text}: lies on this machine; give its path alone")
    if _CONTROL.search(text) or not rest.strip("/") or "::" in text:
        raise UsageError(f"{text}: is no address; write such as dicomweb://HOST/PATH or s3://BUCKET/FOLDER")
    if scheme not in WEB:
        if "?" in rest:
            raise UsageError(f"{text.partition('?')[0]}: an address of files has no '?' and what follows; leave it out")
        return Address(scheme, f"{scheme}://{rest.rstrip('/')}", {})
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"{text}: is no address ({error})") from error
    if not parts.hostname or parts.fragment:
        raise UsageError(f"{text}: is no address; write {scheme}://HOST:PORT/PATH")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if twice := sorted({name for name, _ in pairs if sum(other == name for other, _ in pairs) > 1}):
        raise UsageError(f"{text}: names '{twice[0]}' twice; join values with commas")
    return Address(scheme, f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}", dict(pairs))


def _without_user(text: str) -> str:
    return re.sub(r"://.*@", "://", text)
