"""``cxrlens share``: what is sent to a colleague, and what is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from test_worklist_page import IMAGES, INFO, PEAK, Review, data_of, screened_folder
from typer.testing import CliRunner

from cxrlens.cli.main import app
from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.screening.page import BESIDE
from cxrlens.screening.sharing import share
from cxrlens.screening.store.store import Store

TAGS = {"patient_id": "PAT-4711", "date": "2026-01-01"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A screened folder whose first image keeps tags."""
    path = tmp_path / "screened"
    path.mkdir()
    images = [IMAGES[0].model_copy(update={"tags": TAGS}), *IMAGES[1:]]
    screened = screened_folder(path, images, INFO.model_copy(update={"keep_tags": ("patient-id", "date")}))
    with Store(screened) as store:
        store.add(images)
    return path


def test_one_file_holds_all_but_tags_and_where_it_came_from(folder: Path, tmp_path: Path, browser: Any) -> None:
    out = tmp_path / "sent" / "night.html"
    shared = share(folder, out)
    assert (shared.file, shared.images, shared.pictures, shared.size) == (out, 6, 5, out.stat().st_size)
    source = out.read_text("utf-8")
    assert "4711" not in source
    assert "/images" not in source
    assert data_of(source)["images"][0]["path"] == "ward/b/10.jpg"
    assert out.stat().st_mode & 0o077 == 0
    review = Review(browser, out)
    review.see()
    assert review.page.title() == "Suggested retakes in ward"
    assert review.complaints == []
    review.page.close()


def test_an_archive_is_unpacked_and_opened(folder: Path, tmp_path: Path, browser: Any) -> None:
    share(folder, tmp_path / "night.zip")
    with ZipFile(tmp_path / "night.zip") as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "unpacked")
    keys = {image.key for image in IMAGES if image.key}
    assert names == {"night/report.html", "night/READ ME.txt"} | {f"night/{BESIDE}/{key}.js" for key in keys}
    everything = "".join(file.read_text() for file in (tmp_path / "unpacked").rglob("*") if file.is_file())
    assert "4711" not in everything
    assert "not a medical device" in (tmp_path / "unpacked/night/READ ME.txt").read_text()
    review = Review(browser, tmp_path / "unpacked/night/report.html")
    review.see()
    assert review.pixel(*PEAK)[0] > 180
    assert review.complaints == []
    review.page.close()


def test_tags_stay_where_that_is_wanted(folder: Path, tmp_path: Path) -> None:
    share(folder, tmp_path / "night.html", with_tags=True)
    assert data_of((tmp_path / "night.html").read_text("utf-8"))["images"][0]["tags"] == TAGS


def test_the_command_says_what_it_wrote_and_what_it_cannot(folder: Path, tmp_path: Path) -> None:
    def told(*arguments: object) -> tuple[int, str]:
        ended = CliRunner().invoke(app, ["share", *map(str, arguments)])
        return ended.exit_code, ended.stdout

    code, text = told(folder, "-o", tmp_path / "n.zip")
    assert code == 0
    assert re.search(r"n\.zip: 6 images, 5 with pictures, 0\.1 MB", text)
    for out, words in ((tmp_path / "n.zip", "is there already"), (tmp_path / "n.pdf", "ends in .html for one file")):
        with pytest.raises(UsageError, match=words):
            share(folder, out)
    with pytest.raises(UsageError, match="is no screened folder"):
        share(tmp_path, tmp_path / "other.zip")
    bare = tmp_path / "bare"
    bare.mkdir()
    screened_folder(bare, ())
    with pytest.raises(NothingToDoError, match="holds no results yet"):
        share(bare, tmp_path / "other.zip")
    with pytest.raises(UsageError, match="no tags to send"):
        share(bare, tmp_path / "other.zip", with_tags=True)
    assert not (tmp_path / "other.zip").exists()
