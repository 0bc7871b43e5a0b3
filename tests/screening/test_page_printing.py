"""The review page on paper: a table of the list as it is filtered, and a radiograph a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_worklist_page import CONTOUR, EVIL, HEIGHT, IMAGES, IN_ORDER, WIDTH, Review, screened, write_page

from pdf_files import printed

SCRIPT = "window.print = () => { window.askedToPrint = (window.askedToPrint ?? 0) + 1; };"
ORIGIN = (
    "folder ward · model model.safetensors · review from 0.300, retake from 0.600 · screened 2026-05-04 · printed {}"
)
LONG = "The window that the file names does not fit the picture, so that it was taken from the values themselves. " * 4


class Printed(Review):
    """The page, whose own dialog is answered; the browser's is never shown."""

    def __init__(self, browser: Any, where: Path) -> None:
        super().__init__(browser, where, script=SCRIPT)

    def choose(self, sheets: str, *, table: bool = True) -> None:
        """Ask for the radiographs "none", "shown" or "all"; what is then on paper stays until it has been printed."""
        before = self.page.evaluate("window.askedToPrint ?? 0")
        self.page.click("#print")
        self.page.set_checked("#print-form [name=table]", table)
        self.page.check(f"#print-form [value={sheets}]")
        self.page.click("#print-start")
        self.until(f"window.askedToPrint === {before + 1}")

    def notes(self) -> dict[str, str]:
        return {name: self.page.locator(f"#print-{name}").inner_text() for name in ("rows", "shown", "all")}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    doubted = screened("a/mid.jpg", 0.4, height=2600, width=2000, remarks=(LONG, "It is nearly black."), doubts=(LONG,))
    return write_page(tmp_path_factory.mktemp("printed"), [*(i for i in IMAGES if i.name != doubted.name), doubted])


@pytest.fixture
def review(browser: Any, report: Path) -> Iterator[Printed]:
    opened = Printed(browser, report)
    yield opened
    assert opened.complaints == []
    opened.page.close()


def test_the_browsers_own_printing_gives_a_table_of_the_list(review: Printed) -> None:
    review.page.fill("#reader", "J. Doe")
    review.page.fill("#comment", "sternal <wires>")
    review.page.focus("#grid")
    review.press("r", "2")
    review.becomes(review.judged, "1")
    review.page.evaluate("void (Date.prototype.toISOString = () => '2026-05-05T06:07:08.901Z')")
    [page] = printed(review.page)
    told = ORIGIN.format("2026-05-05")
    assert page.startswith(f"Ward <b> 6 radiographs {told} · for research; not a medical device")
    places = [page.index(f"because of {probability}") for probability in (0.95, 0.7, 0.4, 0.2)]
    assert places == sorted(places)
    for text in (
        "0.950",
        "<0.001",
        "affected",
        "cxrlens · for research; not a medical device",
        "page 1 of 1",
        "is <b>no</b> picture",
        LONG[:60],
    ):
        assert text in page, text
    assert "Retake: Positioning, J. Doe, 20" in page
    assert "sternal <wires>" in page
    assert review.page.locator("#paper").count() == 0  # taken away again


def test_the_table_is_of_the_filter_in_its_order_and_says_so(review: Printed) -> None:
    review.page.locator("#decisions label.chip.retake").click()
    review.page.locator("#verdict-filter label.chip.none").click()
    review.page.fill("#search", "jpg")
    review.page.click("#columns .probability button")
    review.page.wait_for_selector("#columns .probability[aria-sort=ascending]")
    [page] = printed(review.page)
    assert "2 of 6 radiographs; filtered by: retake, none yet, “jpg”" in page
    assert 0 < page.index("because of 0.7") < page.index("because of 0.95")
    assert "0.400" not in page


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_each_radiograph_is_whole_on_a_page_of_its_own(review: Printed, paper: str) -> None:
    review.press("a")
    review.choose("all")
    table, *sheets = printed(review.page, format=paper)
    assert "6 radiographs" in table
    assert len(sheets) == 5
    for number, (sheet, image) in enumerate(zip(sheets, IN_ORDER, strict=False)):
        assert f"page {number + 2} of 6" in sheet
        assert "folder ward · model model.safetensors" in sheet
        assert "for research; not a medical device" in sheet
        for text in ("Contour at half", "Map: the network's evidence", "gradcam, layer4, centres bicubic, mirrored"):
            assert text in sheet, (image, text)
    assert EVIL in sheets[1]
    assert "Suggested retake: because of 0.95 Verdict: Accepted, 20" in sheets[0]
    assert "0.950 (review from 0.300, retake from 0.600)" in sheets[0]
    assert "To be reviewed: because of 0.4" in sheets[2]
    assert "Verdict: none yet" in sheets[2]
    assert LONG.strip() in sheets[2]


