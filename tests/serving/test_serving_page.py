"""The page of the server in a browser: files are dropped and checked, verdicts end in the API."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving_files import add_results, asking, check, running

from browsing import Opened
from cxrlens.dataset.phantom.dataset import make_phantom
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.store import Store
from cxrlens.serving.app import create_app
from cxrlens.serving.settings import ServerSettings
from pdf_files import printed

TOKEN = "a-token-of-the-tests"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
NAMES = ("ward/<b>first</b>.jpg", "ward/second.jpg", "third.jpg")


def jpeg(seed: int = 0, size: tuple[int, int] | None = None) -> bytes:
    """A phantom radiograph, made (width, height) where that is given."""
    image = Image.fromarray(make_phantom(seed, affected=True, size=96).image)
    stream = io.BytesIO()
    (image.resize(size) if size else image).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def reviewed(tmp_path: Path) -> Path:
    """A screened folder of three images, as a calibrated model left it, and of one that cannot be read."""
    folder = ScreenedFolder(tmp_path / "screened")
    (folder.path / "pictures").mkdir(parents=True)
    (folder.path / "maps").mkdir()
    info = ScreeningInfo(
        root="/images",
        model="other.safetensors",
        model_sha256="b" * 64,
        threshold=0.6,
        review_threshold=0.3,
        method="gradcam",
        layers="last",
    )
    folder.write_info(info)
    for place, name in enumerate(NAMES):
        content = jpeg(place)
        key = hashlib.sha256(content).hexdigest()
        folder.picture_file(key).write_bytes(content)
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
        Image.fromarray(np.full((8, 8), 255, np.uint8)).save(folder.map_file(key))
        probability = (0.9, 0.5, 0.1)[place]
        result = ScreenedImage(
            name=name,
            key=key,
            probability=probability,
            decision="affected" if place == 0 else "normal",
            triage=("retake", "review", "pass")[place],
            reason="a reason",
            origin="JPEG",
            height=height,
            width=width,
            peak=(2, 5),
            picture=f"pictures/{key}.jpg",
            map=f"maps/{key}.png",
        )
        add_results(folder, result)
    add_results(folder, ScreenedImage(name="broken.dcm", status="unreadable", reason="it is cut short"))
    return folder.path


# Verdicts get lost as `lose` asks: their questions, or the next answer. (Handlers of Playwright's own that run while a
# page is polled sometimes never come back.)
SCRIPT = """
window.setInterval = () => 0;
const asked = window.fetch;
window.fetch = async (address, options) => {
  if (address !== "api/verdicts" || options?.method !== "POST") return asked(address, options);
  if (sessionStorage.getItem("lost") === "questions") throw new TypeError("lost");
  const answer = await asked(address, options);
  if (sessionStorage.getItem("lost") !== "an answer") return answer;
  sessionStorage.removeItem("lost");
  throw new TypeError("lost");
};
"""


class Served(Opened):
    """The page of a running server, which looks for news when it is told to, not when half a minute has gone by."""

    def __init__(self, browser: Any, address: str, path: str = "/") -> None:
        super().__init__(browser, address + path, script=SCRIPT)
        self.address = address
        self.until("window.review && window.checking && !window.checking.running")

    def drop(self, name: str, content: bytes) -> None:
        script = """([name, content]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0))], name));
            return transfer;
        }"""
        transfer = self.page.evaluate_handle(script, [name, base64.b64encode(content).decode()])
        self.page.dispatch_event("body", "dragover", {"dataTransfer": transfer})
        self.page.locator("#drop").wait_for()
        self.page.dispatch_event("body", "drop", {"dataTransfer": transfer})
        self.page.locator("#drop").wait_for(state="hidden")
        self.until("!window.checking.running")

    def lose(self, what: str) -> None:
        """Lose "questions", "an answer" or "nothing" of the verdicts from now on, see `SCRIPT`."""
        self.page.evaluate("(what) => sessionStorage.setItem('lost', what)", what)

    def text(self, place: str) -> str:
        return str(self.page.locator(place).inner_text())

    def says(self, place: str, text: str) -> None:
        """Wait until an element's text is this."""
        self.becomes(lambda: self.text(place), text)

    def judged(self, count: int) -> None:
        """Wait until so many images of the worklist are said to have a verdict."""
        self.becomes(lambda: self.text("#tally").split(" of ")[0], str(count))

    def has_rows(self, count: int) -> None:
        """Wait until the list has so many rows."""
        self.becomes(lambda: self.page.locator("#rows .row").count(), count)

    def see(self) -> None:
        self.until("window.review.viewer.shown?.image === window.review.current")

    def shown(self) -> dict[str, Any]:
        return dict(self.page.evaluate("({ ...window.review.viewer.shown.image, file: null })"))

    def verdicts(self) -> list[tuple[str, str]]:
        """Those that the server keeps, when all that were given here have arrived."""
        self.until("window.review.backend.pending === 0")
        with asking(self.address, headers=AUTHORIZED) as client:
            answer = client.get("/api/verdicts")
        return [(kept["name"], kept["verdict"]) for kept in answer.json()["verdicts"]]


