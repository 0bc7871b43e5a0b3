"""The server as an ASGI application."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from prometheus_client.registry import Collector
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response

import cxrlens
from cxrlens.errors import ArgumentError, CxrlensError
from cxrlens.inspection.onnx_inspector import OnnxInspector
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.plugins import PluginError
from cxrlens.screening.store.database import StoreError
from cxrlens.screening.store.postgresql import Server
from cxrlens.serving import about, api_page, checking, page, pictures, reviewing
from cxrlens.serving.metrics import RequestMetrics
from cxrlens.serving.problems import described, problem, sentence_of
from cxrlens.serving.review import Review
from cxrlens.serving.security import Guard, WithHeaders
from cxrlens.serving.served_model import served
from cxrlens.serving.settings import ServerSettings
from cxrlens.serving.state import ServerState
from cxrlens.serving.uploads import LimitedBody

log = logging.getLogger(__name__)

_DESCRIPTION = """\
Checks chest radiographs for foreign objects and serves the worklist of a screened folder.
For research; not a medical device. Coordinates are pixel indices of the stored image, seen upright."""


def create_app(
    settings: ServerSettings,
    model: QualityModel | OnnxInspector,
    folder: Path | None = None,
    server: Server | None = None,
    *,
    metrics: Sequence[Collector] = (),
) -> FastAPI:
    """The review page and its API, of a model and of a screened folder, where there is one.

    Args:
        server: see `Store`.
        metrics: further ones for ``/metrics``.

    Raises:
        UsageError: when the folder is no screened folder, or verdicts cannot be kept there.
        ArgumentError: when others can reach the server, and it has no token.
    """
    if not settings.asks_for_token and not settings.is_local:
        raise ArgumentError("a server that others can reach needs a token")
    review = None if folder is None else Review(folder, model.identity.label, model.identity.sha256, server)
    if review is not None and (remark := review.remark()):
        log.warning("%s: %s", folder, remark)
    state = ServerState(settings, served(model), review)
    for collector in metrics:
        state.metrics.add(collector)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with state.running():
            yield

    app = FastAPI(
        title="cxrlens",
        version=cxrlens.__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's own pages take their scripts from the network; `api_page` has its own
        redoc_url=None,
        middleware=[  # the first is the outermost
            Middleware(WithHeaders),
            Middleware(RequestMetrics, metrics=state.metrics),
            Middleware(Guard, settings=settings),
            Middleware(LimitedBody, settings=settings, uploads=state.uploads),
        ],
        exception_handlers={
            HTTPException: _refused,
            RequestValidationError: _invalid,
            ArgumentError: _defect,
            PluginError: _plugin_failed,
            CxrlensError: _failed,
            StoreError: _not_kept,
        },
    )
    secured: dict[str, Any] = {}
    if settings.asks_for_token:  # the Guard asks for it; here it is said in the OpenAPI document
        secured = {"dependencies": [Depends(HTTPBearer(auto_error=False))], "responses": described(401)}
    app.include_router(about.health_route())
    for part in (about.routes, checking.routes, pictures.routes, reviewing.routes):
        app.include_router(part(state), **secured)
    app.include_router(page.routes())
    app.include_router(api_page.routes())
    return app


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    plain = {404: "there is nothing under this address", 405: "this address does not take that method"}
    detail = str(error.detail)
    is_plain = detail == HTTPStatus(error.status_code).phrase
    return problem(error.status_code, plain.get(error.status_code, detail) if is_plain else detail, error.headers)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem(422, sentence_of(error.errors()))


async def _defect(_: Request, error: Exception) -> Response:
    """No client's fault: for the log, with its traceback."""
    raise error


async def _plugin_failed(_: Request, error: Exception) -> Response:
    """No client's fault either; it may ask for something else."""
    log.error("%s", error, exc_info=error)
    return problem(500, str(error))


async def _failed(_: Request, error: Exception) -> Response:
    """A folder that was damaged while it was served."""
    return problem(503, str(error), {"Retry-After": "60"})


async def _not_kept(_: Request, error: Exception) -> Response:
    """A full disk, a store that another program has locked, or a database that does not answer."""
    return problem(503, str(error), {"Retry-After": "2"})
