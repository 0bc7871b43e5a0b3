"""Result pages as one self-contained HTML file that needs no network."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from cxrlens.errors import ArgumentError
from cxrlens.files import replacing

_MEDIA_TYPES: Final = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}
# A number with an optional unit, and an optional interval after it: "438", "90.2 %", "0.86 [0.83, 0.89]".
_NUMBER: Final = re.compile(
    r"[-+−]?[\d.,]+(e[-+]?\d+)?(\s?%|\s[a-zA-Zµ]{1,4})?(\s*[\[(].*[\])]|\s*(to|–)\s*[-+−]?[\d.,]+)?"
)
_NO_VALUE: Final = ("", "-", "–", "n/a")


_SHARED: Final = "cxrlens.report"


def render_page(template: str, output: Path, *, package: str = _SHARED, **context: Any) -> Path:
    """Fill a template of a package, such as ``report.html.jinja``, and write the page whole or not at all.

    The first lines of each template list the values that it needs. All text is escaped. Returns `output`.

    Raises:
        jinja2.UndefinedError: when a value that the template needs is missing.
        ArgumentError: when a figure is no PNG, SVG or JPEG file.
    """
    page = load_template(template, package).render(context)
    with replacing(output) as partial:
        partial.write_bytes(page.encode("utf-8", "replace"))
    return output


def load_template(name: str, package: str = _SHARED) -> Template:
    """A template in the folder ``templates`` of a package; all text that it is filled with is escaped.

    It may extend and include the templates of its own package and those of this one.
    """
    return _environment(package).get_template(name)


def inline_script(name: str, package: str) -> tuple[Markup, str]:
    """A script among a package's templates, for a page to hold, and its `content_hash`."""
    environment = _environment(package)
    assert environment.loader is not None
    return _inline(environment.loader.get_source(environment, name)[0])


def data_uri(path: Path | str) -> str:
    """The PNG, SVG or JPEG file as a ``data:`` address that holds all its bytes.

    Raises:
        ArgumentError: when the file's suffix is not ``.png``, ``.svg`` or ``.jpg``.
    """
    path = Path(path)
    media_type = _MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None:
        raise ArgumentError(f"cannot embed {path.name}: a page's figures are {', '.join(_MEDIA_TYPES)} files")
    return data_address(path.read_bytes(), media_type)


def data_address(content: bytes, media_type: str) -> str:
    """A ``data:`` address that holds the content, so that a browser shows it without asking again."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def content_hash(text: str) -> str:
    """A Content-Security-Policy's name of an inline script or style; the page may use this one and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def numeric_columns(rows: Sequence[Sequence[str]]) -> list[bool]:
    """For each column of a table, whether its cells are numbers (or empty), so that it is set flush right."""
    return [
        any(cell not in _NO_VALUE for cell in column)
        and all(cell in _NO_VALUE or _NUMBER.fullmatch(cell) for cell in column)
        for column in zip(*rows, strict=True)
    ]


@functools.cache
def _environment(package: str) -> Environment:
    shared = PackageLoader(_SHARED)
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), shared]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data_uri": data_uri, "numeric_columns": numeric_columns}
    script, script_hash = _inline(shared.get_source(environment, "sort_tables.js")[0])
    environment.globals |= {"script": script, "script_hash": script_hash}
    return environment


def _inline(source: str) -> tuple[Markup, str]:
    source = source.replace("\r\n", "\n")  # as browsers read it before they compare the hash
    return Markup(source), content_hash(source)
