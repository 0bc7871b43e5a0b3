"""The parts of the review page: the offline page embeds them, the server hands them out as files."""

from __future__ import annotations

from importlib.resources import files
from typing import Final, Literal

from markupsafe import Markup

# In the order in which they are read; each defines what the later ones use.
_COMMON: Final = (
    "elements.js",
    "images.js",
    "csv.js",
    "verdicts.js",
    "colour_map.js",
    "viewer.js",
    "details.js",
    "worklist.js",
    "review.js",
)
SCRIPTS: Final = {"offline": (*_COMMON, "offline.js")}
STYLE: Final = "style.css"


def read_asset(name: str) -> str:
    """The text of one of the page's files, its lines ending as browsers read them before they compare a hash."""
    text = (files("cxrlens.report") / "templates" / "worklist" / name).read_text("utf-8")
    return text.replace("\r\n", "\n")


def script(kind: Literal["offline"]) -> Markup:
    """All scripts of the page as one."""
    return Markup("\n".join(map(read_asset, SCRIPTS[kind])))


def style() -> Markup:
    """The page's style sheet."""
    return Markup(read_asset(STYLE))
