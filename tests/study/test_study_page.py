"""The page of a study: what it holds, and how it behaves in a browser (Chromium, where one is installed)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from browsing import Opened, Page
from cxrlens.report.overlays import MapPanel, overlay_figure
from cxrlens.report.tables import Cell, Column, Score, Table
from cxrlens.study.page import (
    Foot,
    Gallery,
    GalleryEntry,
    PageFigure,
    Section,
    save_overlay,
    study_page,
)
from waiting import PATIENCE

EVIL = "<b>&\"'</b><script>alert(1)</script>.jpg"
CJK = "胸片_正常 (1).png"
LONG = "a" * 120 + ".jpg"
FOOT = Foot("cxrlens study data --out 'a b'", {"cxrlens": "0.1.0", "torch": "2.10"}, "sha256:0123", None, 7)


def scores_table(name: str = "scores") -> Table:
    rows: list[list[Cell]] = [
        ["b", Score(0.9, 0.8, 0.95, 30), 10, 0.5],
        [EVIL, Score(0.25, 0.1, 0.3, 30, marked=True), 9, "not published"],
        [CJK, Score(math.nan, math.nan, math.nan, 0), None, math.nan],
        ["A", Score(0.5, 0.4, 0.6, 30), 100, -2.0],
        ["c10", Score(0.1, 0.0, 0.2, 30), 9, 0.25],
        ["c9", Score(0.0, 0.0, 0.1, 30), -1, 1e-9],
        [LONG, Score(1.0, 0.9, 1.0, 30), 8, 3.0],
    ]
    columns = [
        Column("method", "Method <i>"),
        Column("pg", "Pointing Game", "score"),
        Column("tied", "Tied", "number"),
        Column("published", "Published", "number"),
        *(Column(f"more{i}", f"One more column, number {i}") for i in range(4)),
    ]
    return Table(name, f"Scores of {EVIL}", columns, [[*row, *["x"] * 4] for row in rows], note=EVIL)


def write_page(folder: Path) -> Path:
    picture = folder / "narrow.png"
    Image.new("L", (2000, 300), 128).save(picture)
    entry = GalleryEntry(EVIL, LONG, picture)
    return study_page(
        folder / f"report {CJK}.html",
        title=EVIL,
        summary=[EVIL, "In plain words."],
        findings=[EVIL],
        sections=[
            Section("First", [EVIL], [scores_table()], [PageFigure(EVIL, picture, f'{EVIL}" onload="x', EVIL)]),
            Section(EVIL, tables=[scores_table("again")]),
        ],
        gallery=Gallery(best=[entry], disputed=[entry, entry]),
        foot=FOOT,
    )


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("page"))


def test_every_text_is_escaped_and_every_picture_embedded_with_words(page_file: Path) -> None:
    source = page_file.read_text("utf-8")
    page = Page(source)
    assert page.named("b") == page.named("i") == []
    assert len(page.named("script")) == 1
    assert len(page.named("img")) == 4
    for image in page.named("img"):
        assert str(image["src"]).startswith("data:image/png;base64,")
        assert image["alt"]
        assert set(image) == {"src", "alt"}
    assert page.named("html") == [{"lang": "en"}]
    assert re.findall(r'(?:src|href)="(?!data:|#)', source) == []
    assert page.text.count(EVIL) > 10


def test_groups_and_foot(page_file: Path) -> None:
    text = " ".join(Page(page_file.read_text("utf-8")).text.split())
    assert "Best Images" in text
    assert "Most disputed Images" in text
    assert "Worst" not in text
    assert "command cxrlens study data --out 'a b' versions cxrlens 0.1.0, torch 2.10" in text
    assert "data hash sha256:0123 commit n/a (not a working copy) seed 7" in text


def test_contents_lead_to_the_sections(page_file: Path) -> None:
    page = Page(page_file.read_text("utf-8"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [str(link["href"]) for link in page.named("a")]
    assert links == ["#section-1", "#section-2", "#gallery"]
    named = [str(value) for _, tag in page.tags for key, value in tag.items() if key == "aria-labelledby"]
    assert {link.removeprefix("#") for link in links} | set(named) <= set(ids)


def test_cells_of_scores_carry_their_number(page_file: Path) -> None:
    source = page_file.read_text("utf-8")
    assert '<td class="number" data-sort="0.25">0.250† (0.10 to 0.30)</td>' in source
    assert '<td class="number" data-sort="">not published</td>' in source
    assert "† does not beat the best baseline." in source


def test_a_page_with_nothing_but_a_title(tmp_path: Path) -> None:
    path = study_page(tmp_path / "a.html", title="t", summary=[], findings=[], sections=[], gallery=Gallery(),
                      foot=FOOT)  # fmt: skip
    page = Page(path.read_text("utf-8"))
    assert page.named("nav") == page.named("section") == page.named("ul") == []


def test_tables_of_one_name_are_refused(tmp_path: Path) -> None:
    sections = [Section("a", tables=[scores_table()]), Section("b", tables=[scores_table()])]
    with pytest.raises(ValueError, match="two tables of the page have the name 'scores'"):
        study_page(tmp_path / "a.html", title="t", summary=[], findings=[], sections=sections, gallery=Gallery(),
                   foot=FOOT)  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_thirty_gallery_pictures_stay_small(tmp_path: Path) -> None:
    """A noisy picture of 1024 x 1024 with 5 maps."""
    rng = np.random.default_rng(0)
    image = np.clip(np.linspace(0, 1, 1024) + rng.normal(0, 0.05, (1024, 1024)), 0, 1).astype(np.float32)
    map_ = np.outer(np.hanning(600), np.hanning(600)).astype(np.float32)
    panels = [MapPanel(f"NormGrad {i}", map_, (300, 300), "hit, 3.0 px", True) for i in range(5)]
    path = save_overlay(overlay_figure(image, panels, title=CJK), tmp_path / "08002.jpg")
    assert path.name == "08002.jpg.jpg"
    assert path.stat().st_size * 4 / 3 * 30 < 6e6
    with Image.open(path) as picture:
        assert picture.width > 900


# In a browser


class StudyOpened(Opened):
    """A study's page in the browser."""

    def column(self, number: int) -> list[str]:
        """The first table's cells in one column, counted from 1."""
        cells = self.page.locator(f"section:first-of-type tbody tr > :nth-child({number})")
        return [text.strip() for text in cells.all_text_contents()]

    def heading(self, name: str) -> Any:
        return self.page.locator("section:first-of-type thead th", has_text=name)

    def sorted_by(self, name: str, order: str) -> None:
        """Wait until the first table is sorted by a column."""
        self.becomes(lambda: self.heading(name).get_attribute("aria-sort"), order)


