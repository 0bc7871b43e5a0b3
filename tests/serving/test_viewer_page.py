"""The radiograph on the served page in a browser: full depth, windows, orientation, ruler, drawn marks, sizes."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from serving_files import add_results, running

from browsing import Opened
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.record import ScreenedImage
from cxrlens.serving.app import create_app
from cxrlens.serving.settings import ServerSettings
from image_files import dicom, dicom_bytes

ROWS, COLUMNS = 300, 420
PEAK = (40, 330)  # row, column
CONTOUR = ((300.0, 20.0), (360.0, 25.0), (350.0, 70.0), (300.0, 20.0))
STORED = (9 * np.arange(COLUMNS)[None] + np.arange(ROWS)[:, None]).astype(np.uint16)  # 0 to 4070
WINDOW = {"WindowCenter": [2000, 1000], "WindowWidth": [2001, 501], "WindowCenterWidthExplanation": ["BONE", "LUNG"]}


def file_of(**elements: Any) -> bytes:
    return dicom_bytes(dicom(STORED, **elements))


FILES = {
    "first.dcm": file_of(**WINDOW, ImagerPixelSpacing=[0.5, 0.25]),
    "inverse.dcm": file_of(photometric="MONOCHROME1", **WINDOW),
    "gone.dcm": file_of(PatientID="gone"),
}


@pytest.fixture(scope="module")
def address(served_model: QualityModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of three radiographs with previews of a quarter of their size; the last one's file is gone."""
    archive = tmp_path_factory.mktemp("archive")
    folder = ScreenedFolder(tmp_path_factory.mktemp("screened"))
    identity = served_model.identity
    facts = {"threshold": 0.5, "review_threshold": None, "method": "grad_cam", "layers": "last"}
    folder.write_info(ScreeningInfo(root=str(archive), model=identity.name, model_sha256=identity.sha256, **facts))
    for file in (folder.picture_file("x"), folder.map_file("x")):
        file.parent.mkdir()
    grey = (np.clip((STORED[::4, ::4].astype(float) - 1000) / 2000, 0, 1) * 255).astype(np.uint8)
    for place, (name, content) in enumerate(FILES.items()):
        key = hashlib.sha256(content).hexdigest()
        Image.fromarray(grey).save(folder.picture_file(key))
        Image.fromarray(np.full((12, 9), 255, np.uint8)).save(folder.map_file(key))
        if name != "gone.dcm":
            (archive / name).write_bytes(content)
        result = ScreenedImage(
            name=name,
            key=key,
            probability=0.9 - place / 10,
            decision="affected",
            reason="a reason",
            origin="DICOM DX",
            height=ROWS,
            width=COLUMNS,
            method="grad_cam",
            layers="last",
            peak=PEAK,
            contours=(CONTOUR,),
            picture=f"pictures/{key}.jpg",
            map=f"maps/{key}.png",
        )
        add_results(folder, result)
    with running(create_app(ServerSettings(decoders=1), served_model, folder.path)) as url:
        yield url


class Viewed(Opened):
    """The page, and what is seen of the radiograph."""

    def __init__(self, browser: Any, address: str, width: int = 1280, **options: Any) -> None:
        super().__init__(browser, address, width, **options)
        self.until("window.review?.viewer.shown")

    def full(self) -> None:
        self.becomes(lambda: self.text("#resolution"), "Full resolution, 12 bits")

    def text(self, place: str) -> str:
        return str(self.page.locator(place).inner_text())

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def grey(self, row: int, column: int) -> int:
        """The shade on the canvas where this pixel of the stored picture is."""
        at = f"Math.floor(({column} + 0.5) / {COLUMNS} * c.width), Math.floor(({row} + 0.5) / {ROWS} * c.height)"
        script = f"(c => c.getContext('2d').getImageData({at}, 1, 1).data[0])(document.getElementById('canvas'))"
        return int(self.page.evaluate(script))

    def window(self) -> tuple[float, float]:
        return float(self.page.input_value("#centre")), float(self.page.input_value("#width"))

    def point(self, row: float, column: float) -> tuple[float, float]:
        """The point of the browser's window over a stored pixel, of a picture that is not turned."""
        (box,) = self.boxes("#picture")
        return box["x"] + (column + 0.5) / COLUMNS * box["width"], box["y"] + (row + 0.5) / ROWS * box["height"]

    def close(self) -> None:
        """It asked nobody but its own server, and the browser complained of nothing but the file that is gone."""
        own = (self.page.url, "data:", "blob:")
        assert [address for address in self.requests if not address.startswith(own)] == []
        assert [text for text in self.complaints if "Failed to load resource" not in text] == []
        self.page.close()


