"""Authentication and host checks: names of a local server, the token of any other one, headers for browsers."""

from __future__ import annotations

import hmac
import re
import secrets
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cxrlens.errors import UsageError
from cxrlens.serving.problems import problem
from cxrlens.serving.settings import ServerSettings, is_loopback

COOKIE = "cxrlens_token"
OPEN_PATHS = frozenset({"/health"})
"""What is answered without a token."""

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,}")
_PORT = re.compile(r":\d*$")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


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


class WithHeaders:
    """ASGI middleware: every answer gets `HEADERS`; the outermost one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, with_headers)


class Guard:
    """ASGI middleware: refuses what must not be answered.

    - A local server answers to the names of this machine alone, so that no page of another server can reach it under
      a name of its own (DNS rebinding).
    - Where a token is set, a request brings it as ``Authorization: Bearer TOKEN`` or as the cookie that
      ``GET /?token=TOKEN`` sets.
    - What changes or computes something is refused to pages of other servers.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        await (self.app if refusal is None else refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_called(host):
            return problem(400, "this server is not called by that name; name it with --allow-host if it should be")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and not _is_own_page(headers, host):
            return problem(403, "requests from pages of other servers are refused")
        if self.settings.token is None or scope["path"] in OPEN_PATHS:
            return None
        if self._has_token(headers):
            return None
        if scope["path"] == "/" and scope["method"] == "GET":
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if self._is_token(given):
                response = RedirectResponse("/", 303)
                response.set_cookie(COOKIE, given, httponly=True, samesite="strict")
                return response
        return problem(
            401,
            "this server asks for its token: open /?token=TOKEN, or send the header Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )

    def _is_called(self, host: str) -> bool:
        """True where the Host header names this server; one that others reach asks for a token instead."""
        if not is_loopback(self.settings.host):
            return True
        name = _PORT.sub("", host).lower()
        return is_loopback(name) or name in {known.lower() for known in self.settings.hosts}

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(given.strip()):
            return True
        cookies = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
        return any(name == COOKIE and self._is_token(value) for name, _, value in cookies)

    def _is_token(self, given: str) -> bool:
        assert self.settings.token is not None
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.settings.token.encode())


def _is_own_page(headers: Headers, host: str) -> bool:
    """True where a request comes from no page, or from one of this server's own."""
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == host.lower()
