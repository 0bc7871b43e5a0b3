"""The table of methods in the documentation is that of the registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrlens.errors import UsageError
from cxrlens.saliency.catalogue import COLUMNS, END, markdown, rewrite, rows
from cxrlens.saliency.methods import METHODS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods.md"


def test_the_page_is_as_the_registry_would_write_it(tmp_path: Path) -> None:
    copy = tmp_path / "methods.md"
    copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    rewrite(copy)
    assert copy.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8"), "run: make docs"


def test_the_table_has_a_row_per_method_and_escapes_bars() -> None:
    assert [row[0] for row in rows()] == list(METHODS)
    assert all(all(row) and len(row) == len(COLUMNS) for row in rows())
    lines = markdown().splitlines()
    assert len(lines) == 2 + len(METHODS)
    bars = {line.replace("\\|", "").count("|") for line in lines}
    assert bars == {len(COLUMNS) + 1}


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(END)
    with pytest.raises(UsageError, match="page"):
        rewrite(page)
