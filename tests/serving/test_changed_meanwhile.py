"""Two pages that share one verdict, as its server knows no readers: what the one writes is never lost to the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_files import asking, running
from test_serving_page import reviewed

from browsing import Opened
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.serving.app import create_app
from cxrlens.serving.settings import ServerSettings

__all__ = ["reviewed"]  # a fixture

UNASKING = "window.setInterval = () => 0;"  # a page that does not look for news
QUESTION = "Another page has changed the comment to “theirs”. What is to stand?"


class Page(Opened):
    """One of the pages, at its first image."""

    def __init__(self, browser: Any, address: str, script: str = "") -> None:
        super().__init__(browser, address, script=script)
        self.until("window.review?.viewer.shown")
        self.page.uncheck("#advance")
        self.page.focus("#grid")

    def text(self, place: str) -> str:
        return str(self.page.locator(place).inner_text())

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def write(self, comment: str) -> None:
        """Without leaving the field."""
        self.press("e")
        self.page.fill("#comment", comment)

    def draws(self, x: float, y: float) -> None:
        """A box from this share of the picture on."""
        self.press("b")
        (box,) = self.boxes("#picture")
        start = box["x"] + x * box["width"], box["y"] + y * box["height"]
        self.drag(start, (start[0] + 60, start[1] + 40))

    def is_asked(self, wanted: bool = True) -> None:
        self.becomes(lambda: self.page.locator("#changed").is_visible(), wanted)


@pytest.fixture
def address(served_model: QualityModel, reviewed: Path) -> Iterator[str]:
    with running(create_app(ServerSettings(decoders=1), served_model, reviewed)) as address:
        yield address


@pytest.fixture
def pages(browser: Any, address: str) -> Iterator[list[Page]]:
    """Two of them."""
    opened = [Page(browser, address), Page(browser, address)]
    yield opened
    for page in opened:
        assert [text for text in page.complaints if "Failed to load resource" not in text] == []
        page.page.close()


def kept(address: str) -> list[tuple[str, str, int]]:
    """Verdict, comment and number of drawn objects of each image."""
    with asking(address) as client:
        found = client.get("/api/verdicts").json()["verdicts"]
    return [(each["verdict"], each["comment"], len(each["marks"])) for each in found]


def test_a_comment_that_was_changed_elsewhere_is_asked_about(pages: list[Page], address: str) -> None:
    here, there = pages
    here.press("a")
    there.becomes(lambda: there.page.get_attribute("#accept", "aria-pressed"), "true")
    here.write("mine")
    there.write("theirs")
    there.press("Escape")
    here.is_asked()  # while it is being written
    assert here.text("#changed-text") == QUESTION
    assert here.page.input_value("#comment") == "mine"
    assert here.barriers() == []
    here.press("Escape")
    here.press("r", "2")
    here.becomes(lambda: here.text("#notice-text").endswith("choose first what is to stand."), True)
    assert kept(address) == [("accept", "theirs", 0)]
    here.page.click("#keep-both")
    here.is_asked(False)
    there.becomes(lambda: there.page.input_value("#comment"), "theirs\nmine")
    assert kept(address) == [("accept", "theirs\nmine", 0)]


def test_a_page_that_has_not_heard_of_it_is_told_by_the_server(browser: Any, address: str) -> None:
    here, there = Page(browser, address), Page(browser, address, UNASKING)
    there.press("a")
    here.becomes(lambda: here.page.get_attribute("#accept", "aria-pressed"), "true")
    for choice, theirs, comment in (("take-theirs", "theirs", "theirs"), ("keep-mine", "theirs again", "mine")):
        here.write(theirs)
        here.press("Escape")
        here.until("window.review.backend.pending === 0")
        there.write("mine")
        there.press("Escape")
        there.is_asked()
        assert "another reader has changed the comment of the verdict at" in there.text("#notice-text")
        assert there.text("#changed-text") == QUESTION.replace("theirs", theirs)
        assert kept(address) == [("accept", theirs, 0)]
        there.page.click(f"#{choice}")
        there.is_asked(False)
        here.becomes(lambda comment=comment: here.page.input_value("#comment") == comment, True)
        assert kept(address) == [("accept", comment, 0)]
    for page in (here, there):
        page.page.close()


def test_a_comment_and_a_drawing_are_joined_without_a_question(browser: Any, address: str) -> None:
    here, there = Page(browser, address), Page(browser, address, UNASKING)
    there.press("a")
    here.becomes(lambda: here.page.get_attribute("#accept", "aria-pressed"), "true")
    here.write("theirs")
    here.press("Escape")
    here.until("window.review.backend.pending === 0")
    there.draws(0.2, 0.2)
    there.becomes(lambda: kept(address), [("accept", "theirs", 1)])
    assert there.page.input_value("#comment") == "theirs"
    here.becomes(lambda: here.text("#drawn-count"), "1 object")
    here.draws(0.6, 0.6)
    here.becomes(lambda: kept(address), [("accept", "theirs", 2)])
    there.draws(0.2, 0.7)  # of which the other page knows nothing yet, nor this one of the second
    there.is_asked()
    assert "changed the drawn objects to 2 objects" in there.text("#changed-text")
    assert there.texts("#names span") == ["meanwhile", "meanwhile"]
    there.page.click("#keep-both")
    here.becomes(lambda: here.text("#drawn-count"), "3 objects")
    for page in (here, there):
        assert page.page.get_attribute("#notice", "class") != "notice error"  # what was said is settled
        page.page.close()


def test_lines_of_named_readers_are_not_taken_without_their_names(pages: list[Page], address: str) -> None:
    page = pages[0]
    lines = "name,verdict,reader\nsecond.jpg,accept,Anna\nthird.jpg,retake,\n"
    page.page.set_input_files("#imported", {"name": "v.csv", "mimeType": "text/csv", "buffer": lines.encode()})
    page.becomes(lambda: page.text("#notice-text"), (
        "1 verdict imported; 1 line names a reader, whom this server does not know: serve with --readers, "
        "or empty that column to take what it says without a name."
    ))  # fmt: skip
    assert kept(address) == [("retake", "", 0)]
