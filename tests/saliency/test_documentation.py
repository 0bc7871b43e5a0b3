"""The table of methods in the documentation is that of the registry."""

from __future__ import annotations

from pathlib import Path

from cxrlens.saliency.methods import METHODS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods.md"


def test_the_table_lists_every_method_with_its_formula_and_source() -> None:
    rows = [f"| `{method.id}` | {method.formula} | {method.source} |" for method in METHODS.values()]
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("| `")] == rows
