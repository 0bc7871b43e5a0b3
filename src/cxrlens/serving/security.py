"""Authentication and host checks: names of a local server, the token of any other one, headers for browsers."""

from __future__ import annotations

import hmac
import re
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cxrlens.serving.problems import problem
from cxrlens.serving.settings import ServerSettings, is_loopback

COOKIE = "cxrlens_token"
READER = "cxrlens.reader"
"""Under which the scope of a request keeps the name of the reader whose token it brought."""

OPEN_PATHS = frozenset({"/health"})
"""What is answered without a token."""

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
    - Where a token is set, or readers are, a request brings one as ``Authorization: Bearer TOKEN`` or as the cookie
      that ``GET /?token=TOKEN`` sets.
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
        if not self.settings.asks_for_token or scope["path"] in OPEN_PATHS:
            return None
        if scope["path"] == "/" and scope["method"] == "GET":  # first: who comes with a token may have that of another
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if self._reader_of(given) is not None:
                response = RedirectResponse("/", 303)
                response.set_cookie(COOKIE, given, httponly=True, samesite="strict")
                return response
        if (reader := self._reader_in(headers)) is not None:
            scope[READER] = reader
            return None
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

    def _reader_in(self, headers: Headers) -> str | None:
        """Whose token a request brings, see `_reader_of`."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and (reader := self._reader_of(given.strip())) is not None:
            return reader
        cookies = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
        found = (self._reader_of(value) for name, _, value in cookies if name == COOKIE)
        return next((reader for reader in found if reader is not None), None)

    def _reader_of(self, given: str) -> str | None:
        """The name of the reader who has a token, "" of the token that all share; None of another one."""
        token = self.settings.token
        if token is not None and hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
            return ""
        return next((reader.name for reader in self.settings.readers if reader.has(given)), None)


def _is_own_page(headers: Headers, host: str) -> bool:
    """True where a request comes from no page, or from one of this server's own."""
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == host.lower()