def test_one_radiograph_alone_lies_as_it_was_computed(review: Printed) -> None:
    page = review.page
    page.uncheck("#advance")
    page.fill("#comment", "x" * 900)
    page.focus("#grid")
    review.press("a")
    review.becomes(review.judged, "1")
    review.choose("shown", table=False)
    page.emulate_media(media="print")
    assert page.evaluate("(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(byId('paper'))") == 0
    assert page.locator("#paper > *").count() == 1
    assert page.evaluate("[...document.querySelectorAll('#paper img')].every((img) => img.naturalWidth === 250)")
    frame, picture, map_, mark = review.boxes(
        ".radiograph .frame", ".radiograph img", ".map canvas", ".radiograph .printed-line"
    )
    assert frame["width"] / frame["height"] == pytest.approx(WIDTH / HEIGHT, rel=1e-2)
    assert picture == frame
    assert map_ == review.boxes(".map .frame")[0]
    xs, ys = zip(*CONTOUR, strict=True)
    unit = frame["width"] / WIDTH
    assert mark["x"] - frame["x"] == pytest.approx((min(xs) + 0.5) * unit, abs=2)
    assert mark["y"] - frame["y"] == pytest.approx((min(ys) + 0.5) * unit, abs=2)
    assert mark["width"] == pytest.approx((max(xs) - min(xs)) * unit, abs=3)
    pixel = "(c => [...c.getContext('2d').getImageData({}, {}, 1, 1).data])(document.querySelector('.map canvas'))"
    assert page.evaluate(pixel.format(32, 5)) == [240, 249, 33, 255]
    assert page.evaluate(pixel.format(20, 20))[3] == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    [sheet] = printed(page)
    assert "page 1 of 1" in sheet
    page.emulate_media(media="screen")
    assert page.locator("#paper").count() == 0
    assert page.locator("#main").is_visible()


def test_the_dialog_is_worked_by_keys_which_give_no_verdicts(review: Printed) -> None:
    review.press("Control+p")
    review.page.locator("#print-dialog").wait_for()
    assert review.notes() == {
        "rows": "6 radiographs", "shown": "b/10.jpg", "all": "5 pages; 1 radiograph has no picture here"
    }  # fmt: skip
    review.press("Tab", "a", "ArrowUp", "r")
    review.page.click("#print-title")
    review.press("a")
    review.becomes(review.judged, "0")
    assert review.page.is_checked("#print-form [value=none]")
    review.page.uncheck("#print-form [name=table]")
    assert review.page.locator("#print-start").is_disabled()
    review.page.check("#print-form [name=table]")
    review.page.focus("#print-start")
    review.press("Enter")
    review.until("window.askedToPrint === 1")
    assert len(printed(review.page)) == 1
    review.press("Control+p", "Escape")
    review.page.locator("#print-dialog").wait_for(state="hidden")
    assert review.page.evaluate("window.askedToPrint") == 1


def test_long_lists_are_paged_and_too_many_sheets_refused(browser: Any, tmp_path: Path) -> None:
    images = [screened(f"ward/{i:03d}.jpg", 0.9 - i / 1000) for i in range(301)]
    review = Printed(browser, write_page(tmp_path, images))
    review.page.click("#print")
    assert review.notes()["all"] == "301 pages are too many for one print. Let the filters leave 300 or fewer."
    assert review.page.locator("#print-form [value=all]").is_disabled()
    review.press("Escape")
    pages = printed(review.page)
    assert all("for research; not a medical device" in page and "Radiograph Probability" in page for page in pages)
    assert " ".join(pages).count("because of") == 301
    for number, page in enumerate(pages, 1):
        assert f"page {number} of {len(pages)}" in page
    review.page.fill("#search", "ward/00")
    review.choose("all", table=False)
    assert len(printed(review.page)) == 10
    assert review.complaints == []
    review.page.close()


def test_a_table_of_many_thousands_is_cut_with_a_sentence(browser: Any, tmp_path: Path) -> None:
    images = [screened(f"{i:05d}.jpg", 0.5, picture="", map="") for i in range(5001)]
    review = Printed(browser, write_page(tmp_path, images))
    review.page.click("#print")
    told = "the first 5,000 of 5,001 radiographs; worklist.csv holds all"
    assert review.notes()["rows"] == told
    review.page.click("#print-start")
    review.until("window.askedToPrint === 1")
    assert review.page.locator("#paper tbody tr").count() == 5000
    assert told in review.page.locator("#paper p").first.text_content()
    assert review.page.locator("#rows .row").count() < 60
    assert review.complaints == []
    review.page.close()
