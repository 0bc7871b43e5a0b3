"""The offline page of a screening in a browser: how soon it is seen and can be used, and what memory it takes.

``python -m benchmarks.review_page --images 121 2000`` measures once and prints.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np

from benchmarks.memory import peak_mib
from cxrlens.dataset.phantom.dataset import make_phantom
from cxrlens.inspection.map_png import map_png
from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.page import BESIDE, WorklistPage
from cxrlens.screening.reading import PREVIEW_SIDE, preview
from cxrlens.screening.record import ScreenedImage

LAYOUTS = ("one file", "pictures beside")
_KINDS = 20  # different radiographs; the page knows each image by a key of its own
_STEPS = 20


@dataclass(frozen=True)
class OpenedPage:
    """What it takes to open a page.

    Attributes:
        size: of its own file, bytes.
        beside: of the files beside it, bytes.
        painted: seconds until something of it was seen.
        usable: seconds until the list was there and the first radiograph drawn.
        step: median seconds from a key to the next radiograph.
        heap: JavaScript's, MiB, after all of this.
        peak: largest resident memory of the process that shows the page, MiB.
    """

    size: float
    beside: float
    painted: float
    usable: float
    step: float
    heap: float
    peak: float


def open_pages(counts: list[int], repeats: int, progress: Callable[[str], None]) -> dict[tuple[int, str], OpenedPage]:
    """Medians by number of images and layout, each time in a browser of its own."""
    found = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as place:
            folder, images = screened(Path(place), count)
            for layout in LAYOUTS:
                page = WorklistPage.of(folder, images, title="Pages", pictures=count, is_single=layout == LAYOUTS[0])
                with folder.report_file.open("wb") as stream:
                    page.write(stream)
                if not page.is_single:
                    page.write_beside(folder.path / BESIDE)
                looks = [astuple(_opened(folder)) for _ in range(repeats)]
                found[count, layout] = OpenedPage(*map(statistics.median, zip(*looks, strict=True)))
                progress(f"{count} images, {layout}: {found[count, layout]}")
    return found


def screened(place: Path, count: int) -> tuple[ScreenedFolder, list[ScreenedImage]]:
    """A folder of phantom radiographs with maps and outlines, as a screening leaves it."""
    folder = ScreenedFolder(place)
    folder.write_info(
        ScreeningInfo(
            root="/images", model="m.safetensors", model_sha256="a" * 64, threshold=0.6, review_threshold=0.3,
            method="normgrad_conv1x1", layers="combined",
        )
    )  # fmt: skip
    phantoms = [make_phantom(seed, affected=True, size=PREVIEW_SIDE).image for seed in range(_KINDS)]
    pictures = [preview(np.divide(phantom, 255, dtype=np.float32)) for phantom in phantoms]
    map_ = map_png(np.random.default_rng(0).random((56, 56), np.float32).repeat(8, 0).repeat(8, 1))
    angles = np.linspace(0, 6, 60)
    contours = tuple(
        tuple(
            (float(1000 + 300 * x), float(900 + 40 * x + 300 * y))
            for x, y in zip(np.cos(angles), np.sin(angles), strict=True)
        )
        for _ in range(3)
    )
    images = []
    for number in range(count):
        key = hashlib.sha256(str(number).encode()).hexdigest()
        for file, content in ((folder.picture_file(key), pictures[number % _KINDS]), (folder.map_file(key), map_)):
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
        images.append(
            ScreenedImage(
                name=f"ward {number % 7}/{number:05}.dcm", key=key, probability=1 - number / count, decision="affected",
                triage="retake", reason="probability is at or above the retake threshold", origin="DICOM DX",
                height=2000, width=2000, method="normgrad_conv1x1", layers="combined", peak=(900, 1000),
                contours=contours, picture=f"pictures/{key}.jpg", map=f"maps/{key}.png",
            )
        )  # fmt: skip
    return folder, images


def _opened(folder: ScreenedFolder) -> OpenedPage:
    with _browser() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(600_000)
        began = time.perf_counter()
        page.goto(folder.report_file.as_uri(), wait_until="commit")
        _until(page, "window.review && document.querySelector('#rows .row') && window.review.viewer.shown !== null")
        usable = time.perf_counter() - began
        steps = []
        for _ in range(_STEPS):
            began = time.perf_counter()
            page.keyboard.press("j")
            _until(page, "window.review.viewer.shown?.image === window.review.current")
            steps.append(time.perf_counter() - began)
        painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime") / 1e3
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
        peak = max(peak_mib(str(one["id"])) for one in processes if one["type"] == "renderer")
        beside = sum(file.stat().st_size for file in (folder.path / BESIDE).glob("*.js"))
        size = folder.report_file.stat().st_size
        heap = metrics["JSHeapUsedSize"] / 2**20
        return OpenedPage(size, beside, painted, usable, statistics.median(steps), heap, peak)


def _until(page: Any, condition: str) -> None:
    while not page.evaluate(f"Boolean({condition})"):
        page.wait_for_timeout(2)


@contextmanager
def _browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert program, "there is no Chromium to measure with"
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[121, 2000])
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    open_pages(options.images, options.repeats, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201


if __name__ == "__main__":
    main()
