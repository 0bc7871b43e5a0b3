"""Python processes into which nothing comes from the folder that they, or this one, were started in."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

_PACKAGE = Path(__file__).parents[2]
_BEGIN: Final = (
    "import sys, importlib.util as util\n"
    "spec = util.spec_from_file_location({name!r}, {start!r}, submodule_search_locations=[{folder!r}])\n"
    "sys.modules[{name!r}] = package = util.module_from_spec(spec)\n"
    "sys.path.extend(path for path in {paths!r} if path not in sys.path)\n"
    "spec.loader.exec_module(package)\n"
)

SAFE_FOLDER: Final = str(Path(sys.executable).absolute().anchor or os.sep)
"""To start such a process in."""


def isolated(statement: str) -> list[str]:
    """The command of a Python process that executes a statement, with this very package and what it needs.

    Python's isolated mode: neither the working folder nor PYTHONPATH are searched for modules. What this process finds
    elsewhere is found there too, behind the standard library and what is installed, so that no file takes the place of
    a module of theirs.
    """
    here = os.path.realpath(os.curdir)
    paths = [str(Path(path).absolute()) for path in sys.path if path and os.path.realpath(path) != here]
    begin = _BEGIN.format(name=_PACKAGE.name, start=str(_PACKAGE / "__init__.py"), folder=str(_PACKAGE), paths=[*paths])
    return [sys.executable, "-I", "-c", begin + statement]
