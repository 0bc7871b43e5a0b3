"""Pictures of a long list, which lie beside the page: the same page, and a sentence where they are missing."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from test_worklist_page import IMAGES, IN_ORDER, PEAK, Review, data_of, key_of, screened, screened_folder

import cxrlens.screening.page as page_module
from browsing import Page
from cxrlens.screening.page import BESIDE, write_worklist_page
from pdf_files import printed


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page whose five pictures lie beside it."""
    monkeypatch.setattr(page_module, "IN_ONE_FILE", 4)
    (tmp_path / "a # b?").mkdir()
    page = write_worklist_page(screened_folder(tmp_path / "a # b?", IMAGES), IMAGES, title="Beside")
    for ago, part in ((20, "pictures"), (20, "maps"), (10, BESIDE)):  # clocks of files are coarse
        for file in (page.parent / part).iterdir():
            os.utime(file, (time.time() - ago,) * 2)
    return page


def files_of(page: Path) -> dict[str, Path]:
    return {file.stem: file for file in (page.parent / BESIDE).iterdir()}


def test_the_page_is_small_and_each_content_has_a_file(beside: Path) -> None:
    source = beside.read_text("utf-8")
    assert not [tag for tag in Page(source).named("script") if tag.get("type") == "text/plain"]
    images = data_of(source)["images"]
    assert [image["name"] for image in images] == IN_ORDER
    assert not any("contours" in image for image in images)
    assert {image["key"] for image in images if image["shown"]} == set(files_of(beside)) == {
        image.key for image in IMAGES if image.key
    }  # fmt: skip
    policy = Page(source).named("meta")[1]["content"]
    assert policy is not None
    assert "unsafe" not in policy
    assert re.search(r"script-src 'sha256-\S+' 'strict-dynamic';", policy)
    for file in files_of(beside).values():
        assert file.stat().st_mode & 0o077 == 0
        given = json.loads(file.read_text("ascii").removeprefix("takePicture(").removesuffix(");\n"))
        assert set(given) == {"key", "picture", "map", "contours"}


def test_it_is_read_and_judged_like_a_page_that_holds_all(browser: Any, beside: Path) -> None:
    review = Review(browser, beside)
    review.see()
    assert review.pixel(*PEAK)[0] > 180
    assert review.page.locator("#marks .contour.line").count() == 1
    review.becomes(lambda: review.page.locator("#rows .thumb img[src^='data:']").count(), 5)
    review.press("i")
    review.becomes(lambda: review.pixel(500, 800), pytest.approx([155] * 3, abs=3))
    review.press("j", "a", "i")
    review.see()
    review.becomes(review.judged, "1")
    assert review.complaints == []
    assert all(address.startswith(("file:", "data:")) for address in review.requests)
    review.page.evaluate("void (window.print = () => (window.askedToPrint = true))")
    review.page.click("#print")
    review.page.check("#print-form [value=all]")
    review.page.click("#print-start")
    review.until("window.askedToPrint")
    pages = printed(review.page)
    assert len(pages) == 6
    assert all("Map: the network's evidence" in page for page in pages[1:])
    review.page.close()


def test_without_the_folder_one_sentence_says_so(browser: Any, beside: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.html"
    alone.write_bytes(beside.read_bytes())
    review = Review(browser, alone)
    review.until(
        "document.getElementById('message').textContent.includes('lie in the folder “report_files” beside it')"
    )
    assert "unpack an archive as a whole" in review.texts("#message")[0]
    review.becomes(lambda: review.page.locator("#rows .thumb .none").count(), 6)
    review.press("a")
    review.becomes(review.judged, "1")
    review.page.evaluate("void (window.print = () => (window.askedToPrint = true))")
    review.page.click("#print")
    review.page.click("#print-start")
    review.until("window.askedToPrint")
    assert "beside it, and this one is not there" in printed(review.page)[1]
    assert [text for text in review.complaints if "ERR_FILE_NOT_FOUND" not in text] == []
    (tmp_path / BESIDE).mkdir()
    for file in files_of(beside).values():
        (tmp_path / BESIDE / file.name).write_bytes(file.read_bytes())
    review.press("j", "j")
    review.see()
    review.page.close()


def test_a_file_that_is_cut_short_is_said_to_be_damaged(browser: Any, beside: Path) -> None:
    file = files_of(beside)[key_of("b/10.jpg")]
    file.write_text(file.read_text()[:200])
    review = Review(browser, beside)
    review.until("document.getElementById('message').textContent.includes('or damaged')")
    review.press("j")
    review.see()
    review.page.close()


def test_only_what_has_changed_is_written_again(beside: Path) -> None:
    def times() -> dict[str, int]:
        return {key: file.stat().st_mtime_ns for key, file in files_of(beside).items()}

    folder = screened_folder(beside.parent, ())
    before = times()
    write_worklist_page(folder, IMAGES, title="Beside")
    assert times() == before
    changed = key_of("a/mid.jpg")
    content = folder.map_file(changed).read_bytes()
    folder.map_file(changed).unlink()
    folder.map_file(changed).write_bytes(content)
    more = screened("new.jpg", 0.1)
    screened_folder(beside.parent, [more])
    write_worklist_page(folder, [*IMAGES, more], title="Beside")
    assert {key for key, time in times().items() if before.get(key) != time} == {changed, more.key}


def test_few_pictures_are_in_the_page(tmp_path: Path) -> None:
    write_worklist_page(screened_folder(tmp_path, IMAGES), IMAGES, title="x")
    assert not (tmp_path / BESIDE).exists()
