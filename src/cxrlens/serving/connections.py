"""Connections of a server: how many there are at once, and how long each may take without asking for anything."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

_OTHERS = 64
"""Descriptors for what a server opens besides: uploads, pictures, the store, processes, connections to be refused."""

_BUSY = b'{"detail":"the server has too many connections; try again in a moment"}'
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 2\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_BUSY), _BUSY)
)


def allowed_connections(wanted: int) -> int:
    """At most so many connections, and fewer where this process may not open so many files; at least four."""
    try:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except AttributeError:  # no such limit in this system
        return wanted
    if limit == resource.RLIM_INFINITY:
        return wanted
    try:
        used = len(list(Path("/proc/self/fd").iterdir()))
    except OSError:
        used = _OTHERS
    return max(4, min(wanted, limit - used - _OTHERS))


def limited_protocol(connections: int, head_seconds: float, stall_seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol, which by itself waits for ever for the rest of a request's head.

    One connection too many is answered with 503 and closed. So is, without an answer, a connection on which no
    complete head of a request arrives in time, however many bytes of it do, and one that takes none of its answer.

    Args:
        connections: at once.
        head_seconds: from the connection, or from the first byte after an answer, to the head's end.
        stall_seconds: how long a client may leave its answer where it is.
    """

    class LimitedProtocol(H11Protocol):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._head_timer: asyncio.TimerHandle | None = None
            self._stall_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > connections:
                log.warning("a connection was refused: there are %d already", connections)
                transport.write(_REFUSAL)
                transport.close()
                return
            transport.set_write_buffer_limits(0)  # so that whatever a client does not take is noticed
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            _cancel(self._head_timer)
            self._head_timer = None
            _cancel(self._stall_timer)
            self._stall_timer = None
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if not self.transport.is_closing():
                super().data_received(data)
                self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def pause_writing(self) -> None:
            super().pause_writing()
            if self._stall_timer is None:
                self._stall_timer = self.loop.call_later(stall_seconds, self._end, "leaves its answer where it is")

        def resume_writing(self) -> None:
            super().resume_writing()
            _cancel(self._stall_timer)
            self._stall_timer = None

        def _watch(self) -> None:
            """The time runs from when a request may begin to when its head is there."""
            if self.cycle is not None and not self.cycle.response_complete:
                _cancel(self._head_timer)
                self._head_timer = None
            elif self._head_timer is None and not self.transport.is_closing():
                self._head_timer = self.loop.call_later(head_seconds, self._end, "asks for nothing")

        def _end(self, why: str) -> None:
            log.info("a connection was ended: its client %s", why)
            self.transport.abort()

    return LimitedProtocol


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
