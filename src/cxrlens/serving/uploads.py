"""Limits of what arrives: bytes, and the time that they take."""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cxrlens.serving.problems import problem
from cxrlens.serving.settings import ServerSettings


class LimitedBody:
    """ASGI middleware: a request that is too large or too slow ends there, whatever its header says of its length."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > self.settings.max_upload:
            await problem(413, self._too_large())(scope, receive, send)
            return
        until = time.monotonic() + self.settings.upload_seconds
        arrived, complete = 0, False

        async def limited() -> Message:
            nonlocal arrived, complete
            if complete:  # what is left to come is that the client has gone
                return await receive()
            try:
                async with asyncio.timeout(max(until - time.monotonic(), 0)):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    408, f"the upload took longer than {self.settings.upload_seconds:g} s to arrive"
                ) from None
            if message["type"] == "http.request":
                arrived += len(message.get("body", b""))
                complete = not message.get("more_body", False)
                if arrived > self.settings.max_upload:
                    raise HTTPException(413, self._too_large())
            return message

        await self.app(scope, limited, send)

    def _too_large(self) -> str:
        return f"the upload is larger than {self.settings.max_upload / 1e6:g} MB, which this server takes"
