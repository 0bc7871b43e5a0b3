"""The parts of the review page: the offline page embeds them, the server hands them out as files."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from markupsafe import Markup

from cxrlens.report.html import load_template

STYLES: Final = ("style.css", "print.css")
_COMMON: Final = (
    "elements.js",
    "images.js",
    "csv.js",
    "grounds.js",
    "verdicts.js",
    "colour_map.js",
    "picture.js",
    "marking.js",
    "pointing.js",
    "viewer.js",
    "viewing.js",
    "details.js",
    "worklist.js",
    "filters.js",
    "review.js",
    "printing.js",
)
OFFLINE_SCRIPTS: Final = (*_COMMON, "pictures.js", "offline.js")
"""In the order in which they run; each may use what the earlier ones define."""
SERVED_SCRIPTS: Final = (*_COMMON, "api.js", "outbox.js", "online.js", "checking.js", "agreement.js", "served.js")


def read_asset(name: str) -> Markup:
    """The text of a script or of a style sheet, its lines ending as browsers read them before they compare a hash."""
    text = (files("cxrlens.screening") / "templates" / name).read_text("utf-8")
    return Markup(text.replace("\r\n", "\n"))


def offline_script() -> Markup:
    """All scripts of the offline page as one."""
    return Markup("\n").join(map(read_asset, OFFLINE_SCRIPTS))


def offline_style() -> Markup:
    """All style sheets of the offline page as one."""
    return Markup("\n").join(map(read_asset, STYLES))


def served_page(folder: str) -> str:
    """The page of the server; its scripts and style sheets are under this address, such as ``static``."""
    return load_template("served.html.jinja", "cxrlens.screening").render(
        styles=[f"{folder}/{name}" for name in STYLES], scripts=[f"{folder}/{name}" for name in SERVED_SCRIPTS]
    )