@pytest.fixture(scope="module")
def bare_server(served_model: QualityModel) -> Iterator[str]:
    """The address of a server without a screened folder."""
    with running(create_app(ServerSettings(decoders=1), served_model)) as address:
        yield address


@pytest.fixture
def bare(browser: Any, bare_server: str) -> Iterator[Served]:
    """Its page."""
    page = Served(browser, bare_server)
    yield page
    _check_conduct(page)


@pytest.fixture
def page(browser: Any, served_model: QualityModel, reviewed: Path) -> Iterator[Served]:
    """The page of a server with a screened folder and a token."""
    with running(create_app(ServerSettings(decoders=1, token=TOKEN), served_model, reviewed)) as address:
        page = Served(browser, address, f"/?token={TOKEN}")
        yield page
        _check_conduct(page)


def _check_conduct(page: Served) -> None:
    """It asked nobody but its own server; the browser complained of nothing but answers that the test provoked."""
    own = (page.address, "data:", "blob:")
    assert [address for address in page.requests if not address.startswith(own)] == []
    assert [text for text in page.complaints if "Failed to load resource" not in text] == []
    page.page.close()


def test_the_page_is_static_files_under_a_strict_policy(bare_server: str) -> None:
    with asking(bare_server) as client:
        answer = client.get("/")
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "<script>" not in answer.text
        assert "style=" not in answer.text
        assert client.get("/static/review.js").headers["content-type"].startswith("text/javascript")
        assert client.get("/static/served.html.jinja").status_code == 404
        assert client.get("/static/../app.py").status_code == 404


def test_a_dropped_file_is_checked_and_seen(bare: Served) -> None:
    assert "Drop a radiograph" in bare.text("#message")
    assert not bare.page.locator("#accept").is_visible()
    bare.drop("<i>wide</i>.jpg", jpeg(size=(120, 80)))
    bare.see()
    assert bare.text("#result h2") == "<i>wide</i>.jpg"
    shown = bare.shown()
    assert (shown["width"], shown["height"]) == (120, 80)
    with asking(bare.address) as client:
        expected = check(client, jpeg(size=(120, 80))).json()
    assert bare.text("#result .probability strong") == f"{expected['probability']:.3f}"
    assert bare.text("#result .decision").lower().startswith(expected["decision"])
    assert shown["peak"] == expected["peak"]
    frame, mark = bare.boxes("#canvas", "#marks .peak")
    assert frame["width"] / frame["height"] == pytest.approx(1.5, rel=1e-3)
    column = (mark["x"] + mark["width"] / 2 - frame["x"]) / frame["width"] * 120
    row = (mark["y"] + mark["height"] / 2 - frame["y"]) / frame["height"] * 80
    assert (row, column) == pytest.approx((expected["peak"][0] + 0.5, expected["peak"][1] + 0.5), abs=0.3)


def colours(page: Served) -> bool:
    """Whether any pixel of the map over the radiograph has a colour."""
    script = """() => {
        const canvas = document.getElementById("map");
        if (canvas.hidden) return false;
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const isColour = (place) => data[place + 3] > 60 && Math.abs(data[place] - data[place + 2]) > 25;
        return data.some((_, place) => place % 4 === 0 && isColour(place));
    }"""
    return bool(page.page.evaluate(script))


