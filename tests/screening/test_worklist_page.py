"""The page of a screened folder: what it holds, and how it works in a browser."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from browsing import Opened, Page
from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.page import write_worklist_page
from cxrlens.screening.record import ScreenedImage
from waiting import PATIENCE

EVIL = "<img src=x onerror=alert(1)>.jpg"
CLOSING = "</script><script>alert(2)</script>,\"'.png"
INFO = ScreeningInfo(
    root="/images/ward",
    model="model.safetensors",
    model_sha256="a" * 64,
    threshold=0.6,
    review_threshold=0.3,
    method="gradcam",
    layers="layer4",
    created="2026-05-04T03:02:01",
)
HEIGHT, WIDTH = 600, 1000  # of every stored picture; previews have a quarter of it
PEAK = (120, 800)
CONTOUR = ((700.0, 60.0), (900.0, 60.0), (900.0, 180.0), (700.0, 180.0))


def key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def screened(name: str, probability: float, **facts: Any) -> ScreenedImage:
    triage = "retake" if probability >= 0.6 else "review" if probability >= 0.3 else "pass"
    given: dict[str, Any] = {
        "name": name,
        "key": key_of(name),
        "probability": probability,
        "decision": "affected" if probability >= 0.6 else "normal",
        "triage": triage,
        "reason": f"because of {probability}",
        "origin": "JPEG",
        "height": HEIGHT,
        "width": WIDTH,
        "method": "gradcam",
        "layers": "layer4",
        "grid": "centres",
        "interpolation": "bicubic",
        "flip": True,
        "peak": PEAK,
        "contours": (CONTOUR,),
        "picture": f"pictures/{key_of(name)}.jpg",
        "map": f"maps/{key_of(name)}.png",
    }
    return ScreenedImage(**given | facts)


IMAGES = (
    screened("b/10.jpg", 0.95),
    screened("b/9.jpg", 0.2),
    screened(EVIL, 0.7),
    screened("a/mid.jpg", 0.4),
    screened(CLOSING, 0.0004),
    ScreenedImage(name="broken.dcm", status="unreadable", reason="is <b>no</b> picture"),
)
IN_ORDER = ["b/10.jpg", EVIL, "a/mid.jpg", "b/9.jpg", CLOSING, "broken.dcm"]


def screened_folder(path: Path, images: Sequence[ScreenedImage], info: ScreeningInfo = INFO) -> ScreenedFolder:
    """A folder whose pictures are mid-grey, and whose maps are 255 in the upper right tenth and 0 elsewhere."""
    folder = ScreenedFolder(path)
    folder.write_info(info)
    for image in images:
        if image.picture:
            folder.picture_file(image.key).parent.mkdir(exist_ok=True)
            folder.map_file(image.key).parent.mkdir(exist_ok=True)
            Image.new("L", (WIDTH // 4, HEIGHT // 4), 100).save(folder.picture_file(image.key))
            grey = np.zeros((30, 40), np.uint8)
            grey[:10, 28:36] = 255
            Image.fromarray(grey).save(folder.map_file(image.key))
    return folder


def write_page(path: Path, images: Sequence[ScreenedImage] = IMAGES, **options: Any) -> Path:
    path.mkdir(exist_ok=True)
    return write_worklist_page(screened_folder(path, images), images, title="Ward <b>", **options)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("screened"))


class Review(Opened):
    """The page at work, as a reader sees it."""

    def names(self) -> list[str]:
        script = "rows => rows.map((row) => [Number(row.getAttribute('aria-rowindex')), row.title])"
        return [name for _, name in sorted(self.page.eval_on_selector_all("#rows .row", script))]

    def selected(self) -> str:
        return str(self.page.locator("#result h2").inner_text())

    def tally(self) -> str:
        return str(self.page.locator("#tally").inner_text())

    def judged(self) -> str:
        return self.tally().split(" of ")[0]

    def count(self) -> str:
        return str(self.page.locator("#count").inner_text())

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def see(self) -> None:
        """Wait until the radiograph of the selected row is drawn."""
        self.until("window.review.viewer.shown?.image === window.review.current")

    def pixel(self, row: int, column: int) -> list[int]:
        """[red, green, blue] of radiograph and map where this pixel of the stored picture is."""
        script = """([x, y]) => {
            const [picture, map] = ["canvas", "map"].map((id) => document.getElementById(id));
            const both = document.createElement("canvas").getContext("2d");
            const { width, height } = Object.assign(both.canvas, { width: picture.width, height: picture.height });
            both.drawImage(picture, 0, 0);
            both.globalAlpha = Number(map.style.opacity);
            if (!map.hidden) both.drawImage(map, 0, 0, width, height);
            return [...both.getImageData(Math.floor(x * width), Math.floor(y * height), 1, 1).data];
        }"""
        return list(self.page.evaluate(script, [(column + 0.5) / WIDTH, (row + 0.5) / HEIGHT]))[:3]

    def move(self, slider: str, value: int) -> None:
        self.page.locator(f"#{slider}").fill(str(value))

    def exported(self) -> list[dict[str, str]]:
        with self.page.expect_download() as download:
            self.page.click("#export")
        text = Path(download.value.path()).read_text("utf-8")
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def import_text(self, text: str) -> str:
        self.page.set_input_files(
            "#imported", {"name": "v.csv", "mimeType": "text/csv", "buffer": text.encode("utf-8")}
        )
        self.until("document.getElementById('imported').value === ''")
        return str(self.page.locator("#notice-text").inner_text())


@pytest.fixture
def review(browser: Any, page_file: Path) -> Iterator[Review]:
    opened = Review(browser, page_file)
    yield opened
    assert [address for address in opened.requests if not address.startswith(("file:", "data:", "blob:"))] == []
    assert opened.complaints == []
    opened.page.close()


# Without a browser


def data_of(source: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', source, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def test_the_page_holds_all_and_asks_for_nothing(page_file: Path) -> None:
    source = page_file.read_text("utf-8")
    page = Page(source)
    assert page.named("b") == page.named("link") == page.named("iframe") == []
    assert not any("src" in attributes for _, attributes in page.tags)
    assert [image["name"] for image in data_of(source)["images"]] == IN_ORDER
    assert "for research; not a medical device" in page.text.lower()
    policy = page.named("meta")[1]["content"]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_policy_names_the_script_and_the_style_that_the_page_has(page_file: Path) -> None:
    source = page_file.read_text("utf-8")
    for tag in ("script", "style"):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", source, re.DOTALL)
        digest = hashlib.sha256(content.encode()).digest()
        assert f"{tag}-src 'sha256-{base64.b64encode(digest).decode()}'" in source


def test_only_the_first_images_of_the_worklist_carry_pictures(tmp_path: Path) -> None:
    source = write_page(tmp_path, pictures=2).read_text("utf-8")
    images = data_of(source)["images"]
    assert [image["name"] for image in images if image["shown"]] == IN_ORDER[:2]
    assert [
        attributes["id"] for attributes in Page(source).named("script") if attributes.get("type") == "text/plain"
    ] == [f"{kind}-{key_of(name)}" for name in IN_ORDER[:2] for kind in ("picture", "map")]
    assert "pictures of the first 2" in Page(source).text
    assert "contours" not in images[2]


def test_files_of_one_content_share_their_picture(tmp_path: Path) -> None:
    twin = screened("twin.jpg", 0.95, key=key_of("b/10.jpg"))
    source = write_page(tmp_path, [*IMAGES, twin]).read_text("utf-8")
    assert source.count(f'id="picture-{key_of("b/10.jpg")}"') == 1


def test_a_missing_picture_file_leaves_its_row(tmp_path: Path) -> None:
    folder = screened_folder(tmp_path, IMAGES)
    folder.picture_file(key_of("b/10.jpg")).unlink()
    folder.map_file(key_of(EVIL)).unlink()
    source = write_worklist_page(folder, IMAGES, title="x").read_text("utf-8")
    assert f"picture-{key_of('b/10.jpg')}" not in source
    assert f"picture-{key_of(EVIL)}" in source
    assert f"map-{key_of(EVIL)}" not in source


def test_each_record_has_the_path_of_its_file(tmp_path: Path) -> None:
    images = [screened("b/in.jpg", 0.9), screened("/elsewhere/out.jpg", 0.1)]
    found = data_of(write_page(tmp_path, images).read_text("utf-8"))["images"]
    assert [image["path"] for image in found] == ["/images/ward/b/in.jpg", "/elsewhere/out.jpg"]


def test_an_empty_worklist_is_a_page_too(tmp_path: Path) -> None:
    assert data_of(write_page(tmp_path, []).read_text("utf-8"))["images"] == []


# The list


def test_the_worklist_is_in_its_order_and_hostile_names_are_text(review: Review) -> None:
    review.becomes(review.names, IN_ORDER)
    assert review.page.title() == "Ward <b>"
    assert review.page.locator("#rows img[onerror]").count() == 0
    review.press("j")
    review.becomes(review.selected, EVIL)
    review.press("j", "j", "j", "j")
    review.becomes(review.selected, "broken.dcm")
    assert review.page.locator("#result .reason").inner_text() == "is <b>no</b> picture"
    review.becomes(lambda: review.texts("#message"), ["This file could not be read."])
    assert review.page.locator("#accept").is_disabled()


def test_the_facts_say_how_the_map_was_resized(review: Review) -> None:
    review.press("j")
    review.becomes(review.selected, EVIL)
    assert "gradcam, layer4, centres bicubic, mirrored" in review.texts("#facts dd")


def test_columns_sort_and_sort_back(review: Review) -> None:
    def press(column: str, sort: str) -> list[str]:
        review.page.click(f"#columns .{column} button")
        review.page.wait_for_selector(f"#columns .{column}[aria-sort={sort}]")
        return review.names()

    by_name = press("name", "ascending")
    assert [name for name in by_name if name[0].isalpha()] == ["a/mid.jpg", "b/9.jpg", "b/10.jpg", "broken.dcm"]
    assert press("name", "descending") == by_name[::-1]
    assert press("probability", "descending") == IN_ORDER
    assert press("probability", "ascending") == [*IN_ORDER[4::-1], "broken.dcm"]
    assert press("decision", "descending") == ["broken.dcm", *IN_ORDER[:5]]
    assert review.page.get_attribute("#columns .probability", "aria-sort") is None


def test_filters_and_search_work_together_and_count(review: Review) -> None:
    page = review.page
    page.locator("label.chip.retake").first.click()
    review.becomes(review.names, ["b/10.jpg", EVIL])
    review.becomes(review.count, "2 of 6 radiographs")
    page.fill("#search", "B/ jpg")
    review.becomes(review.names, ["b/10.jpg"])
    assert page.locator('#decisions [data-count="pass"]').inner_text() == "1"
    page.locator("#decisions label.chip.all").click()
    review.becomes(review.names, ["b/10.jpg", "b/9.jpg"])
    page.fill("#search", "nowhere")
    review.becomes(review.names, [])
    assert review.texts("#empty") == ["No radiograph matches; change the filters."]
    page.fill("#search", "no</b> picture")
    review.becomes(review.names, ["broken.dcm"])
    page.fill("#search", "")
    page.locator("#decisions label.chip.unreadable").click()
    review.becomes(review.names, ["broken.dcm"])


def test_a_model_that_is_not_calibrated_has_two_decisions(browser: Any, tmp_path: Path) -> None:
    images = [screened("a.jpg", 0.7, triage=None), screened("b.jpg", 0.2, triage=None)]
    info = INFO.model_copy(update={"review_threshold": None})
    folder = screened_folder(tmp_path, images, info)
    opened = Review(browser, write_worklist_page(folder, images, title="x"))
    chips = ["all", "affected", "normal", "not assessable", "unreadable"]
    assert opened.texts("#decisions .chip:not([hidden]) span") == chips
    opened.page.locator("label.chip.normal").click()
    opened.becomes(opened.names, ["b.jpg"])
    opened.becomes(lambda: opened.texts("#result .decision"), ["Normal"])
    assert opened.complaints == []
    opened.page.close()


# The radiograph


def test_the_map_covers_the_picture_and_follows_the_slider(review: Review) -> None:
    review.see()
    inside, outside = PEAK, (500, 800)
    assert review.pixel(*outside) == pytest.approx([100] * 3, abs=3)
    for opacity, most in ((75, 6), (20, 6), (0, 3)):
        if opacity != 75:
            review.move("opacity", opacity)
        mixed = [100 + opacity / 100 * (part - 100) for part in (240, 249, 33)]
        review.becomes(lambda: review.pixel(*inside), pytest.approx(mixed, abs=most))


def test_the_map_lies_where_it_was_computed(review: Review) -> None:
    """Cells 28 to 35 of 40 columns and 0 to 9 of 30 rows are columns 700 to 900 and rows 0 to 200 of the picture."""
    review.see()
    for place in [(10, 760), (100, 840), (150, 800)]:
        assert review.pixel(*place)[0] > 180
    for place in [(10, 640), (10, 960), (260, 800), (100, 200), (500, 160)]:
        assert review.pixel(*place) == pytest.approx([100] * 3, abs=3)


def box_of(review: Review, selector: str) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of an element in pixels of the stored picture, edges included."""
    frame, box = review.boxes("#canvas", selector)
    across, down = WIDTH / frame["width"], HEIGHT / frame["height"]
    left, top = (box["x"] - frame["x"]) * across, (box["y"] - frame["y"]) * down
    return left, top, left + box["width"] * across, top + box["height"] * down


