"""The page of a reader who is known by name: others' verdicts as they come, conflicts, comments, drawn objects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from serving_files import asking, running
from test_serving_page import NAMES, reviewed

from browsing import Opened
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.serving.app import create_app
from cxrlens.serving.readers import Reader
from cxrlens.serving.settings import ServerSettings

__all__ = ["reviewed"]  # a fixture

TOKENS = {"Anna": "a-token-of-anna-0123", "Ben": "a-token-of-ben-01234", "Cleo": "a-token-of-cleo-0123"}
READERS = tuple(Reader(name, hashlib.sha256(token.encode()).hexdigest()) for name, token in TOKENS.items())
BOX = {"kind": "box", "points": [[20, 30], [50, 44]]}
OUTLINE = {"kind": "outline", "points": [[60, 60], [80, 62], [70, 84]]}

# Questions get lost while `lost` is kept.
SCRIPT = """
const asked = window.fetch;
window.fetch = async (...question) => {
  if (sessionStorage.getItem("lost")) throw new TypeError("lost");
  return asked(...question);
};
"""


class OfReader(Opened):
    """Anna's page, and Ben and Cleo, who ask the server themselves."""

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

    def see(self) -> None:
        """Wait until the radiograph of the selected row is drawn."""
        self.until("window.review.viewer.shown?.image === window.review.current")

    def point(self, x: float, y: float) -> tuple[float, float]:
        """The point of the browser's window over a place in stored pixels, of a picture that is not turned."""
        (box,) = self.boxes("#picture")
        width, height = self.page.evaluate("(({ width, height }) => [width, height])(window.review.viewer.shown.image)")
        return box["x"] + (x + 0.5) / width * box["width"], box["y"] + (y + 0.5) / height * box["height"]

    def pressed(self, *ids: str) -> list[str]:
        """Which of some buttons are."""
        return [id_ for id_ in ids if self.page.get_attribute(f"#{id_}", "aria-pressed") == "true"]

    def give(self, place: int, verdict: str, reader: str = "Ben", **grounds: Any) -> None:
        """As another reader."""
        key = self.page.evaluate("(place) => window.review.backend.images[place].key", place)
        token = {"Authorization": f"Bearer {TOKENS[reader]}"}
        answer = self.ben.post("/api/verdicts", json={"key": key, "verdict": verdict, **grounds}, headers=token)
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
    page.see()
    assert page.text("#resolution") == "Preview, all 96 px a side, in 8 bits"
    page.press("e")
    page.page.fill("#comment", "two lines\nof text")
    page.press("Escape", "b")
    tools = "tool-window", "tool-move", "tool-ruler", "draw-box", "draw-outline"
    assert page.pressed(*tools) == ["draw-box"]  # what the next drag does, and nothing else
    page.page.click("#tool-ruler")
    assert page.pressed(*tools) == ["tool-ruler"]
    page.page.click("#tool-window")
    page.press("b")
    page.drag(page.point(10, 20), page.point(-7, 60.3))  # no further than the picture's edge
    page.becomes(lambda: page.text("#drawn-count"), "1 object")
    assert page.pressed(*tools) == ["tool-window"]
    assert page.page.locator("#drawn .mark.line").count() == 1
    assert page.standing() == []  # it waits for a verdict
    page.press("r", "1")
    page.says("#result h2", NAMES[1])
    page.becomes(lambda: page.page.locator("#drawn .mark").count(), 0)
    page.select(0)
    page.becomes(lambda: page.text("#drawn-count"), "1 object")
    [kept] = page.standing()
    [mark] = kept["marks"]
    assert (kept["comment"], mark["kind"]) == ("two lines\nof text", "box")
    assert np.array(mark["points"]) == pytest.approx(np.array([[-0.5, 20], [10, 60.3]]), abs=0.3)
    page.see()
    frame, drawn = page.boxes("#picture", "#drawn .mark.line")
    assert drawn["width"] == pytest.approx(10.5 / 96 * frame["width"], abs=4)
    page.press("o")
    corners = [page.point(*place) for place in ((40, 20), (80, 20), (80, 50), (40, 50))]
    page.drag(corners[0], corners[2], corners[1], corners[3])
    page.becomes(
        lambda: page.text("#word"), "That outline crosses itself, so that it has no inside: draw it in one round."
    )
    page.drag(*corners)
    page.becomes(lambda: [[each["kind"] for each in kept["marks"]] for kept in page.standing()], [["box", "outline"]])
    crossed = "{ kind: 'outline', points: [[10, 10], [50, 40], [50, 10], [10, 40]] }"
    page.page.evaluate(f"window.review.viewer.onDrawn({crossed})")  # which only the server sees
    page.until("document.getElementById('notice-text').innerText.includes('crosses itself; draw it again')")
    page.becomes(lambda: page.text("#drawn-count"), "3 objects")  # as it was drawn, until it is removed
    assert [len(each["marks"]) for each in page.standing()] == [2]
    for _ in range(3):
        page.page.click("#unmark")
    page.becomes(lambda: [len(each["marks"]) for each in page.standing()], [0])
    with page.page.expect_download() as download:
        page.page.click("#export-objects")
    assert Path(download.value.path()).read_text("utf-8") == "image_name,annotation\n"


