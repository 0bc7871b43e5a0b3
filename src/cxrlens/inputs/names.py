"""Paths as names: text that any encoding of Unicode takes, and that leads back to the file."""

from __future__ import annotations

import re
from pathlib import Path

_BYTE = "\\udc"


def name_of(path: Path, root: Path) -> str:
    """The name of a file in records: its path below ``root``, or the whole path of one that lies elsewhere."""
    return text_of(path.relative_to(root) if path.is_relative_to(root) else path)


def path_of(name: str, root: Path) -> Path:
    """The file of a name that `name_of` gave."""
    if _BYTE not in name:
        return root / name
    return root / re.sub(r"\\(?:\\|udc([0-9a-f]{2}))", _unescaped, name)


def text_of(path: Path) -> str:
    """A path with forward slashes as text that any encoding of Unicode takes.

    Bytes that are no text stand as ``\\udcXX`` in it, and in such a path, or one that holds that text, backslashes are
    doubled, so that no two paths become one.
    """
    text = path.as_posix()
    escaped = re.sub("[\udc80-\udcff]", lambda byte: f"{_BYTE}{ord(byte[0]) - 0xDC00:02x}", text.replace("\\", "\\\\"))
    return escaped if _BYTE in escaped else text


def _unescaped(found: re.Match[str]) -> str:
    return chr(0xDC00 + int(found[1], 16)) if found[1] else "\\"
