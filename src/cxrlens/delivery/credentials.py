"""Users, passwords and tokens of DICOMweb servers: from the environment, or from a file that nobody else may read."""

from __future__ import annotations

import netrc
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cxrlens.errors import UsageError

USER: Final = "CXRLENS_PACS_USER"
PASSWORD: Final = "CXRLENS_PACS_PASSWORD"
TOKEN: Final = "CXRLENS_PACS_TOKEN"
FILE: Final = "CXRLENS_PACS_CREDENTIALS"

BEARER: Final = "bearer"
"""In a file: a login of this name says that the password is a bearer token."""

_FORM = "write a line 'machine HOST login USER password PASSWORD' for each server"


@dataclass(frozen=True)
class Login:
    """How to prove oneself to a server: a user with a password, or a bearer token.

    Attributes:
        user: "" with a token.
        secret: the password, or the token.
    """

    user: str
    secret: str = field(repr=False)

    @property
    def is_token(self) -> bool:
        return not self.user


@dataclass(frozen=True)
class Credentials:
    """Logins by host, and one for all others; no text of it shows a secret."""

    by_host: Mapping[str, Login] = field(default_factory=dict, repr=False)
    otherwise: Login | None = field(default=None, repr=False)

    def of(self, host: str, port: int | None = None) -> Login | None:
        """The login for a server, which a file names as HOST:PORT or as HOST; None where there is none."""
        return self.by_host.get(f"{host}:{port}") or self.by_host.get(host) or self.otherwise


NO_CREDENTIALS: Final = Credentials()


def read_credentials(file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Credentials:
    """The credentials of a file in the form of netrc, and of the environment for servers that it does not name.

    Args:
        file: by default the one that the environment names.

    Raises:
        UsageError: when others may read the file, or it or the environment cannot be understood.
    """
    named = environment.get(FILE)
    path = file or (Path(named) if named else None)
    by_host, otherwise = ({}, None) if path is None else _of_file(path)
    return Credentials(by_host, otherwise or _of_environment(environment))


def _of_environment(environment: Mapping[str, str]) -> Login | None:
    user, password, token = (environment.get(name, "") for name in (USER, PASSWORD, TOKEN))
    if token and (user or password):
        raise UsageError(f"{TOKEN} and {USER} cannot stand together; set one of them")
    if bool(user) != bool(password):
        raise UsageError(f"{USER} and {PASSWORD} belong together; set both")
    if token:
        return Login("", token)
    return Login(user, password) if user else None


def _of_file(path: Path) -> tuple[dict[str, Login], Login | None]:
    try:
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UsageError(f"{path}: others may read or change these passwords; keep them: chmod 600 {path}")
        found = netrc.netrc(str(path)).hosts
    except OSError as error:
        raise UsageError(f"{path}: the credentials cannot be read: {error.strerror or error}") from error
    except (netrc.NetrcParseError, UnicodeDecodeError):  # their text may hold a part of the file
        raise UsageError(f"{path}: holds no credentials; {_FORM}") from None
    logins = {}
    for host, (user, _, secret) in found.items():
        if not user or not secret:
            raise UsageError(f"{path}: no user or no password of {host}; {_FORM}")
        logins[host] = Login("" if user == BEARER else user, secret)
    otherwise = logins.pop("default", None)
    return logins, otherwise