@pytest.mark.parametrize("zoomed", [False, True])
def test_peak_and_contour_lie_on_their_pixels(review: Review, zoomed: bool) -> None:
    review.see()
    if zoomed:
        review.press("+", "+")
        review.until("document.getElementById('stage').classList.contains('zoomed')")
    (frame,) = review.boxes("#canvas")
    assert frame["width"] / frame["height"] == pytest.approx(WIDTH / HEIGHT, rel=1e-3)
    left, top, right, bottom = box_of(review, "#marks .peak")
    assert ((top + bottom) / 2, (left + right) / 2) == pytest.approx((PEAK[0] + 0.5, PEAK[1] + 0.5), abs=0.6)
    left, top, right, bottom = box_of(review, "#marks .contour.line")
    xs, ys = zip(*CONTOUR, strict=True)
    centre = ((min(xs) + max(xs)) / 2 + 0.5, (min(ys) + max(ys)) / 2 + 0.5)
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx(centre, abs=0.6)
    assert right - left == pytest.approx(max(xs) - min(xs), abs=4)


def test_marks_and_map_are_switched_by_keys_and_buttons(review: Review) -> None:
    def marks() -> tuple[int, int]:
        return tuple(review.page.locator(f"#marks .{kind}").count() for kind in ("contour", "peak"))

    review.see()
    assert marks() == (2, 1)
    review.press("c")
    review.becomes(marks, (0, 1))
    assert review.page.get_attribute("#show-contours", "aria-pressed") == "false"
    review.page.click("#show-peak")
    review.becomes(marks, (0, 0))
    review.press("m")
    review.becomes(lambda: review.pixel(*PEAK), pytest.approx([100] * 3, abs=3))
    review.press("m", "i")
    review.becomes(lambda: review.pixel(500, 800), pytest.approx([155] * 3, abs=3))
    review.press("i")
    assert review.page.locator("#resolution").inner_text() == f"Preview, {WIDTH // 4} of {WIDTH} px a side"
    review.press("l")
    review.becomes(lambda: review.pixel(500, 800), pytest.approx([100 + 255 / 20] * 3, abs=3))
    review.page.fill("#width", "0")
    review.press("Enter")
    review.page.locator("#word", has_text="wider than 0").wait_for()
    review.page.click("#reset")
    review.becomes(lambda: review.pixel(500, 800), pytest.approx([100] * 3, abs=3))


