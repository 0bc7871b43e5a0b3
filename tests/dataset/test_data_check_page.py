"""The page of a data check: what it holds, its thumbnails, and how it behaves in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from browsing import Opened, Page
from cxrlens.dataset.check.page import (
    PICTURE_SIDE,
    Card,
    FindingSection,
    PageTable,
    Picture,
    data_check_page,
    thumbnail,
)
from cxrlens.inputs.annotations.shapes import Ellipse, Polygon, Rectangle

EVIL = "<b>&\"'</b><script>alert(1)</script>.jpg"
LONG = "train/affected/" + "a" * 120 + ".jpg"
CYAN = (0, 229, 255)


def write_page(folder: Path) -> Path:
    picture = folder / "picture.jpg"
    Image.new("L", (200, 150), 128).save(picture)
    pair = Card(
        f"{EVIL} and {LONG} look the same", [Picture(EVIL, picture, "normal"), Picture(LONG, picture)], hidden=3
    )
    return data_check_page(
        folder / f"check {EVIL.replace('/', '')}.html",
        title=EVIL,
        intro=[EVIL],
        facts=[(EVIL, "3")],
        tables=[PageTable("Images", ["split", "normal"], [["dev", "10"], ["train", "9"]], EVIL)],
        sections=[
            FindingSection(
                "leak", "Leak <i>", "problem", EVIL, 30, [pair, Card(EVIL, [Picture(EVIL, None)])], [LONG] * 3
            ),
            FindingSection("row", "Row", "note", "A rule.", 2, more=[EVIL, "second"]),
        ],
        footer=[EVIL],
    )


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("page"))


def test_every_text_is_escaped_and_every_picture_embedded_with_words(page_file: Path) -> None:
    source = page_file.read_text("utf-8")
    page = Page(source)
    assert page.named("b") == page.named("i") == []
    assert len(page.named("script")) == 1
    assert [image["alt"] for image in page.named("img")] == [EVIL, LONG]
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") for image in page.named("img"))
    assert re.findall(r'(?:src|href)="(?!data:|#)', source) == []


def test_links_lead_to_the_sections_and_counts_are_right(page_file: Path) -> None:
    page = Page(page_file.read_text("utf-8"))
    assert [link["href"] for link in page.named("a")] == ["#leak", "#row"]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {"leak", "row"} < set(ids)
    text = " ".join(page.text.split())
    assert "(3 more are not shown)" in text
    assert "25 more are listed in findings.csv" in text
    assert "Leak <i>: 30" in text
    assert len(page.named("details")) == 1  # behind pictures the rest is folded


def test_a_page_without_findings(tmp_path: Path) -> None:
    path = data_check_page(
        tmp_path / "a.html", title="t", intro=["Nothing."], facts=[], tables=[], sections=[], footer=[]
    )
    page = Page(path.read_text("utf-8"))
    assert page.named("nav") == page.named("section") == []


# Thumbnails


def cyan(picture: Image.Image) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return (np.asarray(picture) == CYAN).all(axis=2)


def test_an_object_is_outlined_where_it_is() -> None:
    pixels = np.zeros((300, 600), dtype=np.float32)
    pixels[40:80, 400:500] = 1  # off the diagonal
    picture = thumbnail(pixels, [Rectangle(400, 40, 499, 79)])
    assert picture.size == (PICTURE_SIDE, PICTURE_SIDE // 2)
    rows, columns = np.nonzero(cyan(picture))
    scale = PICTURE_SIDE / 600
    assert (rows.min() / scale, rows.max() / scale) == (pytest.approx(40, abs=4), pytest.approx(80, abs=4))
    assert (columns.min() / scale, columns.max() / scale) == (pytest.approx(400, abs=4), pytest.approx(500, abs=4))
    grey = np.asarray(picture)[:, :, 0]
    assert grey[round(60 * scale), round(450 * scale)] == 255
    assert grey[round(200 * scale), round(100 * scale)] == 0


@pytest.mark.parametrize(
    ("shape", "size", "corner"),
    [
        (Rectangle(150, 10, 199, 20), (288, 144), (0, 0)),  # to the right: twice as wide
        (Ellipse(-50, -50, 20, 20), (288, 288), (96, 96)),  # a half more, above and to the left
        (Polygon(((10, 10), (20, 10), (20, 9000))), (144, 288), (0, 0)),  # cut at the picture's own size
    ],
)
def test_the_canvas_grows_to_show_what_lies_outside(
    shape: Rectangle | Ellipse | Polygon, size: tuple[int, int], corner: tuple[int, int]
) -> None:
    picture = thumbnail(np.full((100, 100), 1, dtype=np.float32), [shape])
    assert picture.size == size
    white = (np.asarray(picture) == 255).all(axis=2)
    columns, rows = np.flatnonzero(white.any(axis=0)), np.flatnonzero(white.any(axis=1))
    assert (columns[0], rows[0]) == (pytest.approx(corner[0], abs=2), pytest.approx(corner[1], abs=2))
    assert cyan(picture).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (3000, 2)])
def test_thumbnails_of_strips(shape: tuple[int, int]) -> None:
    picture = thumbnail(np.full(shape, 0.5, dtype=np.float32))
    assert max(picture.size) == PICTURE_SIDE
    assert min(picture.size) >= 1


# In a browser


@pytest.fixture
def opened(browser: Any, page_file: Path) -> Iterator[Opened]:
    shown = Opened(browser, page_file)
    yield shown
    shown.page.close()


def test_the_browser_finds_no_fault_and_asks_for_nothing_else(opened: Opened, page_file: Path) -> None:
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith("data:image/")] == [page_file.as_uri()]
    assert opened.page.eval_on_selector_all("img", "all => all.map((image) => image.naturalWidth)") == [200, 200]


def test_the_keyboard_reaches_links_tables_and_folds(opened: Opened) -> None:
    opened.page.keyboard.press("Tab")
    opened.page.keyboard.press("Enter")
    opened.until("location.hash === '#leak'")
    details = opened.page.locator("details")
    assert details.get_attribute("open") is None
    opened.page.locator("summary").focus()
    opened.page.keyboard.press("Enter")
    opened.until("document.querySelector('details').open")
    opened.page.get_by_role("button", name="normal").press("Enter")
    opened.becomes(lambda: opened.texts("tbody tr > :first-child"), ["train", "dev"])


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_page(browser: Any, page_file: Path, width: int) -> None:
    shown = Opened(browser, page_file, width)
    assert shown.page.evaluate("document.documentElement.scrollWidth") == width
    shown.page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Any, page_file: Path, scheme: str) -> None:
    """WCAG 2.2, contrast of at least 4.5, for badges, links, rules and captions."""
    shown = Opened(browser, page_file, color_scheme=scheme)
    for selector in (".badge.problem", ".badge.note", "nav a", "section > p.quiet", "figcaption", "summary", ".one p"):
        colours = shown.page.eval_on_selector(selector, _COLOURS)
        assert _contrast(*colours) >= 4.5, (selector, colours)
    shown.page.close()


_COLOURS = """(element) => {
  let ground = element;
  while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
  return [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor];
}"""


def _contrast(ink: str, ground: str) -> float:
    def luminance(colour: str) -> float:
        parts = np.array([int(part) for part in re.findall(r"\d+", colour)[:3]]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(ink), luminance(ground)))
    return (high + 0.05) / (low + 0.05)
