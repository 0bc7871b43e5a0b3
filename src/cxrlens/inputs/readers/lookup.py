"""Lookup tables of DICOM files (PS3.3 C.11.1, C.11.2, C.7.9), read by what they hold where their descriptor errs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers.elements import numbers, shown
from cxrlens.inputs.readers.radiograph import Note

Entries = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LookupTable:
    """One table.

    Attributes:
        entries: float64 [n], what the input values ``first``, ``first`` + 1 ... become.
        first: the input value of the first entry; values below it get that entry, values above the last the last.
        bits: of the entries, as the file says.
        remarks: where the descriptor was overruled.
    """

    entries: Entries
    first: int
    bits: int
    remarks: tuple[str, ...] = ()

    @property
    def needed_bits(self) -> int:
        """Bits that the largest entry needs."""
        return max(int(self.entries.max()).bit_length(), 1)

    def meets(self, low: float, high: float) -> bool:
        """True where inputs between the two get more than the table's first or last entry."""
        return self.first < high and self.first + len(self.entries) - 1 > low

    def __call__(self, inputs: npt.NDArray[Any]) -> Entries:
        """The inputs, any array of numbers, through the table."""
        places = np.clip(np.rint(inputs) - self.first, 0, len(self.entries) - 1)
        return self.entries[np.nan_to_num(places).astype(np.int64)]


def table_of(
    item: Dataset, prefix: str, what: str, inputs: tuple[float, float], name: str, *, big_endian: bool = False
) -> LookupTable | None:
    """The table of the elements ``{prefix}Descriptor`` and ``{prefix}Data``; None where one of them is empty.

    The descriptor yields to the data where they disagree: fewer entries than it says, 8-bit entries in words of 16
    bits, a first input value whose sign was lost.

    Args:
        what: the table's name in remarks.
        inputs: smallest and largest value that may come into the table.
        big_endian: byte order of words.

    Raises:
        UnreadableImageError: when the descriptor is not made of three whole numbers.
    """
    descriptor = numbers(item, f"{prefix}Descriptor")
    if not descriptor:  # without which pydicom cannot tell the type of the data
        return None
    content = item.get(f"{prefix}Data")
    if content in (None, "", b"", []):
        return None
    if len(descriptor) != 3 or any(value is None or not value.is_integer() for value in descriptor):
        raise UnreadableImageError(
            f"{name}: the descriptor of its {what} is '{shown(item, f'{prefix}Descriptor')}', not three whole numbers; "
            "correct the file"
        )
    said, first, bits = (int(value) for value in descriptor if value is not None)
    count = said % 65536 or 65536
    entries = _entries(content, count, bits, big_endian)
    if not len(entries):
        return None
    remarks: list[str] = []
    moved = _signed_as_needed(first, len(entries), inputs)
    if len(entries) < count:
        remark = f"Its {what} is said to have {count} entries and has {len(entries)}; the last one stands for the rest."
        remarks.append(remark if inputs[1] > moved + len(entries) - 1 else Note(remark))
    if moved != first:
        remark = f"Its {what} is said to begin at the value {first}, where no pixel lies; {moved} was taken."
        remarks.append(Note(remark))
    return LookupTable(entries, moved, bits, tuple(remarks))


def _entries(content: Any, count: int, bits: int, big_endian: bool) -> Entries:
    """At most ``count`` entries, from numbers, from words of 16 bits, or from bytes of 8."""
    if not isinstance(content, bytes):
        numbered = np.atleast_1d(np.asarray(content, dtype=np.int64)) & 0xFFFF
        if bits <= 8 and len(numbered) == (count + 1) // 2 < count:  # two entries in each word
            return np.frombuffer(numbered.astype("<u2").tobytes(), np.uint8)[:count].astype(np.float64)
        return numbered[:count].astype(np.float64)
    words = np.frombuffer(content[: len(content) // 2 * 2], ">u2" if big_endian else "<u2")
    packed = bits <= 8 and len(words) < count
    if packed and len(content) not in (count, count + 1):
        packed = not (words.size and words.max() < 256)
    if not packed:
        return words[:count].astype(np.float64)
    if big_endian:  # two entries in each word, the first of them in its lower byte (PS3.5, 8.1.1)
        content = words.astype("<u2").tobytes()
    return np.frombuffer(content, np.uint8)[:count].astype(np.float64)


def _signed_as_needed(first: int, count: int, inputs: tuple[float, float]) -> int:
    """The first input value, 65,536 less or more where only then any input meets the table."""
    low, high = inputs
    for moved in (first, first - 65536, first + 65536):
        if moved <= high and moved + count - 1 >= low:
            return moved
    return first