def test_another_method_gives_another_map_of_the_same_file(bare: Served) -> None:
    bare.drop("a.jpg", jpeg(1))
    bare.see()
    assert colours(bare)
    before = bare.shown()
    with asking(bare.address) as client:
        methods = client.get("/api/methods").json()
    assert bare.page.locator("#method option").count() == len(methods["methods"])
    assert bare.page.input_value("#method") == methods["default_method"]
    bare.page.select_option("#method", "gradient")
    bare.until("window.review.viewer.shown?.image.method === 'gradient'")
    after = bare.shown()
    assert not bare.page.locator("#layers").is_visible()
    assert after["map"] != before["map"]
    assert after["probability"] == pytest.approx(before["probability"], abs=1e-6)
    assert bare.page.locator("#rows .row").count() == 1
    bare.page.select_option("#method", "grad_cam")
    bare.until("window.review.viewer.shown?.image.method === 'grad_cam'")
    bare.page.select_option("#layers", "last")
    bare.until("window.review.viewer.shown?.image.layers === 'last'")


def test_nothing_keeps_people_out_of_the_page_for_single_files(bare: Served) -> None:
    """Before a file, with a result, and with a file that cannot be read; 640 px is what 200 % zoom leaves of 1280."""

    def fits(*widths: int) -> None:
        for width in widths:
            bare.page.set_viewport_size({"width": width, "height": 900})
            assert bare.barriers() == []
            assert bare.page.evaluate("document.documentElement.scrollWidth") <= width

    fits(390, 1280)
    bare.drop("a.jpg", jpeg(1))
    bare.see()
    fits(390, 640, 1280, 1920)
    bare.drop("notes.txt", b"no radiograph")
    bare.until("document.getElementById('notice').className === 'notice error'")
    fits(390, 1280)


def test_several_files_are_checked_and_an_unreadable_one_says_why(bare: Served) -> None:
    bare.page.set_input_files(
        "#chosen",
        [
            {"name": "good.jpg", "mimeType": "image/jpeg", "buffer": jpeg(2)},
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no radiograph"},
        ],
    )
    bare.until("!window.checking.running && window.review.backend.images.length === 2")
    assert bare.text("#notice-text").startswith("notes.txt: ")
    assert bare.text("#result .decision") == "Unreadable"
    with asking(bare.address) as client:
        answer = check(client, b"no radiograph")
    assert bare.text("#result .reason").lower().rstrip(".") == answer.json()["detail"].lower().rstrip(".")


def test_a_server_that_is_gone_is_said_to_be(browser: Any, served_model: QualityModel) -> None:
    with running(create_app(ServerSettings(decoders=1), served_model)) as address:
        page = Served(browser, address)
    page.drop("a.jpg", jpeg())
    page.page.locator("#notice-text", has_text="The server does not answer; is it still running?").wait_for()
    assert page.page.locator("#rows .row").count() == 0
    page.page.close()


def test_verdicts_on_the_worklist_end_in_the_api(page: Served) -> None:
    assert "another model" in page.text("#notice-text")
    assert page.text("#result h2") == NAMES[0]
    page.see()
    give(page, "r")
    page.page.keyboard.press("a")
    page.judged(2)
    assert page.verdicts() == [(NAMES[0], "retake"), (NAMES[1], "accept")]
    page.page.keyboard.press("u")
    page.judged(1)
    assert page.verdicts() == [(NAMES[0], "retake")]
    page.reload()
    page.until("window.review")
    assert page.text("#tally") == "1 of 3 judged: 0 accepted, 1 to retake"
    assert page.texts("#rows .given") == ["retake"]


def test_the_list_and_its_radiographs_are_printed(page: Served) -> None:
    page.page.evaluate("void (window.print = () => (window.askedToPrint = true))")
    page.page.keyboard.press("Control+p")
    page.page.check("#print-form [value=all]")
    page.page.click("#print-start")
    page.until("window.askedToPrint")
    assert page.page.evaluate("[...document.querySelectorAll('#paper img')].every((img) => img.naturalWidth > 0)")
    table, *sheets = printed(page.page)
    assert "4 radiographs folder screened · model other.safetensors · review from 0.300, retake from 0.600" in table
    assert len(sheets) == 3
    assert NAMES[0] in sheets[0]
    assert "Map: the network's evidence" in sheets[0]


def test_verdicts_are_exported_by_the_server_and_imported_through_it(page: Served) -> None:
    give(page, "r")
    page.judged(1)
    with page.page.expect_download() as download:
        page.page.click("#export")
    text = Path(download.value.path()).read_text("utf-8")
    [line] = csv.DictReader(io.StringIO(text, newline=""))
    assert (line["path"], line["label"], line["name"]) == (f"/images/{NAMES[0]}", "affected", NAMES[0])
    page.page.keyboard.press("u")
    page.judged(0)
    page.page.set_input_files("#imported", {"name": "verdicts.csv", "mimeType": "text/csv", "buffer": text.encode()})
    page.until("document.getElementById('notice-text').innerText === '1 verdict imported.'")
    assert page.verdicts() == [(NAMES[0], "retake")]


