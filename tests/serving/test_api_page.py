"""The page that shows the HTTP API: it works under the server's own policy, and asks nobody else for anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import httpx
import pytest
from serving_files import encoded, pixels, running

from browsing import Opened
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.serving import api_page
from cxrlens.serving.app import create_app
from cxrlens.serving.settings import ServerSettings


def test_it_lists_the_routes_and_tries_them_out(
    browser: Any, served_model: QualityModel, folder: Path, tmp_path: Path
) -> None:
    with running(create_app(ServerSettings(), served_model, folder)) as url:
        opened = Opened(browser, f"{url}/docs")
        opened.until("document.querySelectorAll('.opblock').length > 5")
        shown = opened.texts(".opblock-summary-path")
        document = httpx.get(f"{url}/api/openapi.json").json()
        assert {path.replace("\u200b", "") for path in shown} == set(document["paths"])

        operation = document["paths"]["/api/check"]["post"]["operationId"]
        check = opened.page.locator(f"[id^=operations-][id$=-{operation}]")
        check.locator(".opblock-summary-control").click()
        check.locator(".try-out__btn").click()
        image = tmp_path / "image.png"
        image.write_bytes(encoded(pixels()))
        check.locator("input[type=file]").set_input_files(image)
        check.locator(".execute").click()
        opened.becomes(
            lambda: check.locator(".live-responses-table tbody .response-col_status").first.inner_text()[:3], "200"
        )

        hosts = {urlparse(request).netloc for request in opened.requests if not request.startswith(("data:", "blob:"))}
        assert hosts == {urlparse(url).netloc}
        assert f"{url}/api/check" in opened.requests
        assert not [said for said in opened.complaints if "error" in said.lower() or "refused" in said.lower()]


def test_files_of_the_package_and_no_others(client: httpx.Client) -> None:
    script = client.get("/docs/swagger-ui-bundle.js")
    assert script.status_code == 200
    assert "SwaggerUIBundle" in script.text
    assert "css" in client.get("/docs/swagger-ui.css").headers["content-type"]
    for name in ("redoc.standalone.js", "../__init__.py", "%2e%2e%2f__init__.py", "core.py"):
        assert client.get(f"/docs/{name}").status_code == 404


def test_without_the_package_a_sentence_says_what_to_install(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_page, "_PACKAGE", "fastapi_of_nobody")
    for path in ("/docs", "/docs/swagger-ui.css"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "pip install 'cxrlens[serve]'" in answer.json()["detail"]
