"""The page of an analysis in a browser: no fault, nothing from elsewhere, narrow and wide, sorted, printed whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from screened_months import image, screened
from test_analysis_of_folders import OTHER, a_year, run

from browsing import Opened, Page


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A year with drift, and a folder of another model without days."""
    folder = tmp_path_factory.mktemp("analysis")
    folders = a_year(folder / "in", np.random.default_rng(1), shifted=True)
    other = screened(folder / "other", [image("a", 0.9, station="<i>"), image("b", None)], {"a": "accept"}, **OTHER)
    return run(folder / "out", *folders, other, period="month").files[0]


@pytest.fixture
def opened(browser: Any, page_file: Path) -> Iterator[Opened]:
    shown = Opened(browser, page_file)
    yield shown
    shown.page.close()


def test_what_the_page_holds(page_file: Path) -> None:
    source = page_file.read_text("utf-8")
    page = Page(source)
    assert page.named("i") == []
    assert re.findall(r'(?:src|href)="(?!data:|#)', source) == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {str(link["href"]).removeprefix("#") for link in page.named("a")} <= set(ids)
    named = [str(value) for _, tag in page.tags for key, value in tag.items() if key == "aria-labelledby"]
    assert set(named) <= set(ids)
    for picture in page.named("img"):
        assert str(picture["src"]).startswith("data:image/svg+xml;base64,")
        assert re.match("Control chart|Cumulative|Distance", str(picture["alt"]))
    assert len(page.named("img")) == 4
    text = " ".join(page.text.split())
    assert "Drift: scores are higher than the calibration lets expect in" in text
    assert "Not known of any image: room, operator, detector, device, manufacturer." in text


def test_the_page_in_a_browser(browser: Any, opened: Opened, page_file: Path) -> None:
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith("data:image/")] == [page_file.as_uri()]
    sizes = opened.page.eval_on_selector_all("img", "all => all.map((image) => image.naturalWidth)")
    assert min(sizes) > 300
    heading = opened.page.locator("th", has_text="Suggested retakes").first
    heading.get_by_role("button").click()
    opened.becomes(lambda: heading.get_attribute("aria-sort"), "ascending")
    levels = opened.page.eval_on_selector_all("h1, h2, h3, h4", "all => all.map((one) => Number(one.tagName[1]))")
    assert all(later - before <= 1 for before, later in pairwise(levels))
    opened.page.emulate_media(media="print")
    cut = "all => all.filter((one) => one.scrollHeight > one.clientHeight + 1).length"
    assert opened.page.eval_on_selector_all(".scroll", cut) == 0  # a long table is printed as a whole
    assert opened.page.locator("nav").is_visible() is False
    opened.page.emulate_media(media="screen")
    assert opened.barriers() == []
    for width in (390, 640, 1920):  # 640 px is what 200 % zoom leaves of 1280
        opened.page.set_viewport_size({"width": width, "height": 900})
        assert opened.page.evaluate("document.documentElement.scrollWidth") == width
        assert opened.barriers() == []