def test_a_verdict_that_the_server_refuses_is_not_shown_as_given(page: Served) -> None:
    page.page.context.clear_cookies()
    page.page.keyboard.press("a")
    page.until("document.getElementById('notice').className === 'notice error'")
    assert "token" in page.text("#notice-text")
    page.judged(0)
    assert page.verdicts() == []


def test_a_stale_verdict_is_not_taken_and_the_page_shows_what_stands(page: Served, reviewed: Path) -> None:
    """Another reader has judged the image since this page looked."""
    with Store(ScreenedFolder(reviewed)) as store:
        first = next(image for image in store.results.newest() if image.name == NAMES[0])
        assert store.verdicts.give(first.key, "accept", lambda: "0" * 64)
        give(page, "r")
        page.until("document.getElementById('notice').className === 'notice error'")
        told = page.text("#notice-text")
        assert "another reader has given the verdict 'accept'" in told
        page.says("#tally", "1 of 3 judged: 1 accepted, 0 to retake")
        assert page.verdicts() == [(NAMES[0], "accept")]
        assert page.texts("#rows .given") == ["accepted"]
        page.page.evaluate("window.review.list.select(window.review.backend.images[0])")
        give(page, "r")  # now that it is seen
        page.says("#tally", "1 of 3 judged: 0 accepted, 1 to retake")
        assert page.verdicts() == [(NAMES[0], "retake")]
        assert store.verdicts.give(first.key, "none", lambda: "0" * 64)
        page.page.keyboard.press("u")  # back to the other reader's, which has been withdrawn
        page.until("document.getElementById('notice-text').innerText.includes('has withdrawn')")
        page.judged(0)
        assert page.verdicts() == []


