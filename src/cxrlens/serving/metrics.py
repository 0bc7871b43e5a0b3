"""The counts and times of ``/metrics``; every request is counted and logged."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cxrlens.serving.problems import problem

log = logging.getLogger(__name__)

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_WATCHED = ("/health", "/metrics", "/api/news")  # asked for all the time, by what watches a server and by its page

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """All that a server measures, in a registry of its own: several servers may run in one process.

    Attributes:
        requests: by method, route and status.
        check_seconds: from the arrived upload to its answer.
        batch_sizes: images per pass through the network.
        refused: uploads that were not read, by status.
        not_assessable: uploads that were read and could not be judged.
        verdicts: verdicts that changed, by verdict.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "cxrlens_requests_total", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self.check_seconds = Histogram(
            "cxrlens_check_seconds", "From an arrived upload to its answer.", buckets=_SECONDS, registry=registry
        )
        self.batch_sizes = Histogram(
            "cxrlens_batch_images", "Images per pass through the network.", buckets=_SIZES, registry=registry
        )
        self.refused = Counter(
            "cxrlens_uploads_refused_total", "Uploads that could not be read.", ("status",), registry=registry
        )
        self.not_assessable = Counter(
            "cxrlens_uploads_not_assessable_total", "Uploads that were read and could not be judged.", registry=registry
        )
        self.verdicts = Counter("cxrlens_verdicts_total", "Verdicts that changed.", ("verdict",), registry=registry)

    def gauge(self, name: str, help_: str, value: Callable[[], float]) -> None:
        """Add a number that is asked for when the text is made."""
        Gauge(name, help_, registry=self._registry).set_function(value)

    def add(self, collector: Collector) -> None:
        """Add numbers of another part of the process."""
        self._registry.register(collector)

    def text(self) -> str:
        """All in the text format of Prometheus."""
        return generate_latest(self._registry).decode()


class RequestMetrics:
    """ASGI middleware: counts and logs every request by its route, never by what was asked.

    It stands around all that may refuse or fail. An error that nothing else has answered becomes an answer here, and
    its traceback goes to the log.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

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
        self.metrics.requests.labels(_method(scope), _route(scope), str(status)).inc()
        level = logging.DEBUG if _route(scope) in _WATCHED else logging.INFO
        log.log(level, "%s %s %d %.0f ms", _method(scope), _route(scope), status, 1e3 * (time.perf_counter() - began))


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"


def _route(scope: Scope) -> str:
    """The pattern of the address, such as ``/api/worklist/{key}/map``; none of its values."""
    return getattr(scope.get("route"), "path", "other")
