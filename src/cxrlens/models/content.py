"""What a model's or a weights file is, by the bytes that it begins with: names end as people like."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, TypeAlias

Content: TypeAlias = Literal["safetensors", "torch", "bundle", "other"]

BUNDLE_CONTENTS: Final = "cxrlens-models.json"
"""The first member of a bundle of models, which lists them."""

_ZIP: Final = b"PK\x03\x04"
_ZIP_NAME: Final = 30  # where a ZIP archive has the name of its first member
_PICKLES: Final = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
_LONGEST_HEADER: Final = 100_000_000  # bytes, of safetensors


def content_of(path: Path) -> Content:
    """What a file is, whole or cut short; "other" also where it cannot be read.

    "torch" is a ZIP archive or a pickle, as `torch.save` writes them.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
    except OSError:
        return "other"
    if head.startswith(_ZIP):
        return "bundle" if head[_ZIP_NAME:].startswith(BUNDLE_CONTENTS.encode()) else "torch"
    if head.startswith(_PICKLES):
        return "torch"
    is_header = head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _LONGEST_HEADER
    return "safetensors" if is_header else "other"


def bundle_sentence(path: Path) -> str:
    """The sentence on a bundle that is given where one model is meant."""
    return f"{path}: is a bundle of models, which are used by their names; first: cxrlens model add {path}"