@pytest.fixture
def viewed(browser: Any, address: str) -> Iterator[Viewed]:
    page = Viewed(browser, address)
    yield page
    page.close()


def shade(value: float, centre: float, width: float) -> float:
    """PS3.3 C.11.2.1.2, function LINEAR, to 0 to 255."""
    return 255 * min(max((value - (centre - 0.5)) / (width - 1) + 0.5, 0), 1)


def test_full_depth_takes_the_preview_s_place_and_is_windowed(viewed: Viewed) -> None:
    """The stage shows more pixels than the preview has, so that it does not do."""
    viewed.full()
    assert viewed.page.evaluate("window.review.viewer.canvas.width") == COLUMNS
    for row, column in [(0, 0), (10, 150), (200, 222), (299, 300), (299, 419)]:
        assert viewed.grey(row, column) == pytest.approx(shade(STORED[row, column], 2000, 2001), abs=1)
    viewed.page.mouse.move(*viewed.point(120, 200))
    viewed.becomes(lambda: viewed.text("#readout").splitlines(), ["C 2000  W 2001", "x 200  y 120  value 1920"])
    assert viewed.texts("#preset option")[:3] == ["As the file says", "BONE 2000 / 2001", "LUNG 1000 / 501"]
    viewed.page.select_option("#preset", label="LUNG 1000 / 501")
    assert viewed.window() == (1000, 501)
    assert viewed.grey(0, 111) == pytest.approx(shade(999, 1000, 501), abs=1)
    viewed.page.select_option("#preset", label="Whole range")
    assert viewed.window() == (STORED.max() / 2, STORED.max())
    assert (viewed.grey(0, 0), viewed.grey(299, 419)) == (0, 255)
    viewed.page.select_option("#preset", label="1 to 99 % of pixels")
    low, high = np.percentile(STORED, [1, 99], method="inverted_cdf")
    assert viewed.window() == pytest.approx(((low + high) / 2, high - low), abs=2)
    viewed.page.focus("#grid")
    viewed.press("x")
    assert viewed.window() == (2000, 2001)


def test_windows_are_changed_by_dragging_and_keys_and_never_show_nothing(viewed: Viewed) -> None:
    viewed.full()
    middle = viewed.point(150, 210)
    viewed.drag(middle, (middle[0] + 100, middle[1]))  # to the right is wider: by a quarter of the file's
    assert viewed.window() == pytest.approx((2000, 2501.25), abs=0.1)
    viewed.drag(middle, (middle[0], middle[1] - 100))  # up is brighter
    assert viewed.window() == pytest.approx((1499.75, 2501.25), abs=0.1)
    assert viewed.page.input_value("#preset") == ""
    viewed.press("l", "d", "w", "n", "n")
    assert viewed.window() == pytest.approx((1499.75, 2401.2), abs=0.1)
    for narrow in ("0", "-5"):
        viewed.page.fill("#width", narrow)
        viewed.press("Enter")
        assert viewed.window()[1] == 1
        assert "must be wider than 0" in viewed.text("#word")
    assert (viewed.grey(0, 166), viewed.grey(0, 167)) == (0, 255)  # 1494 and 1503: a step at the centre
    viewed.page.fill("#width", "800")
    viewed.press("Enter")
    viewed.becomes(lambda: viewed.page.locator("#word").is_visible(), False)
    viewed.page.fill("#centre", "")
    viewed.press("Enter")
    assert viewed.window()[0] == pytest.approx(1499.75, abs=0.1)


