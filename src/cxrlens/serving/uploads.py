"""Limits of what arrives: bytes, the time that they take, and how much of it there is at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cxrlens.serving.problems import RETRY, problem
from cxrlens.serving.settings import ServerSettings

CHECK_PATH = "/api/check"
PIXELS_PATH = "/api/pixels"
_UPLOAD_PATHS = frozenset({CHECK_PATH, PIXELS_PATH})
_BUSY = "the server has too much to do; try again in a moment"


class Uploads:
    """What is in the making at once.

    Attributes:
        count: uploads from their first byte to their answer.
        size: their bytes that have arrived.
    """

    def __init__(self) -> None:
        self.count = 0
        self.size = 0


class LimitedBody:
    """ASGI middleware: a request that is too large or too slow ends there, whatever its header says of its length.

    Uploads are counted before any of them is kept. One too many is told to come again, and so is one whose bytes would
    take more space than all of them may.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, uploads: Uploads) -> None:
        self.app = app
        self.settings = settings
        self.uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_upload = scope["method"] == "POST" and scope["path"] in _UPLOAD_PATHS
        most = self.settings.max_upload if is_upload else self.settings.max_body
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > most:
            await problem(413, _too_large(most))(scope, receive, send)
        elif is_upload and self.uploads.count >= self.settings.queue:
            await problem(503, _BUSY, RETRY)(scope, receive, send)
        else:
            with self._counted(is_upload) as body:
                await self.app(scope, _limited(receive, body, most, self.settings), send)

    @contextlib.contextmanager
    def _counted(self, is_upload: bool) -> Iterator[_Body]:
        body = _Body(self.uploads if is_upload else Uploads())
        body.all.count += 1
        try:
            yield body
        finally:
            body.all.count -= 1
            body.all.size -= body.arrived


class _Body:
    """Bytes of a request that have arrived, also counted among those of ``all``."""

    def __init__(self, all_: Uploads) -> None:
        self.all = all_
        self.arrived = 0
        self.is_complete = False

    def take(self, message: Message) -> None:
        size = len(message.get("body", b""))
        self.arrived += size
        self.all.size += size
        self.is_complete = not message.get("more_body", False)


def _limited(receive: Receive, body: _Body, most: int, settings: ServerSettings) -> Receive:
    until = time.monotonic() + settings.upload_seconds

    async def limited() -> Message:
        if body.is_complete:  # what is left to come is that the client has gone
            return await receive()
        left = until - time.monotonic()
        try:
            async with asyncio.timeout(max(min(left, settings.stall_seconds), 0)):
                message = await receive()
        except TimeoutError:
            raise HTTPException(
                408,
                f"the upload took longer than {settings.upload_seconds:g} s to arrive, or stopped "
                f"for {settings.stall_seconds:g} s",
            ) from None
        if message["type"] == "http.request":
            body.take(message)
            if body.arrived > most:
                raise HTTPException(413, _too_large(most))
            if body.all.size > settings.max_arriving:
                raise HTTPException(503, _BUSY, RETRY)
        return message

    return limited


def _too_large(most: int) -> str:
    size = f"{most / 1e6:g} MB" if most >= 1_000_000 else f"{most / 1e3:g} kB"
    return f"the upload is larger than {size}, which this server takes"
