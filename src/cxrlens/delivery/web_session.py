"""A session of HTTP with a DICOMweb server: who asks, whom it trusts, and no turning elsewhere."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from cxrlens.delivery.credentials import Credentials, Login

log = logging.getLogger(__name__)

_LOCAL = {"localhost", "127.0.0.1", "::1"}


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Nobody(AuthBase):
    """No credentials, also not those that requests would find in a user's own files."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def new_session(
    url: str,
    credentials: Credentials,
    *,
    ca_file: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
) -> requests.Session:
    """A session for one server; for one thread at a time.

    A server that sends it elsewhere is not followed (`requests.TooManyRedirects`): a request that stores would become
    one that does not, and a password would be shown to somebody else.

    Args:
        ca_file: certificates of trusted authorities, in place of the system's.
        certificate: of this side, and its ``key``.
    """
    parts = urlsplit(url)
    login = credentials.of(parts.hostname or "", parts.port)
    session = requests.Session()
    session.auth = _Nobody() if login is None else _auth(login)
    session.max_redirects = 0
    if ca_file is not None:
        session.verify = str(ca_file)
    if certificate is not None:
        session.cert = (str(certificate), str(key)) if key else str(certificate)
    if login is not None and parts.scheme == "http" and parts.hostname not in _LOCAL:
        log.warning("%s: credentials go over the network unencrypted; use https://", url)
    return session


def _auth(login: Login) -> AuthBase:
    return _Bearer(login.secret) if login.is_token else HTTPBasicAuth(login.user, login.secret)