# Verdicts


def test_keys_move_and_judge_and_undo(review: Review) -> None:
    review.press("j")
    review.becomes(review.selected, EVIL)
    review.press("ArrowUp", "a")
    review.becomes(review.selected, EVIL)
    review.becomes(review.tally, "1 of 5 judged: 1 accepted, 0 to retake")
    review.press("r", "r")
    review.becomes(review.selected, "a/mid.jpg")
    review.becomes(review.tally, "2 of 5 judged: 1 accepted, 1 to retake")
    review.press("u")
    review.becomes(review.selected, EVIL)
    review.becomes(review.tally, "1 of 5 judged: 1 accepted, 0 to retake")
    review.press("k")
    review.becomes(lambda: review.page.get_attribute("#accept", "aria-pressed"), "true")
    review.press("a")
    review.becomes(review.tally, "0 of 5 judged: 0 accepted, 0 to retake")
    review.press("u")
    review.becomes(review.tally, "1 of 5 judged: 1 accepted, 0 to retake")


def test_keys_in_the_search_field_are_text(review: Review) -> None:
    review.press("/")
    review.page.keyboard.type("arum?")
    review.becomes(lambda: review.page.input_value("#search"), "arum?")
    review.becomes(review.judged, "0")
    review.press("Escape", "?")
    review.page.locator("#help-dialog").wait_for()
    review.press("a")
    review.becomes(review.judged, "0")
    review.press("Escape")
    review.page.locator("#help-dialog").wait_for(state="hidden")


