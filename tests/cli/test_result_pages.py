"""The pages of ``train``, ``test``, ``compare``, ``explain`` and ``pointing-game`` in a browser: whole, quiet, open to
all, printable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from PIL import Image

from browsing import Opened, Page
from command_line import cxrlens, table
from cxrlens.files import sha256_of
from cxrlens.models.model_file import load_model, save_model
from cxrlens.models.named import known_as
from few_figures import few_figures_drawn
from pdf_files import printed

ROWS = ("--method", "grad_cam,normgrad_conv1x1", "--layers", "last", "--workers", 0)
COMMANDS = ("train", "test", "compare", "models", "explain", "pointing-game")
EVIL = "<b>evil #1 100%.jpg"


@pytest.fixture(scope="module")
def pages(phantoms: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of each command."""
    out = tmp_path_factory.mktemp("pages")
    images = out / "images"
    images.mkdir()
    for number, path in enumerate(sorted((phantoms / "dev").rglob("*.jpg"))[:6]):
        (images / (EVIL if not number else path.name)).write_bytes(path.read_bytes())
    (images / "broken.jpg").write_bytes(b"no picture")
    other = out / "other.safetensors"
    network, card = load_model(model)
    for value in network.get_submodule("fc").parameters():
        value.data.neg_()
    save_model(other, network, card)
    small = ("--recipe", "small", "--arch", "resnet18", "--image-size", 32, "--epochs", 2, "--workers", 0)
    rows = ("grad_cam last", "normgrad_conv1x1 combined")
    given: dict[str, tuple[Any, ...]] = {
        "train": ("train", phantoms, "--runs", out, "--name", "train", *small),
        "test": ("test", phantoms, "-m", model, "-o", out / "test", "--workers", 0),
        "compare": ("compare", *rows, "-m", model, "--data", phantoms, "-o", out / "compare", "--margin", 0.05,
                    "--workers", 0),
        "models": ("compare", model, other, "--data", phantoms, "-o", out / "models", *ROWS),
        "explain": ("explain", images, "-m", model, "-o", out / "explain", *ROWS),
        "pointing-game": ("pointing-game", phantoms, "-m", model, "-o", out / "pointing-game", *ROWS),
    }  # fmt: skip
    with few_figures_drawn():
        for command, arguments in given.items():
            finished = cxrlens(*arguments)
            assert finished.code == (3 if command == "explain" else 0), finished.err
            assert str(out / command / "report.html") in finished.out
    return {command: out / command / "report.html" for command in COMMANDS}


@pytest.fixture(params=COMMANDS)
def opened(request: pytest.FixtureRequest, browser: Any, pages: dict[str, Path]) -> Iterator[Opened]:
    shown = Opened(browser, pages[request.param])
    yield shown
    shown.page.close()


def test_a_page_finds_no_fault_and_asks_for_nothing_but_its_own(opened: Opened) -> None:
    assert opened.complaints == []
    here = opened.page.url.rsplit("/", 1)[0]
    assert {url for url in opened.requests if not url.startswith(("data:image/", here))} == set()


@pytest.mark.parametrize("command", ["test", "explain", "pointing-game"])
def test_a_title_has_the_short_name_and_the_footer_the_file(pages: dict[str, Path], model: Path, command: str) -> None:
    source = pages[command].read_text("utf-8")
    [title] = re.findall("<h1>(.*)</h1>", source)
    assert known_as(model) in title
    assert model.name not in title
    assert f"model {model.name}, SHA-256 {sha256_of(model)}" in Page(source).text


def test_a_page_keeps_nobody_out(opened: Opened) -> None:
    assert opened.barriers() == []


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("command", COMMANDS)
def test_only_boxes_inside_a_page_scroll_sideways(
    browser: Any, pages: dict[str, Path], command: str, width: int
) -> None:
    shown = Opened(browser, pages[command], width)
    assert shown.page.evaluate("document.documentElement.scrollWidth") == width
    shown.page.close()


def test_all_pages_can_be_printed(opened: Opened) -> None:
    sheets = printed(opened.page)
    assert sheets
    assert opened.complaints == []


