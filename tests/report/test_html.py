"""Pages: everything is escaped, embedded and offline; a missing value is an error."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import jinja2
import pytest

from browsing import Page
from cxrlens.report.html import data_uri, numeric_columns, render_page

EVIL = "<script>alert(1)</script>.jpg"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'


def context(tmp_path: Path, text: str = EVIL) -> dict[str, Any]:
    figure = tmp_path / "figure.svg"
    figure.write_bytes(SVG)
    return {
        "title": text,
        "intro": [text],
        "facts": [(text, text)],
        "figures": [{"title": text, "path": figure, "alt": f'{text}" onload="x', "caption": text}],
        "tables": [{"title": text, "columns": [text, "Score"], "rows": [[text, "0.9"], ["b", "–"]], "note": text}],
        "commands": [(text, text)],
        "footer": [text],
    }


def rendered(tmp_path: Path, **values: Any) -> Page:
    output = render_page("report.html.jinja", tmp_path / "README.html", **values)
    assert output == tmp_path / "README.html"
    return Page(output.read_text("utf-8"))


def test_every_value_is_shown_and_escaped(tmp_path: Path) -> None:
    page = rendered(tmp_path, **context(tmp_path))
    assert page.named("script") == [{}]  # the page's own
    shown = {"title": 2, "intro": 1, "fact": 2, "figure": 2, "table": 4, "command": 2, "footer": 1}
    assert page.text.count(EVIL) == sum(shown.values())
    (image,) = page.named("img")
    assert image["alt"] == f'{EVIL}" onload="x'
    assert set(image) == {"src", "alt"}


def test_the_page_asks_the_network_for_nothing(tmp_path: Path) -> None:
    page = rendered(tmp_path, **context(tmp_path))
    addresses = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert addresses == [f"data:image/svg+xml;base64,{base64.b64encode(SVG).decode()}"]
    source = (tmp_path / "README.html").read_text("utf-8")
    assert "url(" not in source
    assert "@import" not in source
    (policy,) = [tag["content"] for tag in page.named("meta") if "http-equiv" in tag]
    directives = dict(part.split(maxsplit=1) for part in str(policy).split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["img-src"] == "data:"
    assert not any("http" in value or "*" in value for value in directives.values())


def test_the_policy_allows_the_pages_own_script_alone(tmp_path: Path) -> None:
    page = rendered(tmp_path, **context(tmp_path))
    (script,) = re.findall(r"<script>(.*?)</script>", (tmp_path / "README.html").read_text("utf-8"), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [tag["content"] for tag in page.named("meta") if "http-equiv" in tag]
    assert f"script-src 'sha256-{digest}';" in str(policy)
    assert [tag.get("class") for tag in page.named("table")] == ["sortable"]


def test_columns_of_numbers_are_flush_right_in_head_and_body(tmp_path: Path) -> None:
    page = rendered(tmp_path, **context(tmp_path, "name"))
    assert [tag.get("class") for tag in page.named("th")] == [None, "number"]
    assert [tag.get("class") for tag in page.named("td")] == [None, "number", None, "number"]


@pytest.mark.parametrize(
    ("cell", "numeric"),
    [
        *((number, True) for number in ("438", "-0.5", "−0.5", "1,200", "1e-3", "90.2 %", "15 px", "4.2 s")),
        *((number, True) for number in ("0.86 [0.83, 0.89]", "0.86 (0.83 to 0.89)", "0.83 to 0.89")),
        *((text, False) for text in ("08002.jpg", "resnet34", "2 cores used", "", "–", "12-lead", "3x3")),
    ],
)
def test_numeric_columns(cell: str, numeric: bool) -> None:
    assert numeric_columns([[cell]]) == [numeric]
    assert numeric_columns([[cell], ["name"]]) == [False]
    assert numeric_columns([[cell], ["n/a"]]) == [numeric]


def test_a_page_without_any_part_still_renders(tmp_path: Path) -> None:
    empty: dict[str, Any] = {name: [] for name in context(tmp_path)} | {"title": "胸片"}
    page = rendered(tmp_path, **empty)
    assert "胸片" in page.text
    assert page.named("table") == page.named("figure") == page.named("pre") == []
    empty["tables"] = [{"title": "t", "columns": ["a"], "rows": [], "note": ""}]
    assert len(rendered(tmp_path, **empty).named("th")) == 1


@pytest.mark.parametrize("missing", ["title", "facts", "footer"])
def test_a_missing_value_is_an_error_and_writes_nothing(tmp_path: Path, missing: str) -> None:
    values = context(tmp_path)
    del values[missing]
    with pytest.raises(jinja2.UndefinedError, match=missing):
        render_page("report.html.jinja", tmp_path / "README.html", **values)
    assert [path.name for path in tmp_path.iterdir()] == ["figure.svg"]


def test_a_page_is_replaced_whole(tmp_path: Path) -> None:
    rendered(tmp_path, **context(tmp_path, "earlier"))
    page = rendered(tmp_path, **context(tmp_path, "later"))
    assert "earlier" not in page.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.html", "figure.svg"]


def test_a_name_that_is_not_unicode_is_written(tmp_path: Path) -> None:
    assert "bad?.jpg" in rendered(tmp_path, **context(tmp_path, "bad\udcff.jpg")).text


def test_data_uri_knows_only_pictures(tmp_path: Path) -> None:
    picture = tmp_path / "a.PNG"
    picture.write_bytes(b"\x89PNG")
    assert data_uri(picture) == "data:image/png;base64,iVBORw=="
    photograph = tmp_path / "a.jpg"
    photograph.write_bytes(b"\xff\xd8\xff")
    assert data_uri(photograph) == "data:image/jpeg;base64,/9j/"
    with pytest.raises(ValueError, match=r"notes\.txt"):
        data_uri(tmp_path / "notes.txt")