def test_monochrome1_shows_low_values_bright(viewed: Viewed) -> None:
    viewed.press("j")
    viewed.becomes(lambda: viewed.text("#result h2"), "inverse.dcm")
    viewed.full()
    for row, column in [(10, 150), (200, 222)]:
        assert viewed.grey(row, column) == pytest.approx(255 - shade(STORED[row, column], 2000, 2001), abs=1)
    viewed.press("l")  # lighter: a higher centre
    assert viewed.window()[0] > 2000
    lighter = 255 - shade(STORED[10, 150], 2000 + 2001 / 20, 2001)
    assert viewed.grey(10, 150) == pytest.approx(lighter, abs=1)
    viewed.press("i")
    viewed.becomes(lambda: viewed.grey(10, 150), pytest.approx(255 - lighter, abs=1))


def test_a_preview_says_what_it_is_where_the_file_is_gone(viewed: Viewed) -> None:
    viewed.press("j", "j")
    viewed.page.locator("#resolution", has_text="no longer where it was screened").wait_for()
    assert viewed.text("#resolution").startswith("Preview, 105 of 420 px a side. The file 'gone.dcm' is no longer")
    viewed.page.mouse.move(*viewed.point(120, 200))
    viewed.becomes(lambda: "grey of the preview" in viewed.text("#readout"), True)
    viewed.press("n")  # what there is can be windowed
    assert viewed.window() == pytest.approx((127.5, 242.25))


def seen_at(row: int, column: int, quarters: int, mirrored: bool) -> tuple[float, float]:
    """(x, y) of a stored pixel's centre in the picture as it is seen, from 0 to 1: numpy turns a picture of it."""
    picture = np.zeros((ROWS, COLUMNS))
    picture[row, column] = 1
    picture = np.rot90(picture, -quarters)
    picture = np.fliplr(picture) if mirrored else picture
    ((y, x),) = np.argwhere(picture)
    return (x + 0.5) / picture.shape[1], (y + 0.5) / picture.shape[0]


def test_marks_stay_on_their_pixels_however_the_picture_is_turned(viewed: Viewed) -> None:
    viewed.full()
    viewed.page.evaluate(
        "window.review.viewer.onDrawn = (mark) => (window.drawn = mark); window.review.viewer.startDrawing('box')"
    )
    corners: npt.NDArray[np.int_] = np.array([[30, 260], [90, 380]])  # rows and columns of two pixels
    for zoomed, mirrored, quarters in itertools.product((False, True), (False, True), range(4)):
        viewed.press("x", *"t" * quarters, *"h" * mirrored, *"+" * 2 * zoomed)
        box, stage, canvas = viewed.boxes("#picture", "#stage", "#canvas")
        assert box["width"] / box["height"] == pytest.approx(
            (ROWS / COLUMNS if quarters % 2 else COLUMNS / ROWS), rel=1e-3
        )
        assert (canvas["x"], canvas["y"]) == pytest.approx((box["x"], box["y"]), abs=1)
        if not zoomed:
            assert box["width"] <= stage["width"] + 0.5
            assert box["height"] <= stage["height"] + 0.5
        mark = viewed.boxes("#marks .peak")[0]
        x, y = seen_at(*PEAK, quarters, mirrored)
        expected = box["x"] + x * box["width"], box["y"] + y * box["height"]
        found = mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2
        assert found == pytest.approx(expected, abs=1.0), (zoomed, mirrored, quarters)
        ends = [seen_at(*corner, quarters, mirrored) for corner in corners]
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in ends]
        inside = [
            stage["x"] < x < stage["x"] + stage["width"] and stage["y"] < y < stage["y"] + stage["height"]
            for x, y in points
        ]
        if all(inside):
            viewed.drag(*points)
            drawn = viewed.page.evaluate("window.drawn")
            assert drawn["kind"] == "box"
            assert np.array(drawn["points"]) == pytest.approx(corners[:, ::-1], abs=1.0), (zoomed, mirrored, quarters)
        else:
            assert zoomed
    viewed.press("x", "t", "h")
    viewed.page.evaluate("window.review.viewer.showMarks([window.drawn])")
    box, mark = viewed.boxes("#picture", "#drawn .mark.line")
    x0, y0 = seen_at(30, 260, 1, True)
    x1, y1 = seen_at(90, 380, 1, True)
    expected = [box["x"] + min(x0, x1) * box["width"], box["y"] + min(y0, y1) * box["height"]]
    assert [mark["x"], mark["y"]] == pytest.approx(expected, abs=3)
    assert mark["width"] == pytest.approx(abs(x1 - x0) * box["width"], abs=5)


