"""The routes of the page itself, and of its scripts and style sheets."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse, Response

from cxrlens.screening.page_assets import SERVED_SCRIPTS, STYLES, read_asset, served_page

_FOLDER = "static"


def routes() -> APIRouter:
    """``/`` and ``/static/``; both are read once."""
    router = APIRouter(include_in_schema=False)
    page = served_page(_FOLDER)
    assets = {name: (read_asset(name), "text/javascript") for name in SERVED_SCRIPTS}
    assets |= {name: (read_asset(name), "text/css") for name in STYLES}

    @router.get("/")
    async def index() -> HTMLResponse:
        return HTMLResponse(page)

    @router.get(f"/{_FOLDER}/{{name}}")
    async def asset(name: str) -> Response:
        if name not in assets:
            raise HTTPException(404)
        content, media_type = assets[name]
        return Response(str(content), media_type=f"{media_type}; charset=utf-8")

    return router