def test_judging_through_a_filter_goes_down_the_list(review: Review) -> None:
    review.page.locator("#verdict-filter label.chip.none").click()
    for name in IN_ORDER[:3]:
        review.becomes(review.selected, name)
        review.press("a")
    review.becomes(review.selected, IN_ORDER[3])
    review.becomes(review.names, IN_ORDER[3:])
    review.page.uncheck("#advance")
    review.press("j", "a")
    review.becomes(review.selected, IN_ORDER[4])
    review.becomes(review.names, [IN_ORDER[3], IN_ORDER[5]])
    review.press("k")
    review.becomes(review.selected, IN_ORDER[3])
    review.press("u")
    review.becomes(review.selected, IN_ORDER[4])
    review.page.locator("#verdict-filter label.chip.accept").click()
    review.becomes(review.names, IN_ORDER[:3])


def test_verdicts_survive_a_reload_but_not_another_report(review: Review, browser: Any, tmp_path: Path) -> None:
    review.press("a", "r", "r")
    review.becomes(review.judged, "2")
    review.reload()
    review.becomes(review.tally, "2 of 5 judged: 1 accepted, 1 to retake")
    assert review.texts("#rows .given") == ["accepted", "retake"]
    folder = screened_folder(tmp_path, IMAGES, INFO.model_copy(update={"root": "/elsewhere"}))
    review.page.goto(write_worklist_page(folder, IMAGES, title="x").as_uri())
    review.becomes(review.judged, "0")


