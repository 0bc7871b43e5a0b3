"""The page that shows the HTTP API and tries it out: Swagger UI, from files of an installed package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, Response

ADDRESS = "/docs"

_FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_PACKAGE = "fastapi_offline"  # which brings them

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>cxrlens: HTTP API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

_START = """\
"use strict";
SwaggerUIBundle({
  url: "api/openapi.json",
  dom_id: "#api",
  validatorUrl: null, // else the document's address is sent to a server of Swagger's
  deepLinking: true,
  defaultModelsExpandDepth: 0,
});
"""


def routes() -> APIRouter:
    """``/docs``, which describes the other routes, and what it loads; all of it from this server."""
    router = APIRouter(include_in_schema=False)

    @router.get(ADDRESS)
    async def page() -> HTMLResponse:
        _folder()  # a page without its scripts would be empty
        return HTMLResponse(_PAGE)

    @router.get(f"{ADDRESS}/start.js")
    async def start() -> Response:
        return Response(_START, media_type="text/javascript; charset=utf-8")

    @router.get(f"{ADDRESS}/{{name}}")
    async def asset(name: str) -> FileResponse:
        if name not in _FILES:
            raise HTTPException(404)
        return FileResponse(_folder() / name, media_type=f"{_FILES[name]}; charset=utf-8")

    return router


def _folder() -> Path:
    """Where Swagger UI is.

    Raises:
        HTTPException: 404, when it is not installed.
    """
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise HTTPException(
            404, "this page needs fastapi-offline, which is not installed: pip install 'cxrlens[serve]'"
        )
    return Path(found.origin).parent / "static"
