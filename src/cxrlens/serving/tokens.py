"""Tokens that requests bring."""

from __future__ import annotations

import re
import secrets

from cxrlens.errors import UsageError

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,}")


def new_token() -> str:
    """A token of 256 random bits."""
    return secrets.token_urlsafe(32)


def check_token(token: str) -> str:
    """The token itself.

    Raises:
        UsageError: when it is short, or has signs that an address or a cookie cannot hold.
    """
    if not _TOKEN.fullmatch(token):
        raise UsageError("a token has 16 or more of the signs A-Z a-z 0-9 . _ ~ -; leave it out to get a random one")
    return token