def test_verdicts_are_exported_and_imported_again(review: Review, browser: Any, page_file: Path) -> None:
    review.press("a", "r", "r", "j", "j", "r", "r")
    lines = review.exported()
    assert list(lines[0]) == [
        *("path", "label", "verdict", "name", "key", "probability", "time"),
        *("reader", "reason", "comment", "marks"),
    ]
    assert [(line["path"], line["label"], line["verdict"]) for line in lines] == [
        ("/images/ward/b/10.jpg", "normal", "accept"),
        (f"/images/ward/{EVIL}", "affected", "retake"),
        (f"/images/ward/{CLOSING}", "affected", "retake"),
    ]
    assert [line["key"] for line in lines] == [key_of(line["name"]) for line in lines]
    assert [float(line["probability"]) for line in lines] == [0.95, 0.7, 0.0004]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in lines)

    again = Review(browser, page_file)
    again.becomes(again.judged, "0")
    with review.page.expect_download() as download:
        review.page.click("#export")
    text = Path(download.value.path()).read_text("utf-8")
    assert again.import_text(text) == "3 verdicts imported."
    assert again.exported() == lines
    assert again.import_text(text) == "0 verdicts imported; 3 lines say what already stands."
    again.press("u")
    again.becomes(again.judged, "0")
    assert again.complaints == []
    again.page.close()


def test_no_name_is_a_formula_in_a_spreadsheet(browser: Any, tmp_path: Path) -> None:
    opened = Review(browser, write_page(tmp_path, [screened("=1+1.jpg", 0.7)]))
    opened.press("a")
    [line] = opened.exported()
    assert (line["name"], line["path"]) == ("./=1+1.jpg", "/images/ward/=1+1.jpg")
    opened.press("u")
    name_alone = "name,verdict\n./=1+1.jpg,retake\n"
    assert opened.import_text(name_alone) == "1 verdict imported."
    assert opened.complaints == []
    opened.page.close()