def test_outlines_are_drawn_refused_and_cancelled(viewed: Viewed) -> None:
    viewed.full()
    viewed.page.evaluate("""
        window.drawn = []; window.stopped = 0;
        window.review.viewer.onDrawn = (mark) => window.drawn.push(mark);
        window.review.viewer.onStopped = () => (window.stopped += 1);
        window.review.viewer.startDrawing("outline")
    """)
    corners = [(100, 100), (100, 300), (200, 300), (200, 100)]
    crossed = [corners[0], corners[2], corners[1], corners[3]]
    viewed.drag(*(viewed.point(*corner) for corner in crossed))
    assert "crosses itself" in viewed.text("#word")
    viewed.drag(*(viewed.point(*corner) for corner in corners))
    (drawn,) = viewed.page.evaluate("window.drawn")
    assert drawn["kind"] == "outline"
    found = np.array(drawn["points"])
    assert (found.min(axis=0), found.max(axis=0)) == (
        pytest.approx([100, 100], abs=1),
        pytest.approx([300, 200], abs=1),
    )
    start = viewed.point(100, 100)
    viewed.drag(start, (start[0] + 2, start[1] + 2))
    assert "too small" in viewed.text("#word")
    viewed.drag(*(viewed.point(*corner) for corner in [(100, 380), (100, 440), (200, 440), (200, 380)]))
    assert np.max(viewed.page.evaluate("window.drawn.at(-1).points"), axis=0)[0] == COLUMNS - 0.5  # no further
    viewed.page.mouse.move(*start)
    viewed.page.mouse.down()
    viewed.page.mouse.move(start[0] + 80, start[1] + 50, steps=3)
    assert viewed.page.locator("#drawn .stroke").count() == 2
    viewed.press("Escape")
    viewed.page.mouse.up()
    assert viewed.page.locator("#drawn .stroke").count() == 0
    assert viewed.page.evaluate("[window.drawn.length, window.stopped, window.review.viewer.marking.kind]") == [
        2,
        1,
        None,
    ]


def test_the_ruler_measures_mm_where_the_file_says_them(viewed: Viewed) -> None:
    viewed.full()
    viewed.page.click("#tool-ruler")
    viewed.drag(viewed.point(40, 50), viewed.point(240, 350))  # 300 columns of 0.25 mm, 200 rows of 0.5 mm
    length = float(np.hypot(300 * 0.25, 200 * 0.5))
    assert float(viewed.text("#length").removesuffix(" mm")) == pytest.approx(length, abs=0.5)
    assert "at the detector: what lies in the patient is shown enlarged" in viewed.text("#word")
    viewed.press("t", "h")
    assert float(viewed.text("#length").removesuffix(" mm")) == pytest.approx(length, abs=0.5)
    (stage, label) = viewed.boxes("#stage", "#length")
    assert stage["x"] <= label["x"] <= stage["x"] + stage["width"] - label["width"]
    viewed.press("Escape")
    assert not viewed.page.locator("#length").is_visible()
    viewed.press("x", "j")
    viewed.becomes(lambda: viewed.text("#result h2"), "inverse.dcm")
    viewed.full()
    viewed.drag(viewed.point(40, 50), viewed.point(240, 350))
    assert float(viewed.text("#length").removesuffix(" px")) == pytest.approx(np.hypot(300, 200), abs=2)
    viewed.becomes(lambda: "does not say" in viewed.text("#word"), True)


def test_sizes_and_moves(viewed: Viewed) -> None:
    viewed.full()
    viewed.page.click("#one-to-one")
    assert viewed.boxes("#picture")[0]["width"] == pytest.approx(COLUMNS)
    assert viewed.text("#scale") == "100 %"
    viewed.page.click("#fit")
    stage, fitted = viewed.boxes("#stage", "#picture")
    assert min(stage["width"] - fitted["width"], stage["height"] - fitted["height"]) == pytest.approx(0, abs=1)
    spot = viewed.point(100, 100)
    viewed.page.mouse.move(*spot)
    viewed.page.mouse.wheel(0, -400)
    viewed.until("window.review.viewer.zoom.scale > 2")
    assert viewed.point(100, 100) == pytest.approx(spot, abs=2)  # what is under the pointer stays there
    viewed.drag(spot, (spot[0] - 60, spot[1] - 40), button="right")
    assert viewed.point(100, 100) == pytest.approx((spot[0] - 60, spot[1] - 40), abs=2)
    assert viewed.window() == (2000, 2001)
    viewed.page.click("#fill")
    viewed.until("document.fullscreenElement?.contains(document.getElementById('stage'))")
    viewed.page.click("#fill")
    viewed.until("!document.fullscreenElement")