@pytest.mark.parametrize("command", ["train", "test", "compare", "models", "pointing-game"])
def test_a_page_alone_holds_all_that_it_shows(pages: dict[str, Path], command: str) -> None:
    source = pages[command].read_text("utf-8")
    assert re.findall(r'(?:src|href)="(?!data:|#)', source) == []
    assert Page(source).named("img")


def test_the_page_of_a_test_shows_the_worst_errors_first(pages: dict[str, Path]) -> None:
    page = Page(pages["test"].read_text("utf-8"))
    rows = [row for row in table(pages["test"].parent / "predictions.csv") if row["correct"] == "0"]
    assert rows
    rows.sort(key=lambda row: -abs(float(row["probability"]) - 0.5))
    alts = [str(image["alt"]) for image in page.named("img") if str(image["src"]).startswith("data:image/jpeg")]
    assert alts == [f"Radiograph {Path(row['image']).name}, labelled {row['label']}" for row in rows]
    assert "Published" not in page.text  # of phantoms nothing is published
    assert "not calibrated" in page.text


def test_the_page_of_a_comparison_tells_which_is_which(pages: dict[str, Path]) -> None:
    text = " ".join(Page(pages["compare"].read_text("utf-8")).text.split())
    assert "A is Grad-CAM, last, B is NormGrad conv1x1, combined" in text
    (row,) = table(pages["compare"].parent / "comparison.csv")
    assert f"{float(row['difference']):+.3f}" in text
    assert f"{float(row['low']):+.3f} to {float(row['high']):+.3f}" in text
    flips = table(pages["compare"].parent / "flips.csv")
    assert all(flip["image"] in text for flip in flips)


def test_the_page_of_two_models_shows_what_they_decide_differently(pages: dict[str, Path]) -> None:
    """The second model calls normal what the first calls affected, so that every image is lost or gained."""
    page = Page(pages["models"].read_text("utf-8"))
    flips = [row for row in table(pages["models"].parent / "flips.csv") if row["score"] == "decision"]
    assert len(flips) == 8

    def farthest(flip: dict[str, str]) -> tuple[bool, float]:
        return flip["flip"] == "gained", -abs(float(flip["probability_a"]) - float(flip["probability_b"]))

    flips.sort(key=farthest)
    alts = [str(image["alt"]) for image in page.named("img") if str(image["src"]).startswith("data:image/jpeg")]
    assert alts == [f"Radiograph {Path(flip['image']).name}, labelled {flip['label']}" for flip in flips]
    text = " ".join(page.text.split())
    for flip in flips:
        right = "A" if flip["flip"] == "lost" else "B"
        told = [f"{float(flip[f'probability_{side}']):.3f}" for side in "ab"]
        said = (
            f"{flip['label']}, {flip['flip']}: {right} is right; probability of affected by A {told[0]}, by B {told[1]}"
        )
        assert f"{Path(flip['image']).name}{said}" in text
    assert "The page holds pictures of patients." in text
    assert "pictures of patients" not in Page(pages["compare"].read_text("utf-8")).text  # of two methods: it has none
    assert "a/report.html and a/pointing_game.html" in text
    for side in "ab":
        assert (pages["models"].parent / side / "pointing_game.html").is_file()


def test_the_page_of_a_game_shows_hits_and_misses(pages: dict[str, Path]) -> None:
    page = Page(pages["pointing-game"].read_text("utf-8"))
    folder = pages["pointing-game"].parent
    text = " ".join(page.text.split())
    for row in table(folder / "pointing_game.csv"):
        accuracy, low, high = (f"{float(row[name]):.3f}" for name in ("accuracy", "low", "high"))
        assert f"{row['kind']} {accuracy} {low} to {high}" in text
    judged = [row for row in table(folder / "per_image.csv") if row["outcome"] in ("hit", "miss")]
    pictures = [image for image in page.named("img") if str(image["src"]).startswith("data:image/jpeg")]
    assert 0 < len(pictures) <= len({row["image"] for row in judged})
    assert "Published" not in text


class Explained(Opened):
    """The page of explanations."""

    def shown(self) -> list[str]:
        return [name.strip() for name in self.page.locator("#images > li:not([hidden]) h2").all_text_contents()]

    def probabilities(self) -> list[float]:
        found = self.page.eval_on_selector_all(
            "#images > li:not([hidden])", "all => all.map((li) => li.dataset.probability)"
        )
        return [float(text) for text in found]


