"""The job behind ``cxrlens share``: the page of a screened folder as a file that can be sent to somebody."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal
from zipfile import ZIP_DEFLATED, ZipFile

from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.files import replacing
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.page import BESIDE, PAGE_IMAGES, PAGE_PICTURES, WorklistPage, page_title
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.roots import Root, root_of
from cxrlens.screening.store import postgresql
from cxrlens.screening.store.store import Store
from cxrlens.screening.worklist import RankedWorklist

_READ_ME = """\
Unpack the whole archive, then open report.html in a browser. It loads nothing from the network.
The pictures lie in the folder {}: keep it beside the page.

For research; not a medical device.
"""


@dataclass(frozen=True)
class SharedPage:
    """What was written.

    Attributes:
        file: a page, or an archive of a page and its pictures.
        images: in its list, of which so many come with ``pictures``.
        size: bytes.
    """

    file: Path
    images: int
    pictures: int
    size: int


def share(path: Path, out: Path, *, with_tags: bool = False, database: str | None = None) -> SharedPage:
    """Write the page of a screened folder's present results into one file.

    It holds no patient tags, and does not tell where the images lie on this computer. Names of files are as in the
    worklist, and verdicts are not in it.

    Args:
        path: the screened folder; it may still be growing.
        out: a name that ends in ``.html`` for one file that holds all, or in ``.zip`` for a page with its pictures in a
            folder beside it.
        with_tags: leave the tags in that it was screened with.
        database: see `Store`.

    Raises:
        UsageError: when the folder or ``out`` cannot be used, ``out`` is there already, or there are no tags to keep.
        NothingToDoError: when the folder holds no results.
    """
    kind = _kind(out)
    folder = ScreenedFolder(path)
    info = folder.info()
    if with_tags and not info.keep_tags:
        raise UsageError(
            f"{path}: was screened without `keep_tags`, so there are no tags to send; leave `with_tags` out"
        )
    root = root_of(info.root)
    images, total = _images(folder, root, with_tags, database)
    if not images:
        raise NothingToDoError(f"{path}: holds no results yet; share it when it was screened")
    title = page_title(root)
    page = WorklistPage.of(folder, images, title=title, is_single=kind == ".html", is_shared=True, total=total)
    with replacing(out, private=True) as partial:
        if page.is_single:
            with partial.open("wb") as stream:
                page.write(stream)
        else:
            _write_archive(partial, out.stem, page)
    return SharedPage(out, len(images), sum(image.key in page.shown for image in images), out.stat().st_size)


def _kind(out: Path) -> Literal[".html", ".zip"]:
    kind = out.suffix.lower()
    if kind not in (".html", ".zip"):
        raise UsageError(f"{out}: give a name that ends in .html for one file, or in .zip for a page and its pictures")
    if out.exists():
        raise UsageError(f"{out}: is there already; give another name, or delete it first")
    return ".html" if kind == ".html" else ".zip"


def _images(
    folder: ScreenedFolder, root: Root, with_tags: bool, database: str | None
) -> tuple[list[ScreenedImage], int]:
    """Those that a page lists, and how many there are."""
    place = folder.database()
    server = postgresql.reached(database) if database and place and place.place else None
    with Store(folder, server) as store:
        images = []
        worklist = RankedWorklist.of(store.results, root)
        for number, image in enumerate(islice(worklist.images(), PAGE_IMAGES)):
            tags = image.tags if with_tags else {}
            contours = image.contours if number < PAGE_PICTURES else ()
            images.append(image.model_copy(update={"tags": tags, "contours": contours}))
    return images, worklist.counts.images


def _write_archive(file: Path, top: str, page: WorklistPage) -> None:
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        with archive.open(f"{top}/report.html", "w", force_zip64=True) as stream:
            page.write(stream)
        archive.writestr(f"{top}/READ ME.txt", _READ_ME.format(BESIDE))
        for name, text in page.scripts():
            archive.writestr(f"{top}/{BESIDE}/{name}", text)