@pytest.mark.parametrize("word", ["constructor", "toString", "__proto__", "hasOwnProperty"])
def test_a_word_of_the_language_is_no_verdict(review: Review, word: str) -> None:
    told = review.import_text(f"name,verdict\nb/10.jpg,{word}\n")
    assert 'was not imported: each line needs a "verdict" of accept or retake' in told
    review.becomes(review.judged, "0")
    review.page.evaluate(
        "word => window.review.backend.store.write({ [window.review.backend.images[0].key]: { verdict: word } })",
        word,
    )
    review.reload()
    review.until("window.review")
    review.becomes(review.judged, "0")


def test_no_text_is_a_formula_in_a_spreadsheet(review: Review) -> None:
    """As the tables of the commands have it."""
    rows = [["=1", " -x", "'@y", "-5", "a;=1", 'b"c', "plain"]]
    written = review.page.evaluate("rows => toCsv(rows)", rows)
    assert written == '\'=1,\' -x,\'\'@y,-5,"a;=1","b""c",plain\n'


def test_names_of_an_import_are_matched_as_tables_are(browser: Any, tmp_path: Path) -> None:
    """Accents in both forms, both slashes, "./", blanks, letter case, ends; what fits two images is a doubt."""
    names = (
        "p1/\u00e9.jpg",
        "p1/b.jpg",
        "p2/b.jpg",
        "ward/c.jpg",
        "Stra\u00dfe/D.jpg",
        "f.jpg",
        "p3/f.jpg",
        "G.jpg",
        "g.jpg",
    )
    page = write_page(tmp_path, [screened(name, 0.7) for name in names])

    def given(text: str) -> tuple[str, dict[str, str]]:
        opened = Review(browser, page)  # anew: a page may not start any number of downloads
        told = opened.import_text("name,verdict\n" + text)
        found = {line["name"]: line["verdict"] for line in opened.exported()}
        assert opened.complaints == []
        opened.page.close()
        return told, found

    for text, name in {
        "p1/e\u0301.jpg": names[0],
        "e\u0301.jpg": names[0],
        "p1\\b.jpg": names[1],
        ".\\p2\\b.jpg": names[2],
        "./p2//x/../b.jpg": names[2],
        " ward/c.jpg ": names[3],
        "c.jpg": names[3],
        "strasse/d.JPG": names[4],
        "f.jpg": "f.jpg",  # a whole name comes before the end of another
        "g.jpg": "g.jpg",
    }.items():
        assert given(f'"{text}",retake\n') == ("1 verdict imported.", {name: "retake"}), text
    assert given("b.jpg,retake\n") == (
        "0 verdicts imported; 1 line is in doubt and not taken: b.jpg could mean p1/b.jpg or p2/b.jpg.", {}
    )  # fmt: skip
    told, found = given("WARD/c.jpg,retake\nward/C.jpg,accept\nf.jpg,accept\n")
    assert told.startswith("1 verdict imported; 2 lines are in doubt and not taken: WARD/c.jpg is one of 2 lines")
    assert found == {"f.jpg": "accept"}
    told, found = given("WARD/c.jpg,retake\nward/c.jpg,accept\n")
    assert told == "1 verdict imported; 1 line is of images that are not in this worklist."
    assert found == {"ward/c.jpg": "accept"}
    assert given("no.jpg,accept\n../f.jpg,accept\n")[0].endswith("2 lines are of images that are not in this worklist.")


def test_an_import_says_what_it_leaves_out_and_never_overwrites_what_is_newer(review: Review) -> None:
    review.press("a")
    told = review.import_text(
        "\ufeffname;label;time\r\n"
        "b/10.jpg;affected;2001-01-01T00:00:00Z\r\n"
        "a/mid.jpg;affected;\r\n"
        "other.jpg;normal;\r\n"
        "broken.dcm;normal;\r\n"
    )
    assert told == (
        "1 verdict imported; 1 line is older than the verdict here; "
        "2 lines are of images that are not in this worklist."
    )
    review.becomes(review.tally, "2 of 5 judged: 1 accepted, 1 to retake")
    assert "not imported" in review.import_text("name,verdict\nb/10.jpg,maybe\n")
    assert "not imported" in review.import_text('name,label\n"b/10.jpg" x,normal\n')
    review.becomes(review.tally, "2 of 5 judged: 1 accepted, 1 to retake")