def audit(page: Served) -> list[tuple[str, str]]:
    with asking(page.address, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        return [(entry["name"], entry["verdict"]) for entry in client.get("/api/audit").json()["entries"]]


def give(page: Served, key: str) -> None:
    """A verdict by key; of a retake the first reason."""
    for each in {"r": "rr"}.get(key, key):
        page.page.keyboard.press(each)


def judge(page: Served, *keys: str) -> None:
    """Verdicts by key, each on an image that is seen: on one that is not yet, none is taken."""
    for key in keys:
        page.see()
        give(page, key)


def wait_for_waiting(page: Served, words: str) -> None:
    page.until(f"document.getElementById('notice-text').innerText.includes('{words}')")
    assert page.page.locator("#notice").get_attribute("class") == "notice error"


def test_verdicts_wait_while_the_server_is_away(page: Served) -> None:
    page.lose("questions")
    judge(page, "r", "a")
    wait_for_waiting(page, "2 verdicts wait in this browser")
    assert "The server does not answer" in page.text("#notice-text")
    assert page.text("#tally") == "2 of 3 judged: 1 accepted, 1 to retake"
    page.page.click("#export")
    page.until("document.getElementById('notice-text').innerText.includes('export them when all have arrived')")
    assert audit(page) == []
    page.page.keyboard.press("u")  # the second one, which has not arrived either
    page.lose("nothing")
    page.until("document.getElementById('notice-text').innerText === 'All verdicts that waited have arrived.'")
    assert audit(page) == [(NAMES[0], "retake"), (NAMES[1], "accept"), (NAMES[1], "none")]
    assert page.page.evaluate("localStorage.length") == 0


def test_a_verdict_whose_answer_was_lost_is_given_once(page: Served, reviewed: Path) -> None:
    page.lose("an answer")
    judge(page, "r")
    wait_for_waiting(page, "1 verdict waits")
    with Store(ScreenedFolder(reviewed)) as store:  # another reader sees it, and withdraws it
        first = next(image for image in store.results.newest() if image.name == NAMES[0])
        assert store.verdicts.give(first.key, "none", lambda: "0" * 64)
    page.until("document.getElementById('notice-text').innerText.includes('have arrived')")
    assert audit(page) == [(NAMES[0], "retake"), (NAMES[0], "none")]


def test_verdicts_wait_while_the_page_is_closed(page: Served, reviewed: Path) -> None:
    page.lose("questions")
    judge(page, "r", "a")
    wait_for_waiting(page, "2 verdicts wait")
    page.page.reload()
    wait_for_waiting(page, "2 verdicts wait")
    assert page.text("#tally") == "2 of 3 judged: 1 accepted, 1 to retake"
    with Store(ScreenedFolder(reviewed)) as store:
        first = next(image for image in store.results.newest() if image.name == NAMES[0])
        assert store.verdicts.give(first.key, "accept", lambda: "0" * 64)
    page.lose("nothing")
    page.until("document.getElementById('notice-text').innerText.includes('another reader has given')")
    page.until("document.getElementById('tally').innerText === '2 of 3 judged: 2 accepted, 0 to retake'")
    assert sorted(page.verdicts()) == [(NAMES[0], "accept"), (NAMES[1], "accept")]


def test_verdicts_wait_in_the_page_of_a_browser_that_keeps_nothing(page: Served) -> None:
    page.lose("questions")
    page.page.evaluate("void (Storage.prototype.setItem = () => { throw new Error('no room'); })")
    judge(page, "r")
    wait_for_waiting(page, "1 verdict waits in this page: do not close it")
    page.page.evaluate("sessionStorage.clear()")
    page.until("document.getElementById('notice-text').innerText.includes('have arrived')")
    assert page.verdicts() == [(NAMES[0], "retake")]


def test_what_is_screened_and_judged_elsewhere_appears(page: Served, reviewed: Path) -> None:
    page.drop("new.jpg", jpeg(9))
    folder = ScreenedFolder(reviewed)
    second = next(image for image in Store(folder).results.newest() if image.name == NAMES[1])
    add_results(folder, second.model_copy(update={"name": "later.jpg", "key": "c" * 64, "picture": "", "map": ""}))
    with asking(page.address, headers=AUTHORIZED) as client:
        assert client.post("/api/verdicts", json={"key": second.key, "verdict": "accept"}).status_code == 200
    page.page.evaluate("lookForNews()")
    page.has_rows(6)
    assert page.page.locator("#rows .row", has_text="later.jpg").count() == 1
    assert page.text("#tally") == "1 of 4 judged: 1 accepted, 0 to retake"
    assert page.text("#result h2") == "new.jpg"


def test_a_dropped_file_stands_beside_the_worklist_without_a_verdict(page: Served) -> None:
    page.drop("new.jpg", jpeg(9))
    page.see()
    assert page.text("#result h2") == "new.jpg"
    page.has_rows(5)
    assert page.page.locator("#accept").is_disabled()
    assert "nothing is kept" in page.text("#verdict-note")
    assert page.text("#tally").startswith("0 of 3")
    page.drop("known.jpg", jpeg(0))
    page.see()
    assert page.page.locator("#accept").is_enabled()
    page.page.keyboard.press("a")
    page.says("#tally", "1 of 3 judged: 1 accepted, 0 to retake")
    assert page.page.locator("#rows .given").count() == 1
    assert page.verdicts() == [(NAMES[0], "accept")]


def test_a_checked_file_of_the_worklist_is_shown_once(page: Served, reviewed: Path) -> None:
    page.drop("known.jpg", jpeg(0))
    page.see()
    assert page.text("#result h2") == NAMES[0]
    assert page.shown()["note"] == "checked now"
    page.has_rows(4)
    page.drop("copy.jpg", jpeg(0))
    page.see()
    page.has_rows(4)
    page.page.select_option("#method", "grad_cam")
    page.until("window.review.current.method === 'grad_cam'")
    assert (page.text("#result h2"), page.page.locator("#rows .row").count()) == (NAMES[0], 4)
    folder = ScreenedFolder(reviewed)
    first = next(image for image in Store(folder).results.newest() if image.name == NAMES[0])
    add_results(folder, first.model_copy(update={"name": "second name.jpg"}))
    page.page.evaluate("lookForNews()")
    page.has_rows(5)  # a copy in the folder is a file of its own
    page.drop("new.jpg", jpeg(9))
    page.drop("new.jpg", jpeg(9))
    page.see()
    page.has_rows(6)
    assert page.text("#result h2") == "new.jpg"
    key = hashlib.sha256(jpeg(9)).hexdigest()  # it is screened meanwhile
    add_results(folder, first.model_copy(update={"name": "sub/new.jpg", "key": key, "picture": "", "map": ""}))
    page.page.evaluate("lookForNews()")
    page.has_rows(6)
    assert page.page.locator("#rows .row", has_text="new.jpg").count() == 1
    assert page.text("#tally").startswith("0 of 5")
