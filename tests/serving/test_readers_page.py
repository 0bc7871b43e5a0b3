"""The page of a reader who is known by name: others' verdicts as they come, conflicts, comments, drawn objects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving_files import asking, running
from test_serving_page import NAMES, reviewed

from browsing import Opened
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.serving.app import create_app
from cxrlens.serving.readers import Reader
from cxrlens.serving.settings import ServerSettings

__all__ = ["reviewed"]  # a fixture

TOKENS = {"Anna": "a-token-of-anna-0123", "Ben": "a-token-of-ben-01234"}
READERS = tuple(Reader(name, hashlib.sha256(token.encode()).hexdigest()) for name, token in TOKENS.items())

# Questions get lost while `lost` is kept; a viewer that tells what it is asked to draw.
SCRIPT = """
const asked = window.fetch;
window.fetch = async (...question) => {
  if (sessionStorage.getItem("lost")) throw new TypeError("lost");
  return asked(...question);
};
addEventListener("DOMContentLoaded", () => {
  Object.assign(Viewer.prototype, {
    startDrawing(kind) { window.drawing = kind; },
    stopDrawing() { window.drawing = null; },
    showMarks(marks) { window.marked = marks; },
  });
});
"""


class OfReader(Opened):
    """Anna's page, and Ben, who asks the server himself."""

    def __init__(self, browser: Any, address: str, ben: httpx.Client) -> None:
        super().__init__(browser, f"{address}/?token={TOKENS['Anna']}", script=SCRIPT)
        self.ben = ben
        self.until("window.review && window.checking")

    def text(self, place: str) -> str:
        return str(self.page.locator(place).inner_text())

    def says(self, place: str, text: str) -> None:
        self.becomes(lambda: self.text(place), text)

    def select(self, place: int) -> None:
        self.page.evaluate("(place) => window.review.list.select(window.review.backend.images[place])", place)
        self.says("#result h2", NAMES[place])

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def give(self, place: int, verdict: str, **grounds: Any) -> None:
        """As Ben."""
        key = self.page.evaluate("(place) => window.review.backend.images[place].key", place)
        answer = self.ben.post("/api/verdicts", json={"key": key, "verdict": verdict, **grounds})
        assert answer.status_code == 200, answer.text

    def standing(self) -> list[dict[str, Any]]:
        """What the server keeps of Anna, as soon as all that she gave has arrived."""
        self.until("window.review.backend.pending === 0")
        kept: list[dict[str, Any]] = self.ben.get("/api/verdicts").json()["verdicts"]
        return [each for each in kept if each["reader"] == "Anna"]


@pytest.fixture
def serve(
    browser: Any, served_model: QualityModel, reviewed: Path, request: pytest.FixtureRequest
) -> Iterator[OfReader]:
    settings = ServerSettings(decoders=1, readers=READERS, blind=getattr(request, "param", False))
    bens = {"Authorization": f"Bearer {TOKENS['Ben']}"}
    with running(create_app(settings, served_model, reviewed)) as address, asking(address, headers=bens) as ben:
        page = OfReader(browser, address, ben)
        yield page
        assert [text for text in page.complaints if "Failed to load resource" not in text] == []
        page.page.close()


def test_verdicts_of_another_reader_come_by_themselves_and_conflicts_are_shown(serve: OfReader) -> None:
    page = serve
    assert page.page.evaluate("VERDICTS_EVERY") <= 2000
    assert page.text("#heading").startswith("reader Anna · folder screened")
    assert not page.page.locator("#verdict-filter .conflict").is_visible()
    page.press("r", "2")
    page.says("#tally", "1 of 3 judged: 0 accepted, 1 to retake")
    [kept] = page.standing()
    assert (kept["verdict"], kept["reason"]) == ("retake", "positioning")
    page.select(0)
    page.give(0, "accept", comment="<img src=x onerror=alert(1)>")
    page.says("#others-title", "Readers contradict each other")
    assert page.text("#others-list") == "Ben: accepted: <img src=x onerror=alert(1)>"
    assert page.texts("#rows .row .verdict .mark") == ["conflict"]
    page.page.locator("#verdict-filter label.chip.conflict").click()
    page.becomes(lambda: page.page.locator("#rows .row").count(), 1)
    assert page.standing() == [kept]  # neither is overwritten
    page.page.evaluate("sessionStorage.setItem('lost', 'all')")
    page.give(0, "retake", reason="motion")
    page.give(1, "accept")
    page.page.evaluate("sessionStorage.clear()")
    page.says("#others-title", "Other readers")
    assert page.text("#others-list") == "Ben: retake (Motion)"
    page.page.locator("#verdict-filter label.chip.all").click()
    page.becomes(lambda: page.page.locator("#rows .row").count(), 4)
    page.press("a")  # over her own retake
    page.becomes(lambda: page.standing()[0]["verdict"], "accept")
    page.page.click("#agreement")
    page.becomes(
        lambda: page.texts("#agreement-rows th, #agreement-rows td")[:6], ["Anna, Ben", "1", "0", "0", "1", "0"]
    )


def test_comments_and_drawn_objects_go_along_with_the_verdict(serve: OfReader) -> None:
    page = serve
    page.press("e")
    page.page.fill("#comment", "two lines\nof text")
    page.press("Escape", "b")
    page.until("window.drawing === 'box'")
    page.page.evaluate("window.review.viewer.onDrawn({ kind: 'box', points: [[10.04, 20], [-7, 60.26]] })")
    page.until("window.drawing === null && window.marked.length === 1")
    assert page.standing() == []  # they wait for a verdict
    page.press("r", "1")
    page.says("#result h2", NAMES[1])
    page.until("window.marked.length === 0")
    page.select(0)
    page.becomes(lambda: page.text("#drawn-count"), "1 object")
    assert page.page.evaluate("window.marked") == [{"kind": "box", "points": [[10, 20], [-0.5, 60.3]]}]
    [kept] = page.standing()
    assert (kept["comment"], kept["marks"]) == (
        "two lines\nof text", [{"kind": "box", "points": [[10, 20], [-0.5, 60.3]]}]
    )  # fmt: skip
    page.press("o")
    crossed = "{ kind: 'outline', points: [[10, 10], [50, 40], [50, 10], [10, 40]] }"
    page.page.evaluate(f"window.review.viewer.onDrawn({crossed})")
    page.until("document.getElementById('notice-text').innerText.includes('crosses itself; draw it again')")
    page.becomes(lambda: page.text("#drawn-count"), "2 objects")  # as it was drawn, until it is removed
    assert page.standing() == [kept]
    page.page.click("#unmark")
    page.page.click("#unmark")
    page.becomes(lambda: [len(each["marks"]) for each in page.standing()], [0])
    with page.page.expect_download() as download:
        page.page.click("#export-objects")
    assert Path(download.value.path()).read_text("utf-8") == "image_name,annotation\n"


@pytest.mark.parametrize("serve", [True], indirect=True)
def test_a_blind_reader_sees_nothing_before_their_own_verdict(serve: OfReader) -> None:
    page = serve
    page.give(0, "retake", reason="motion", comment="secret")
    page.give(1, "accept")
    page.until("window.review.backend.last.entry === 2")
    assert not page.page.locator("#others").is_visible()
    page.page.uncheck("#advance")
    page.page.locator("#grid").focus()
    page.press("a")
    page.says("#others-list", "Ben: retake (Motion): secret")
    page.press("j")
    page.says("#result h2", NAMES[1])
    assert not page.page.locator("#others").is_visible()