@pytest.fixture
def opened(browser: Any, page_file: Path) -> Iterator[StudyOpened]:
    shown = StudyOpened(browser, page_file)
    yield shown
    shown.page.close()


def test_the_browser_finds_no_fault_and_asks_for_nothing_else(opened: StudyOpened, page_file: Path) -> None:
    opened.page.get_by_role("button", name="Tied").first.click()
    opened.sorted_by("Tied", "ascending")
    assert opened.complaints == []
    other = [url for url in opened.requests if not url.startswith("data:image/")]
    assert other == [page_file.as_uri()]
    sizes = opened.page.eval_on_selector_all("img", "all => all.map((image) => image.naturalWidth)")
    assert sizes == [2000] * 4


def test_a_click_sorts_numbers_and_a_second_one_reverses(opened: StudyOpened) -> None:
    assert opened.column(3) == ["10", "9", "n/a", "100", "9", "-1", "8"]
    heading = opened.heading("Tied")
    assert heading.get_attribute("aria-sort") is None
    heading.get_by_role("button").click()
    opened.sorted_by("Tied", "ascending")
    assert opened.column(3) == ["-1", "8", "9", "9", "10", "100", "n/a"]
    assert opened.column(1)[2:4] == [EVIL, "c10"]  # equal values keep their order, also in reverse
    heading.get_by_role("button").click()
    opened.sorted_by("Tied", "descending")
    assert opened.column(3) == ["100", "10", "9", "9", "8", "-1", "n/a"]
    assert opened.column(1)[2:4] == [EVIL, "c10"]


def test_scores_sort_by_value_and_words_among_numbers_go_last(opened: StudyOpened) -> None:
    opened.heading("Pointing Game").get_by_role("button").click()
    opened.sorted_by("Pointing Game", "ascending")
    assert [text[:5] for text in opened.column(2)] == ["0.000", "0.100", "0.250", "0.500", "0.900", "1.000", "n/a"]
    opened.heading("Published").get_by_role("button").click()
    opened.sorted_by("Published", "ascending")
    assert opened.column(4) == ["-2.000", "0.000", "0.250", "0.500", "3.000", "not published", "n/a"]
    assert opened.heading("Pointing Game").get_attribute("aria-sort") is None


def test_the_keyboard_sorts_text_as_people_do(opened: StudyOpened) -> None:
    button = opened.heading("Method").get_by_role("button")
    button.focus()
    opened.page.keyboard.press("Enter")
    opened.sorted_by("Method", "ascending")
    names = opened.column(1)
    assert names.index("A") < names.index("b") < names.index("c9") < names.index("c10") < names.index(CJK)
    opened.page.keyboard.press("Space")
    opened.sorted_by("Method", "descending")
    assert opened.column(1) == names[::-1]


def test_tables_sort_one_by_one(opened: StudyOpened) -> None:
    opened.heading("Tied").get_by_role("button").click()
    opened.sorted_by("Tied", "ascending")
    second = opened.page.locator("#section-2 tbody tr > :nth-child(3)").all_text_contents()
    assert second == ["10", "9", "n/a", "100", "9", "-1", "8"]


@pytest.mark.parametrize("width", [400, 1280])
def test_only_boxes_inside_the_page_scroll_sideways(browser: Any, page_file: Path, width: int) -> None:
    shown = Opened(browser, page_file, width)
    assert shown.page.evaluate("document.documentElement.scrollWidth") == width
    assert shown.page.evaluate("document.body.scrollWidth") <= width
    box, content = shown.page.eval_on_selector(".scroll", "(box) => [box.clientWidth, box.scrollWidth]")
    assert box < width
    assert (content > box) == (width == 400)
    shown.page.close()


def test_without_scripts_headings_are_plain_text(browser: Any, page_file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(1000 * PATIENCE)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.locator("th button").count() == 0
    assert page.locator("th", has_text="Tied").count() == 2
    context.close()
