"""The ids of Object-CXR's images (JF Healthcare, MIDL 2020), by which its splits are recognised."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

PUBLISHED_IDS: Final = {"train": range(1, 8001), "dev": range(8001, 9001), "test": range(9001, 10001)}
LIKE: Final = 0.9
"""Share of the images whose names are ids of a split, from which on they are that split."""

_FEWEST: Final = 50


def published_id(name: str) -> int:
    """The number of a file name of five digits; 0, which is no id, for others."""
    match = re.match(r"(\d{5})\.\w+$", name)
    return int(match[1]) if match else 0


def published_split(names: Collection[str]) -> str | None:
    """The published split, "train", "dev" or "test", that images of these file names are, wherever they lie.

    None for fewer than fifty images, and where more than a tenth of the names are no ids of one split.
    """
    if len(names) < _FEWEST:
        return None
    numbers = [published_id(name) for name in names]
    for split, ids in PUBLISHED_IDS.items():
        if sum(number in ids for number in numbers) >= LIKE * len(numbers):
            return split
    return None
