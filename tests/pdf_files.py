"""PDF files as tests see them: the text of each page. Read by poppler's pdftotext; tests that need it skip without."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest


def pages_of(pdf: bytes) -> list[str]:
    """The text of each page, blanks and line breaks as single blanks."""
    program = shutil.which("pdftotext")
    if program is None:
        pytest.skip("no pdftotext (Debian's poppler-utils)")
    text = subprocess.run([program, "-", "-"], input=pdf, capture_output=True, check=True).stdout.decode("utf-8")
    return [" ".join(page.split()) for page in text.removesuffix("\f").split("\f")]


def printed(page: Any, **options: Any) -> list[str]:
    """The pages that a browser prints of a page; ``options`` are those of Playwright's `pdf`."""
    return pages_of(page.pdf(**{"format": "A4"} | options))
