"""The worklist of a screened folder as one HTML file that needs no network: results, radiographs, maps and verdicts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cxrlens.files import replacing
from cxrlens.inputs.names import path_of
from cxrlens.report.html import content_hash, load_template
from cxrlens.screening.folder import ScreenedFolder, ScreeningInfo
from cxrlens.screening.page_assets import STYLE, offline_script, read_asset
from cxrlens.screening.record import ScreenedImage, worklist_order
from cxrlens.screening.store.marks import MOST_MARKS
from cxrlens.screening.store.verdicts import LONGEST_COMMENT


def write_worklist_page(
    folder: ScreenedFolder, images: Sequence[ScreenedImage], *, title: str, pictures: int = 2000
) -> Path:
    """Write ``report.html``, whole or not at all, and return its path.

    Args:
        images: the results to show; their order is the worklist's, whatever is given.
        pictures: how many images at most carry their radiograph and map, the first of the worklist. All others are
            listed without.

    Raises:
        UsageError: when the folder is no screened folder.
        OSError: when the page cannot be written, or a picture cannot be read.
    """
    info = folder.info()
    ordered = worklist_order(images)
    with_picture = list(dict.fromkeys(image.key for image in ordered if _has_picture(folder, image)))
    shown = with_picture[: max(pictures, 0)]
    script, style = offline_script(), read_asset(STYLE)
    page = load_template("offline.html.jinja", "cxrlens.screening").stream(
        title=title,
        heading=_heading(info, len(ordered), len(shown), len(with_picture)),
        data=page_data(info, ordered, frozenset(shown)) | {"facts": _facts(folder)},
        files=_embedded(folder, shown),
        style=style,
        style_hash=content_hash(style),
        script=script,
        script_hash=content_hash(script),
    )
    with replacing(folder.report_file, private=True) as partial:
        page.dump(str(partial), encoding="utf-8", errors="replace")
    return folder.report_file


def _heading(info: ScreeningInfo, images: int, shown: int, with_picture: int) -> str:
    precision = "" if info.precision == "f32" else f" in {info.precision}"
    limit = f"pictures of the first {shown:,}" if shown < with_picture else ""
    return " · ".join(filter(None, [f"{images:,} files", limit, f"model {info.model}{precision}", info.created[:10]]))


def page_data(info: ScreeningInfo, images: Sequence[ScreenedImage], shown: frozenset[str]) -> dict[str, Any]:
    """The data for the page's script: how the folder was screened, and a record an image.

    Args:
        shown: keys of the images whose radiograph is embedded; the others need no contours.
    """
    return {
        "id": hashlib.sha256(f"{info.root}\0{info.model_sha256}".encode("utf-8", "replace")).hexdigest(),
        "info": info.model_dump(exclude={"database"}),
        "images": [_record(image, path_of(info.root, Path()), image.key in shown) for image in images],
    }


def _facts(folder: ScreenedFolder) -> dict[str, Any]:
    """What a reader can say beside a verdict, as the server's `ReviewFacts` have it."""
    reasons = [reason.model_dump() for reason in folder.reasons()]
    return {"reasons": reasons, "longest_comment": LONGEST_COMMENT, "most_marks": MOST_MARKS}


def _record(image: ScreenedImage, root: Path, shown: bool) -> dict[str, Any]:
    left_out = {"picture", "map"} if shown else {"picture", "map", "contours"}
    return image.model_dump(exclude=left_out) | {"path": str(path_of(image.name, root)), "shown": shown}


def _has_picture(folder: ScreenedFolder, image: ScreenedImage) -> bool:
    return bool(image.picture and image.key) and folder.picture_file(image.key).is_file()


def _embedded(folder: ScreenedFolder, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(id, base64) of previews and maps, one at a time: a page of thousands is never in memory as a whole."""
    for key in keys:
        yield f"picture-{key}", _base64(folder.picture_file(key))
        if folder.map_file(key).is_file():
            yield f"map-{key}", _base64(folder.map_file(key))


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