@pytest.fixture
def explained(browser: Any, pages: dict[str, Path]) -> Iterator[Explained]:
    shown = Explained(browser, pages["explain"])
    yield shown
    assert shown.complaints == []
    shown.page.close()


def test_every_overlay_is_shown_whatever_its_name(explained: Explained, pages: dict[str, Path]) -> None:
    names = explained.shown()
    assert len(names) == 6
    assert EVIL in names
    explained.page.eval_on_selector_all("#images img", "all => all.forEach((image) => (image.loading = 'eager'))")
    explained.until("[...document.querySelectorAll('#images img')].every((image) => image.naturalWidth > 100)")
    assert explained.page.locator("#images b").count() == 0
    addresses = explained.page.eval_on_selector_all("#images a", "all => all.map((link) => link.getAttribute('href'))")
    assert "overlays/%3Cb%3Eevil%20%231%20100%25.jpg.png" in addresses
    assert "broken.jpg" in explained.page.inner_text("main")


def test_room_is_kept_for_every_picture_before_it_is_there(explained: Explained, pages: dict[str, Path]) -> None:
    """Nothing moves when pictures come, and those of several panels have the whole width."""
    heights = "[...document.querySelectorAll('#images > li')].map((li) => li.offsetHeight)"
    before = explained.page.evaluate(heights)
    explained.page.eval_on_selector_all("#images img", "all => all.forEach((image) => (image.loading = 'eager'))")
    explained.until("[...document.querySelectorAll('#images img')].every((image) => image.naturalWidth > 0)")
    assert explained.page.evaluate(heights) == before
    for image in Page(pages["explain"].read_text("utf-8")).named("img"):
        with Image.open(pages["explain"].parent / unquote(str(image["src"]))) as picture:
            assert picture.size == (int(str(image["width"])), int(str(image["height"])))
    widths = "[...document.querySelectorAll('#images img')].map((image) => image.offsetWidth)"
    wide = explained.page.evaluate("document.getElementById('images').offsetWidth")
    assert all(width > 0.9 * wide for width in explained.page.evaluate(widths))


def test_pictures_of_several_panels_scroll_on_a_narrow_screen(browser: Any, pages: dict[str, Path]) -> None:
    shown = Opened(browser, pages["explain"], 390)
    box = shown.page.locator("#images .picture").first
    inside, outside = box.evaluate("box => [box.scrollWidth, box.clientWidth]")
    assert inside > 2 * outside
    shown.page.close()


def test_filters_leave_what_they_ask_for(explained: Explained, pages: dict[str, Path]) -> None:
    rows = {row["image"]: row for row in table(pages["explain"].parent / "explanations.csv")}
    explained.page.fill("[name=words]", "evil")
    explained.becomes(explained.shown, [EVIL])
    assert explained.page.inner_text("#count") == "1 of 6 images"
    explained.page.fill("[name=words]", "")
    for decision in {row["decision"] for row in rows.values()}:
        explained.page.select_option("[name=decision]", decision)
        wanted = {name for name, row in rows.items() if row["decision"] == decision}
        explained.becomes(lambda: set(explained.shown()), wanted)
    explained.page.select_option("[name=decision]", "")
    explained.page.fill("[name=words]", "no such image")
    explained.becomes(explained.shown, [])


def test_images_are_sorted_by_their_probability(explained: Explained) -> None:
    given = explained.probabilities()
    assert len(set(given)) > 1
    explained.page.select_option("[name=order]", "highest")
    explained.becomes(explained.probabilities, sorted(given, reverse=True))
    explained.page.select_option("[name=order]", "lowest")
    explained.becomes(explained.probabilities, sorted(given))
    explained.page.select_option("[name=order]", "given")
    explained.becomes(explained.probabilities, given)


def test_without_scripts_all_images_are_there_and_no_filter(browser: Any, pages: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages["explain"].as_uri())
    assert page.locator("#images > li").count() == 6
    assert not page.locator("#filters").is_visible()
    context.close()