def test_two_windows_show_the_same_verdicts(browser: Any, page_file: Path) -> None:
    context = browser.new_context()
    context.set_default_timeout(1000 * PATIENCE)
    one, other = context.new_page(), context.new_page()
    for page in (one, other):
        page.goto(page_file.as_uri())
    other.keyboard.press("a")
    one.locator("#tally", has_text="1 of 5 judged: 1 accepted, 0 to retake").wait_for()
    one.keyboard.press("j")
    one.keyboard.press("r")
    one.keyboard.press("r")
    other.locator("#tally", has_text="2 of 5 judged: 1 accepted, 1 to retake").wait_for()
    context.close()


def test_rows_keep_their_pictures_when_a_verdict_is_given(review: Review) -> None:
    review.page.evaluate("() => { window.first = document.querySelector('#rows .row img'); }")
    review.press("a", "u", "j", "r", "r")
    review.becomes(review.judged, "1")
    assert review.page.evaluate("window.first.isConnected")


def test_where_storage_is_blocked_verdicts_live_in_memory_and_the_page_says_so(browser: Any, page_file: Path) -> None:
    script = "delete Window.prototype.localStorage; delete window.localStorage;"
    opened = Review(browser, page_file, script=script)
    assert "export the verdicts before you close it" in opened.page.locator("#notice-text").inner_text()
    opened.press("a")
    opened.becomes(opened.judged, "1")
    opened.page.close()


def test_a_verdict_that_cannot_be_stored_is_not_shown_as_given(review: Review) -> None:
    review.page.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('full'); }; }")
    review.press("a")
    review.page.locator("#notice-text", has_text="no room for the verdict").wait_for()
    review.becomes(review.judged, "0")


# Size


def test_thousands_of_rows_are_built_only_where_they_are_seen(browser: Any, tmp_path: Path) -> None:
    images = [screened(f"ward {i % 7}/{i:05d}.jpg", (i % 1000) / 1000, picture="", map="") for i in range(5000)]
    opened = Review(browser, write_page(tmp_path, images))
    page = opened.page
    opened.becomes(opened.count, "5,000 of 5,000 radiographs")
    assert page.get_attribute("#grid", "aria-rowcount") == "5001"
    assert 0 < page.locator("#rows .row").count() < 60
    page.fill("#search", "ward 3/0345")
    opened.becomes(opened.count, "1 of 5,000 radiographs")
    page.fill("#search", "")
    page.locator("#decisions label.chip.pass").click()
    opened.becomes(opened.count, "1,500 of 5,000 radiographs")
    page.evaluate("document.getElementById('grid').scrollTop = 1e9")
    page.wait_for_selector("#rows [aria-rowindex='1501']")
    assert page.locator("#rows .row").count() < 60
    assert opened.complaints == []
    page.close()


@pytest.mark.parametrize("width", [390, 500, 640, 800, 1280, 1920])
def test_nothing_is_cut_off_at_any_width_and_nothing_keeps_people_out(
    browser: Any, page_file: Path, width: int
) -> None:
    """640 px is what 200 % zoom leaves of 1280."""
    opened = Review(browser, page_file, width=width, device_scale_factor=2 if width == 640 else 1)
    opened.see()
    assert opened.barriers() == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    for box in opened.boxes("#accept", "#retake", "#export", "#search", "#canvas", "#opacity"):
        assert box["width"] > 0
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width + 0.5
    if width == 390:
        opened.press("r")  # asks for the reason
        assert opened.barriers() == []
        opened.press("1", "k", "b")
        opened.page.fill("#comment", "x" * 1001)
        opened.import_text("no verdicts")
        assert opened.barriers() == []
        for key, dialog in (("?", "#help-dialog"), ("Control+p", "#print-dialog")):
            opened.press("Escape", key)
            opened.page.locator(dialog).wait_for()
            assert opened.barriers() == []
            opened.press("Escape")
            opened.page.locator(dialog).wait_for(state="hidden")
    opened.page.close()
