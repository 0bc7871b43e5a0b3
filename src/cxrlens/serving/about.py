"""Routes that say what the server is: /health, /metrics, /api/model, /api/methods."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

import cxrlens
from cxrlens.serving.answers import Health, Method, Methods, Model
from cxrlens.serving.state import ServerState


def health_route() -> APIRouter:
    """The one route that needs no token."""
    router = APIRouter(tags=["about"])

    @router.get("/health")
    async def health() -> Health:
        """Whether the server runs; needs no token."""
        return Health(version=cxrlens.__version__)

    return router


def routes(state: ServerState) -> APIRouter:
    """The routes of a server."""
    router = APIRouter(tags=["about"])
    sha256 = state.model.identity.sha256  # now, while the file is still the one that was loaded

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        """Counts and times in the text format of Prometheus."""
        return PlainTextResponse(state.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    @router.get("/api/model")
    async def model() -> Model:
        """The facts of the model's card, and the server's limits."""
        card, calibration = state.model.card, state.model.card.calibration
        return Model(
            name=state.model.identity.name,
            label=state.model.identity.label,
            sha256=sha256,
            architecture=card.architecture,
            size=card.preprocessing.size,
            device=state.model.device,
            runtime=state.model.runtime,
            precision=state.model.precision,
            threshold=card.threshold,
            review_threshold=None if calibration is None else calibration.review_threshold,
            calibrated=calibration is not None,
            prevalence=None if calibration is None else calibration.prevalence,
            dev_scores=card.dev_scores,
            remarks=() if calibration is None else calibration.remarks,
            cxrlens_version=card.cxrlens_version,
            created=card.created,
            max_upload=state.settings.max_upload,
            max_pixels=state.settings.max_pixels,
        )

    @router.get("/api/methods")
    async def methods() -> Methods:
        """The saliency methods that ``/api/check`` takes."""
        return Methods(
            methods=tuple(
                Method(
                    id=offered.method.id,
                    title=offered.method.title,
                    formula=offered.method.formula,
                    cost=offered.method.cost,
                    source=offered.method.source,
                    has_layers=offered.method.has_layers,
                    layers=offered.layers,
                )
                for offered in state.maps.methods
            ),
            default_method=state.maps.default.method,
            default_layers=state.maps.default.layers,
            grid=state.maps.fusion.resize.grid,
            interpolation=state.maps.fusion.resize.interpolation,
            flip=state.maps.fusion.flip,
        )

    return router
