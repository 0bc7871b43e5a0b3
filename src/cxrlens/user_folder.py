"""The folders of this user in which the program keeps what is its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from cxrlens.errors import UsageError


def user_folder(variable: str, standard: str, place: Callable[..., str], remedy: str, *, inside: str = "") -> Path:
    """The platform's folder for this program, unless the user has named another.

    Args:
        variable: of the environment; names the folder itself.
        standard: the XDG variable that names the folder of all programs, on macOS and Windows too.
        place: of platformdirs.
        remedy: what is kept there, and how another folder is named; it ends the error's sentence.
        inside: name of the folder within the program's own, where the user has named none.

    Raises:
        UsageError: when this user has no home.
    """
    if named := os.environ.get(variable):
        return Path(named)
    if of_all := os.environ.get(standard):
        return Path(of_all) / "cxrlens" / inside
    try:
        folder = place("cxrlens", appauthor=False)
    except RuntimeError:
        folder = "~"
    if folder.startswith("~"):  # as earlier versions of platformdirs leave it
        raise UsageError(f"this user has no home folder, where {remedy}")
    return Path(folder) / inside
