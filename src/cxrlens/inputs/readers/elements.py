"""The values of DICOM elements as they stand in files: several where one is due, empty, text for numbers."""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import Any

from pydicom import Dataset
from pydicom.tag import Tag

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers.reasons import one_line


def values(dataset: Dataset, keyword: str) -> list[Any]:
    """All values of an element, of any number and type; none where it is missing or empty.

    What pydicom cannot take for the type of the element comes as the text that stands in the file.
    """
    try:
        found = dataset.get(keyword)
    except Exception:  # pydicom converts when it is asked, and names no set of errors
        raw = dataset.get_item(Tag(keyword))
        content = getattr(raw, "value", None)
        if not isinstance(content, bytes):
            return []
        return [part.strip(" \0") for part in content.decode("latin-1").split("\\")]
    if found is None or found == "":
        return []
    return list(found) if isinstance(found, (MutableSequence, tuple)) else [found]


def numbers(dataset: Dataset, keyword: str) -> list[float | None]:
    """The values as numbers, None standing for each that is empty or no number."""
    return [_number(value) for value in values(dataset, keyword)]


def text(dataset: Dataset, keyword: str) -> str:
    """The first value as text without blanks around it; empty where there is none."""
    found = values(dataset, keyword)
    return str(found[0]).strip() if found and found[0] is not None else ""


def shown(dataset: Dataset, keyword: str) -> str:
    """All values on one line, for messages."""
    return one_line("\\".join("" if value is None else str(value) for value in values(dataset, keyword)), 60)


def whole_number(dataset: Dataset, keyword: str, name: str) -> int | None:
    """The one whole number of an element; None where it is missing or empty.

    Raises:
        UnreadableImageError: when it holds anything else, or several numbers that differ.
    """
    found = set(numbers(dataset, keyword))
    if not values(dataset, keyword):
        return None
    value = found.pop()
    if found or value is None or not value.is_integer():
        raise UnreadableImageError(
            f"{name}: the element {keyword} is '{shown(dataset, keyword)}', which is no whole number; correct the file"
        )
    return int(value)


def _number(value: Any) -> float | None:
    if value is None or isinstance(value, (bytes, Dataset)):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
