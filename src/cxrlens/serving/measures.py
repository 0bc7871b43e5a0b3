"""What ``/metrics`` says, in the text format of Prometheus; every request is counted and logged."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from bisect import bisect_left
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cxrlens.serving.problems import problem

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_WATCHED = ("/health", "/metrics")  # asked for all the time by what watches a server
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Counter:
    """A number by the values of labels, that only rises."""

    def __init__(self, name: str, help_: str, labels: Sequence[str]) -> None:
        self.name, self.help, self.labels = name, help_, tuple(labels)
        self._values: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()

    def add(self, *values: str, by: float = 1) -> None:
        """Raise the number of these label values."""
        with self._lock:
            self._values[values] = self._values.get(values, 0) + by

    def lines(self) -> list[str]:
        """Its lines of the text."""
        with self._lock:
            found = sorted(self._values.items())
        return [
            f"# HELP {self.name} {self.help}",
            f"# TYPE {self.name} counter",
            *(f"{self.name}{_labels(zip(self.labels, values, strict=True))} {value:g}" for values, value in found),
        ]


class Histogram:
    """How often a value was at most each of some bounds, with the sum and number of values."""

    def __init__(self, name: str, help_: str, bounds: Sequence[float]) -> None:
        self.name, self.help, self.bounds = name, help_, tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Count a value."""
        with self._lock:
            self._counts[bisect_left(self.bounds, value)] += 1
            self._sum += value

    def lines(self) -> list[str]:
        """Its lines of the text."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        lines = [f"# HELP {self.name} {self.help}", f"# TYPE {self.name} histogram"]
        below = 0
        for bound, count in zip((*(f"{bound:g}" for bound in self.bounds), "+Inf"), counts, strict=True):
            below += count
            lines.append(f'{self.name}_bucket{{le="{bound}"}} {below}')
        return [*lines, f"{self.name}_sum {total:.6f}", f"{self.name}_count {below}"]


class Measures:
    """All that a server measures.

    Attributes:
        requests: by method, route and status.
        check_seconds: from the arrived upload to its answer.
        batch_sizes: images per pass through the network.
        refused: uploads that were not read, by status.
        verdicts: verdicts that changed, by verdict.
    """

    def __init__(self) -> None:
        self.requests = Counter("cxrlens_requests_total", "Requests answered.", ("method", "route", "status"))
        self.check_seconds = Histogram("cxrlens_check_seconds", "From an arrived upload to its answer.", _SECONDS)
        self.batch_sizes = Histogram("cxrlens_batch_images", "Images per pass through the network.", _SIZES)
        self.refused = Counter("cxrlens_uploads_refused_total", "Uploads that could not be read.", ("status",))
        self.verdicts = Counter("cxrlens_verdicts_total", "Verdicts that changed.", ("verdict",))
        self._gauges: list[tuple[str, str, Callable[[], float]]] = []

    def gauge(self, name: str, help_: str, value: Callable[[], float]) -> None:
        """Add a number that is asked for when the text is made."""
        self._gauges.append((name, help_, value))

    def text(self) -> str:
        """The text of ``/metrics``."""
        lines: list[str] = []
        for kept in (self.requests, self.check_seconds, self.batch_sizes, self.refused, self.verdicts):
            lines += kept.lines()
        for name, help_, value in self._gauges:
            lines += [f"# HELP {name} {help_}", f"# TYPE {name} gauge", f"{name} {value():g}"]
        return "\n".join(lines) + "\n"


class Measured:
    """ASGI middleware: counts and logs every request by its route, never by what was asked.

    It stands around all that may refuse or fail. An error that nothing else has answered becomes an answer here, and
    its traceback goes to the log.
    """

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self.app = app
        self.measures = measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except Exception:
            log.error("%s %s failed:\n%s", _method(scope), _route(scope), traceback.format_exc().rstrip())
            if not status:
                await problem(500, "the server has failed at this request; its log says why")(scope, receive, noting)
        self.measures.requests.add(_method(scope), _route(scope), str(status))
        level = logging.DEBUG if _route(scope) in _WATCHED else logging.INFO
        log.log(level, "%s %s %d %.0f ms", _method(scope), _route(scope), status, 1e3 * (time.perf_counter() - began))


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"


def _route(scope: Scope) -> str:
    """The pattern of the address, such as ``/api/worklist/{key}/map``; none of its values."""
    return getattr(scope.get("route"), "path", "other")


def _labels(pairs: object) -> str:
    inner = ",".join(f'{name}="{value}"' for name, value in pairs)  # type: ignore[attr-defined]
    return f"{{{inner}}}" if inner else ""