def test_two_fingers_zoom(browser: Any, address: str) -> None:
    viewed = Viewed(browser, address, 390, has_touch=True)
    viewed.full()
    viewed.page.locator("#stage").scroll_into_view_if_needed()
    stage = viewed.boxes("#stage")[0]
    x, y = stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2
    fingers = viewed.page.context.new_cdp_session(viewed.page)

    def touch(kind: str, *apart: float) -> None:
        points = [{"x": x + side * each, "y": y, "id": int(side > 0)} for each in apart for side in (-1, 1)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 40)
    for apart in (50, 60, 80, 100):
        touch("touchMove", apart)
    touch("touchEnd")
    viewed.becomes(lambda: viewed.page.evaluate("window.review.viewer.zoom.scale"), pytest.approx(2.5, rel=0.1))
    viewed.close()


def test_another_map_of_an_image_of_the_worklist(viewed: Viewed) -> None:
    before = viewed.texts("#facts dd")
    assert any(text.startswith("grad_cam, last") for text in before)
    viewed.page.select_option("#method", "gradient")
    viewed.becomes(lambda: any(text.startswith("gradient, input") for text in viewed.texts("#facts dd")), True)
    viewed.becomes(lambda: viewed.page.evaluate("window.review.viewer.shown.marks.method"), "gradient")
    assert viewed.page.evaluate("document.getElementById('map').width") > 9  # the network's, no longer the folder's
    assert viewed.texts("#rows .row .probability")[0] == "0.900"
    viewed.press("j", "k")
    viewed.becomes(lambda: any(text.startswith("gradient, input") for text in viewed.texts("#facts dd")), True)
    viewed.press("j")
    viewed.press("j")
    viewed.becomes(lambda: viewed.text("#result h2"), "gone.dcm")
    viewed.page.click("#method-form button")
    viewed.page.locator("#notice-text", has_text="no longer where it was screened").wait_for()


@pytest.mark.parametrize(
    ("width", "height", "least"),
    [
        (844, 390, 240),
        (720, 450, 240),
        (390, 844, 270),
        (640, 450, 240),
        (1000, 700, 240),
        (1280, 400, 200),
        (1920, 1080, 600),
    ],
)
def test_the_radiograph_never_disappears(browser: Any, address: str, width: int, height: int, least: int) -> None:
    """640 x 450 is what 200 % zoom leaves of 1280 x 900."""
    viewed = Viewed(browser, address, width)
    viewed.page.set_viewport_size({"width": width, "height": height})
    viewed.full()
    if width in (390, 640, 1280, 1920):
        assert viewed.barriers() == []
    stage, picture = viewed.boxes("#stage", "#picture")
    assert least <= stage["height"] <= height
    assert picture["height"] == pytest.approx(min(stage["height"], stage["width"] * ROWS / COLUMNS), abs=1)
    assert viewed.page.evaluate("document.documentElement.scrollWidth") <= width
    tally, first = viewed.boxes("#tally", "#choose")
    text = viewed.page.evaluate(
        "(() => { const all = new Range(); all.selectNodeContents(byId('tally'));"
        " return all.getBoundingClientRect().width; })()"
    )
    assert text <= tally["width"] + 0.5
    assert tally["x"] + tally["width"] <= first["x"] or tally["y"] + tally["height"] <= first["y"]
    group, *buttons = viewed.boxes(".verdict .buttons", "#accept", "#retake")
    assert all(button["right"] <= group["right"] + 0.5 for button in buttons)
    viewed.page.locator("#tool-ruler").scroll_into_view_if_needed()
    viewed.page.click("#tool-ruler")
    for button in viewed.boxes("#accept", "#preset", "#fill", "#reset", "#tool-ruler"):
        assert button["width"] > 0
        assert -0.5 <= button["x"] <= width - button["width"] + 0.5
    viewed.close()
