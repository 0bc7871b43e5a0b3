"""The browser that pages are opened in: Chromium, where one is installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A running Chromium; tests that need it are skipped without."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=program, headless=True, args=["--no-sandbox"])
        yield chromium
        chromium.close()
