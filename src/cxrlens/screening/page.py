"""The worklist of a screened folder as a page that needs no network: results, radiographs, maps and verdicts."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from cxrlens.files import replacing, write_text
from cxrlens.report.html import content_hash, load_template
from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.page_assets import offline_script, offline_style
from cxrlens.screening.record import ScreenedImage, worklist_order
from cxrlens.screening.roots import Root, place_of, root_of
from cxrlens.screening.store.marks import MOST_MARKS
from cxrlens.screening.store.verdicts import LONGEST_COMMENT

PAGE_PICTURES: Final = 2000
"""Images of the worklist that the page shows with picture and map."""

PAGE_IMAGES: Final = 50_000
"""Images at most that the page of a screening lists, the first of the worklist: a browser holds all of them."""

IN_ONE_FILE: Final = 300
"""So many images at most have their pictures in the page itself; those of more lie in a folder beside it."""

BESIDE: Final = "report_files"
"""Name of that folder; Windows moves and copies it together with a page ``report.html``."""


def page_title(root: Root) -> str:
    """The title of the page of images below a folder."""
    return f"Suggested retakes in {root.name or root}"


def write_worklist_page(
    folder: ScreenedFolder,
    images: Sequence[ScreenedImage],
    *,
    title: str,
    pictures: int = PAGE_PICTURES,
    total: int | None = None,
) -> Path:
    """Write ``report.html``, and the pictures of many images beside it; returns the page's path.

    Each file is written whole or not at all, the page last.

    Args:
        images: the results to show; their order is the worklist's, whatever is given.
        pictures: how many images at most come with their radiograph and map, the first of the worklist. All others are
            listed without.
        total: images of the worklist, where there are more than those.

    Raises:
        UsageError: when the folder is no screened folder.
        OSError: when the page cannot be written, or a picture cannot be read.
    """
    page = WorklistPage.of(folder, images, title=title, pictures=pictures, total=total)
    if not page.is_single:
        page.write_beside(folder.path / BESIDE)
    with replacing(folder.report_file, private=True) as partial, partial.open("wb") as stream:
        page.write(stream)
    return folder.report_file


@dataclass(frozen=True)
class WorklistPage:
    """A page of results, about to be written.

    Attributes:
        folder: the screened folder, whose pictures it shows.
        info: how that was screened, as the page tells.
        id: names the verdicts that browsers keep of this page.
        images: the results, in the worklist's order.
        title: of the page.
        shown: keys of the images that come with radiograph and map.
        pictures: how many have them in the folder.
        is_single: whether the page holds them itself; else they lie in a folder `BESIDE` it.
        total: images of the worklist, of which ``images`` may be the first.
    """

    folder: ScreenedFolder
    info: ScreeningInfo
    id: str
    images: Sequence[ScreenedImage]
    title: str
    shown: frozenset[str]
    pictures: int
    is_single: bool
    total: int

    @classmethod
    def of(
        cls,
        folder: ScreenedFolder,
        images: Sequence[ScreenedImage],
        *,
        title: str,
        pictures: int = PAGE_PICTURES,
        is_single: bool | None = None,
        is_shared: bool = False,
        total: int | None = None,
    ) -> WorklistPage:
        """Of a folder's results, see `write_worklist_page`.

        Args:
            is_single: by default whether the images are few.
            is_shared: tell only the last name of the folder that the images are in, not where it lies.
        """
        info = folder.info()
        ordered = worklist_order(images)
        keys = list(dict.fromkeys(image.key for image in ordered if _has_picture(folder, image)))
        shown = keys[: max(pictures, 0)]
        return cls(
            folder,
            info.model_copy(update={"root": PurePosixPath(info.root).name}) if is_shared else info,
            hashlib.sha256(f"{info.root}\0{info.model_sha256}".encode("utf-8", "replace")).hexdigest(),
            ordered,
            title,
            frozenset(shown),
            len(keys),
            len(shown) <= IN_ONE_FILE if is_single is None else is_single,
            len(ordered) if total is None else total,
        )

    def write(self, stream: IO[bytes]) -> None:
        """Write the page's own file."""
        script, style = offline_script(), offline_style()
        page = load_template("offline.html.jinja", "cxrlens.screening").stream(
            title=self.title,
            heading=self._heading(),
            data=self._data(),
            beside="" if self.is_single else BESIDE,
            files=self._embedded(),
            style=style,
            style_hash=content_hash(style),
            script=script,
            script_hash=content_hash(script),
        )
        page.dump(stream, encoding="utf-8", errors="replace")

    def write_beside(self, place: Path) -> None:
        """Write the pictures of a page that does not hold them itself: those alone that are not there as they are."""
        for key, image in self._of_content.items():
            file = place / f"{key}.js"
            if not _is_made_of(file, [self.folder.picture_file(key), self.folder.map_file(key)]):
                write_text(file, self._script(image), private=True)

    def scripts(self) -> Iterator[tuple[str, str]]:
        """(name, text) of the files in the folder `BESIDE` the page, one at a time."""
        for key, image in self._of_content.items():
            yield f"{key}.js", self._script(image)

    @cached_property
    def _of_content(self) -> dict[str, ScreenedImage]:
        """The images that are shown, by their keys; of several with the same content one."""
        found = dict[str, ScreenedImage]()
        for image in self.images:
            if image.key in self.shown:
                found.setdefault(image.key, image)
        return found

    def _heading(self) -> str:
        info, shown = self.info, len(self.shown)
        precision = "" if info.precision == "f32" else f" in {info.precision}"
        limit = f"pictures of the first {shown:,}" if shown < self.pictures else ""
        listed = len(self.images)
        first = f"the first {listed:,} of the worklist, all are in worklist.csv" if listed < self.total else ""
        parts = [f"{self.total:,} files", first, limit, f"model {info.model}{precision}", info.created[:10]]
        return " · ".join(filter(None, parts))

    def _data(self) -> dict[str, Any]:
        """The data for the page's script: how the folder was screened, and a record an image."""
        root = root_of(self.info.root)
        return {
            "id": self.id,
            "info": self.info.model_dump(exclude={"database"}),
            "beside": "" if self.is_single else BESIDE,
            "facts": self._facts(),
            "images": [self._record(image, root) for image in self.images],
        }

    def _facts(self) -> dict[str, Any]:
        """What a reader can say beside a verdict, as the server's `ReviewFacts` have it."""
        reasons = [reason.model_dump() for reason in self.folder.reasons()]
        return {"reasons": reasons, "longest_comment": LONGEST_COMMENT, "most_marks": MOST_MARKS}

    def _record(self, image: ScreenedImage, root: Root) -> dict[str, Any]:
        shown = image.key in self.shown
        left_out = {"picture", "map"} if shown and self.is_single else {"picture", "map", "contours"}
        return image.model_dump(exclude=left_out) | {"path": place_of(image.name, root), "shown": shown}

    def _embedded(self) -> Iterator[tuple[str, str]]:
        """(id, base64) of previews and maps, one at a time: a page of thousands is never in memory as a whole."""
        for key in self._of_content if self.is_single else ():
            yield f"picture-{key}", _base64(self.folder.picture_file(key))
            if self.folder.map_file(key).is_file():
                yield f"map-{key}", _base64(self.folder.map_file(key))

    def _script(self, image: ScreenedImage) -> str:
        """Hands picture, map and outlines of an image to the page: a page opened as a file can read nothing else."""
        map_file = self.folder.map_file(image.key)
        given = {
            "key": image.key,
            "picture": _base64(self.folder.picture_file(image.key)),
            "map": _base64(map_file) if map_file.is_file() else "",
            "contours": image.contours,
        }
        return f"takePicture({json.dumps(given, separators=(',', ':'))});\n"


def _has_picture(folder: ScreenedFolder, image: ScreenedImage) -> bool:
    return bool(image.picture and image.key) and folder.picture_file(image.key).is_file()


def _is_made_of(file: Path, sources: Sequence[Path]) -> bool:
    """True where a file is there and newer than those that it was made of, as far as they are there."""
    try:
        made = file.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    return all(made > source.stat().st_mtime_ns for source in sources if source.exists())


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
