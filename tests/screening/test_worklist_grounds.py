"""Why an image is to be retaken, on the page of one file: reason, comment and name of the reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_worklist_page import IMAGES, IN_ORDER, Review, key_of, page_file, screened, write_page

__all__ = ["page_file"]  # a fixture

HTML = "<img src=x onerror=alert(1)>\n=1+1"


@pytest.fixture
def review(browser: Any, page_file: Path) -> Iterator[Review]:
    opened = Review(browser, page_file)
    yield opened
    assert opened.complaints == []
    opened.page.close()


def comment(review: Review, text: str) -> None:
    review.press("e")
    review.becomes(lambda: review.page.evaluate("document.activeElement.id"), "comment")
    review.page.fill("#comment", text)
    review.press("Escape")
    review.becomes(lambda: review.page.evaluate("document.activeElement.id"), "grid")


def test_a_retake_has_a_reason_and_its_label_follows(review: Review, browser: Any, page_file: Path) -> None:
    review.page.fill("#reader", "Anna <b>")
    review.page.locator("#grid").focus()
    comment(review, HTML)
    review.press("r")
    assert review.texts("#reasons button")[:3] == ["1 Foreign object", "2 Positioning", "3 Anatomy cut off"]
    review.becomes(review.judged, "0")
    review.press("Escape")
    review.becomes(lambda: review.page.locator("#reasons").is_visible(), False)
    review.press("r", "2")
    review.becomes(review.selected, IN_ORDER[1])
    assert review.page.input_value("#comment") == ""
    review.press("r", "1")
    review.press("r", "j")  # another key leaves the question
    review.becomes(review.selected, IN_ORDER[3])
    review.becomes(review.tally, "2 of 5 judged: 0 accepted, 2 to retake")
    lines = review.exported()
    assert [(line["name"], line["label"], line["reader"], line["reason"], line["comment"]) for line in lines] == [
        (IN_ORDER[0], "", "Anna <b>", "positioning", HTML), (IN_ORDER[1], "affected", "Anna <b>", "foreign_object", "")
    ]  # fmt: skip
    with review.page.expect_download() as download:
        review.page.click("#export")
    text = Path(download.value.path()).read_text("utf-8")
    again = Review(browser, page_file)
    assert again.import_text(text) == "2 verdicts imported."
    assert again.exported() == lines
    assert again.texts("#reason-given") == ["Reason: Positioning"]
    assert again.page.input_value("#comment") == HTML
    assert again.import_text(text.replace("positioning", "dirt")).endswith(
        f"the reason dirt of {IN_ORDER[0]} is not known here."
    )
    assert again.complaints == []
    again.page.close()


def test_a_reason_chosen_again_withdraws_and_another_one_replaces(review: Review) -> None:
    review.page.uncheck("#advance")
    review.page.locator("#grid").focus()
    review.press("r", "4")
    review.becomes(lambda: review.texts("#reason-given"), ["Reason: Underexposed"])
    comment(review, "dark")  # is kept at once, as a verdict stands
    review.press("r", "5")
    review.becomes(lambda: [line["reason"] + line["comment"] for line in review.exported()], ["overexposeddark"])
    review.press("u", "u")
    review.becomes(lambda: [line["reason"] + line["comment"] for line in review.exported()], ["underexposed"])
    review.press("r", "4")
    review.becomes(review.judged, "0")
    review.press("u")
    review.becomes(lambda: review.texts("#reason-given"), ["Reason: Underexposed"])


def test_a_comment_that_is_too_long_is_said_and_nothing_is_cut(review: Review) -> None:
    comment(review, "胸" * 1001)
    said = "The comment has 1,001 characters, and may have 1,000: shorten it."
    review.becomes(lambda: review.texts("#comment-note"), [said])
    review.press("a")
    review.becomes(lambda: review.texts("#notice-text"), [said])
    review.becomes(review.judged, "0")
    assert len(review.page.input_value("#comment")) == 1001
    comment(review, "胸" * 1000)
    review.press("a")
    review.becomes(review.judged, "1")
    assert review.exported()[0]["comment"] == "胸" * 1000


def test_verdicts_of_earlier_versions_keep_their_meaning(review: Review) -> None:
    review.page.evaluate(
        "(key) => window.review.backend.store.write({ [key]: { verdict: 'retake', time: '2026-01-01T00:00:00Z' } })",
        key_of(IN_ORDER[0]),
    )
    review.reload()
    [line] = review.exported()
    assert (line["label"], line["verdict"], line["reader"], line["reason"]) == ("affected", "retake", "", "")
    assert review.texts("#reason-given") == ["Reason: none given"]


def test_search_finds_tags_that_are_shown(browser: Any, tmp_path: Path) -> None:
    tagged = screened("tagged.jpg", 0.5, tags={"PatientID": "PID-<4711>", "StudyDate": "20260504"})
    opened = Review(browser, write_page(tmp_path, [*IMAGES, tagged]))
    opened.page.fill("#search", "pid-<4711> 2026")
    opened.becomes(opened.names, ["tagged.jpg"])
    opened.becomes(lambda: "PID-<4711>" in opened.texts("#facts dd"), True)
    assert opened.complaints == []
    opened.page.close()


def test_of_several_lines_on_one_image_the_last_given_counts_and_all_are_told(review: Review) -> None:
    """As a server with readers exports them."""
    given = [("accept", "Anna", "01"), ("retake", "Ben", "03"), ("accept", "Cleo", "02"), ("retake", "Dora", "03")]
    lines = [f"{IN_ORDER[0]},{verdict},{reader},2026-01-{day}T00:00:00Z" for verdict, reader, day in given]
    assert review.import_text("\n".join(["name,verdict,reader,time", *lines])) == (
        "1 verdict imported; 1 line says what already stands; 1 line is older than the verdict here; "
        "1 line is followed by a later one on the same image."
    )
    [line] = review.exported()
    assert (line["verdict"], line["reader"]) == ("retake", "Ben")
