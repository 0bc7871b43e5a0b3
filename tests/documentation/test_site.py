"""The site: it builds without a warning, has the generated pages, and its pages load nothing from elsewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

import pytest

from browsing import Page

ROOT = Path(__file__).parents[2]


def as_make_does() -> list[str]:
    """What ``make site`` has mkdocs do."""
    found = re.search(
        r"^site:.*\n\t.*\$\(BIN\)/mkdocs (build .*--strict.*)$", (ROOT / "Makefile").read_text("utf-8"), re.M
    )
    assert found is not None
    return shlex.split(found[1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    out = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "mkdocs", *as_make_does(), "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_generated_pages_say_what_the_code_does(site: Path) -> None:
    pages = {name: Page((site / "reference" / f"{name}.html").read_text(encoding="utf-8")).text for name in
             ("functions", "commands", "architectures", "recipe")}  # fmt: skip
    assert "Screen radiographs: a worklist of suggested retakes" in pages["functions"]
    assert "ServerLostError" in pages["functions"]
    assert "--max-retake-rate" in pages["commands"]
    assert "cxrlens data prepare" in pages["commands"]
    assert "layer4.2" in pages["architectures"]
    assert "21.3 million" in pages["architectures"]
    assert "augmentation.degrees" in pages["recipe"]


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 60
    for path in pages:
        page = Page(path.read_text(encoding="utf-8"))
        loaded = [tag.get("src") for name in ("script", "img", "iframe", "source") for tag in page.named(name)]
        loaded += [tag.get("href") for tag in page.named("link") if tag.get("rel") != "canonical"]
        assert not [address for address in loaded if address and urlparse(address).netloc], path


def test_links_to_files_that_are_no_pages_are_no_broken_links(site: Path) -> None:
    page = Page((site / "index.html").read_text(encoding="utf-8"))
    assert "how to contribute" in page.text
    assert not [tag for tag in page.named("a") if "CONTRIBUTING" in (tag.get("href") or "")]
