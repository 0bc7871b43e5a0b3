"""What the package imports is what it declares."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
OPTIONAL = {"captum"}  # asked for by name alone, with a sentence where it is missing


def imported() -> set[str]:
    """The top-level names of all imports of the package that are not Python's own."""
    names = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(str(node.module).split(".")[0])
    return names - sys.stdlib_module_names - {"cxrlens"} - OPTIONAL


def test_every_import_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    of_users = [requirement for extra, each in extras.items() if extra != "test" for requirement in each]
    listed = [*project["dependencies"], *of_users]
    declared = {_normal(re.split(r"[<>=\[; ]", requirement)[0]) for requirement in listed}
    homes = packages_distributions()
    undeclared = {name for name in imported() if not {_normal(home) for home in homes.get(name, [])} & declared}
    assert not undeclared


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