def test_what_others_have_drawn_is_shown_with_their_names_and_can_be_hidden(serve: OfReader) -> None:
    page = serve
    page.see()
    assert not page.page.locator("#show-others").is_visible()
    page.press("b")
    page.drag(page.point(5, 5), page.point(15, 15))
    page.give(0, "retake", reason="foreign_object", marks=[BOX, OUTLINE])
    page.give(0, "retake", "Cleo", marks=[OUTLINE])
    page.becomes(lambda: page.texts("#names span"), ["Ben", "Ben", "Cleo"])
    assert page.texts("#others-list li") == [
        "Ben: retake (Foreign object); 2 objects drawn",
        "Cleo: retake; 1 object drawn",
    ]
    colours = "all => all.map((shape) => getComputedStyle(shape).stroke)"
    [ben, _, cleo] = page.page.eval_on_selector_all("#drawn .other.line", colours)
    [own] = page.page.eval_on_selector_all("#drawn .mark.line", colours)
    swatches = "all => all.map((one) => getComputedStyle(one).borderTopColor)"
    assert page.page.eval_on_selector_all("#others-list .swatch", swatches) == [ben, cleo]
    assert len({own, ben, cleo}) == 3
    for keys in ((), ("t",), ("h", "+")):
        page.press(*keys)
        page.see()
        name, shape = page.boxes("#names span", "#drawn .other.line")
        assert (name["x"], name["y"] + 18) == pytest.approx((shape["x"], shape["y"]), abs=4)
    assert page.barriers() == []
    page.press("g")
    page.becomes(lambda: page.page.locator("#drawn .other, #names span").count(), 0)
    assert page.pressed("show-others") == []
    page.press("x", "j")
    page.says("#result h2", NAMES[1])
    page.give(1, "accept", marks=[BOX])
    page.says("#others-list", "Ben: accepted; 1 object drawn")
    assert page.page.locator("#drawn .other").count() == 0
    page.page.click("#show-others")
    page.becomes(lambda: page.texts("#names span"), ["Ben"])
    [again] = page.page.eval_on_selector_all("#drawn .other.line", colours)
    assert again == ben  # a reader has one colour


def test_a_browser_that_another_reader_has_opened_gives_no_verdict_in_their_name(serve: OfReader) -> None:
    page = serve
    page.see()
    page.page.context.add_cookies([{"name": "cxrlens_token", "value": TOKENS["Ben"], "url": page.page.url}])
    page.becomes(
        lambda: page.text("#notice-text").startswith("This page was opened by Anna, and this browser has the"), True
    )
    page.press("a")
    page.becomes(
        lambda: page.text("#notice-text").endswith("open it again with the token of whom the verdict is."), True
    )
    page.says("#tally", "0 of 3 judged: 0 accepted, 0 to retake")
    assert page.ben.get("/api/audit").json()["total"] == 0


@pytest.mark.parametrize("serve", [True], indirect=True)
def test_a_blind_reader_sees_nothing_before_their_own_verdict(serve: OfReader) -> None:
    page = serve
    page.give(0, "retake", reason="motion", comment="secret", marks=[BOX])
    page.give(1, "accept")
    page.until("window.review.backend.last.entry === 2")
    page.see()
    assert not page.page.locator("#others").is_visible()
    assert page.page.locator("#drawn .other, #names span").count() == 0
    page.page.uncheck("#advance")
    page.page.locator("#grid").focus()
    page.press("a")
    page.says("#others-list", "Ben: retake (Motion): secret; 1 object drawn")
    page.becomes(lambda: page.texts("#names span"), ["Ben"])
    page.press("a")  # withdrawn: what they said is hidden again
    page.becomes(lambda: page.page.locator("#others").is_visible(), False)
    assert page.page.locator("#drawn .other, #names span").count() == 0
    page.press("j")
    page.says("#result h2", NAMES[1])
    assert not page.page.locator("#others").is_visible()
