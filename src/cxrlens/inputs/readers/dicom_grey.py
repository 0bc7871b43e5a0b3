"""Stored DICOM values to grey in [0, 1], bright = dense (DICOM PS3.3 C.7.6.3 and C.11)."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers import elements
from cxrlens.inputs.readers.lookup import LookupTable, table_of
from cxrlens.inputs.readers.radiograph import LUMA, Note, Pixels
from cxrlens.inputs.readers.reasons import one_line

log = logging.getLogger(__name__)

Values: TypeAlias = npt.NDArray[np.float64]
Step: TypeAlias = Callable[[npt.NDArray[Any]], Values]
Range: TypeAlias = tuple[float, float]

_MOST_LEVELS = 1 << 20
_DISPLAY_BITS = 8  # of an image without a window that is taken to be made for display
_TOO_WIDE = 4.0  # a window that is so many times as wide as all values that the pixels can have
_PIXELS_AT_ONCE = 1 << 18  # which bounds the memory that a step takes, to about that of a processor's cache
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")  # of windows
_WORD, _COMMON_BITS = 16, (8, 10, 12)  # bits of entries as files say, and as they are in words
_COLOURS = ("Red", "Green", "Blue")


@dataclass(frozen=True)
class Rescale:
    """Slope and intercept of the modality step; 1 and 0 where a file has none."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, stored: npt.NDArray[Any]) -> Values:
        return stored.astype(np.float64) * self.slope + self.intercept


@dataclass(frozen=True)
class Window:
    """A window of values that is shown from black, 0, to white, 1 (PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Attributes:
        centre: in values after the modality step; likewise ``width``.
        function: LINEAR, LINEAR_EXACT or SIGMOID.
        explanation: the file's words for it, "" where it has none.
    """

    centre: float
    width: float
    function: str = "LINEAR"
    explanation: str = ""

    def __call__(self, values: Values) -> Values:
        centre, width = self.centre, self.width
        if self.function == "SIGMOID":
            return 1 / (1 + np.exp(-4 * (values - centre) / width))
        if self.function == "LINEAR":
            centre, width = centre - 0.5, width - 1
        if not width:
            return (values > centre).astype(np.float64)
        return np.clip((values - centre) / width + 0.5, 0, 1)


@dataclass(frozen=True)
class Display:
    """How stored values become grey: modality step -> VOI LUT or window -> polarity.

    Attributes:
        window: what is shown from black to white; None where a VOI LUT says it.
        inverse: low values are bright.
        name: stands for the file in messages.
    """

    modality: Rescale | LookupTable
    contrast: Step
    window: Window | None
    inverse: bool
    name: str

    def __call__(self, stored: npt.NDArray[Any]) -> Values:
        values = _finite(self.modality(stored), self.name)
        grey = np.clip(_finite(self.contrast(values), self.name), 0, 1)
        return 1 - grey if self.inverse else grey


def grey_of_colour(rgb: npt.NDArray[Any], dataset: Dataset, *, palette: bool = False) -> Pixels:
    """The luma of values [rows, columns, 3], the full range of their bits being [0, 1]."""
    top = int(np.iinfo(rgb.dtype).max) if palette else 2 ** int(dataset.BitsStored) - 1
    weights = (LUMA / top).astype(np.float32)
    return _by_rows(rgb, lambda part: np.clip(part.astype(np.float32) @ weights, 0, 1))


def grey_of_palette(stored: npt.NDArray[Any], dataset: Dataset, name: str, remarks: list[str]) -> Pixels:
    """Numbers of colours [rows, columns] -> luma, the full range of the palette's entries being [0, 1].

    Raises:
        UnreadableImageError: when a part of the palette is missing.
    """
    if "SegmentedRedPaletteColorLookupTableData" in dataset:
        return grey_of_colour(apply_color_lut(stored, dataset)[..., :3], dataset, palette=True)
    tables = []
    for colour in _COLOURS:
        inputs = float(stored.min()), float(stored.max())
        prefix = f"{colour}PaletteColorLookupTable"
        table = table_of(dataset, prefix, f"{colour.lower()} palette", inputs, name, big_endian=_big_endian(dataset))
        if table is None:
            raise UnreadableImageError(f"{name}: its {colour.lower()} palette is missing; export it without a palette")
        remarks.extend(table.remarks)
        tables.append(table)
    bits, needed = max(table.bits for table in tables), max(table.needed_bits for table in tables)
    if needed > bits or (needed <= 8 < bits):
        said, bits = bits, max(needed, 8)
        remark = f"Its palette is said to have {said} bits and uses {needed}; the range of {bits} was taken."
        remarks.append(Note(remark) if bits < said else remark)

    def luma(part: npt.NDArray[Any]) -> Values:
        return sum(weight * table(part) for weight, table in zip(LUMA, tables, strict=True)) / (2**bits - 1)

    return _by_rows(stored, luma)


def grey_of_stored(stored: npt.NDArray[Any], dataset: Dataset, name: str, remarks: list[str]) -> Pixels:
    """Whole numbers [rows, columns] -> grey; padding is black and does not count.

    Each stored level is taken through all steps once, then looked up for the pixels.

    Args:
        remarks: is added to where the data set was taken to mean something else than it says.

    Raises:
        UnreadableImageError: when a table or window of the data set cannot be used.
    """
    padding = padding_of(stored, dataset, remarks)
    shown = stored if padding is None else stored[~padding]
    if not shown.size:
        return np.zeros(stored.shape, dtype=np.float32)
    low, high = int(shown.min()), int(shown.max())
    display = display_of(dataset, (low, high), name, remarks)
    if high - low < _MOST_LEVELS:
        levels = display(np.arange(low, high + 1)).astype(np.float32)
        pixels = _by_rows(stored, lambda part: levels.take(np.subtract(part, low, dtype=np.int64), mode="clip"))
    else:
        pixels = _by_rows(stored, lambda part: display(np.clip(part, low, high)))
    if padding is not None:
        pixels[padding] = 0
    return pixels


def _by_rows(stored: npt.NDArray[Any], step: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Pixels:
    """The step applied to a few rows at once."""
    pixels = np.empty(stored.shape[:2], dtype=np.float32)
    rows = max(1, _PIXELS_AT_ONCE // max(1, stored.shape[1]))
    for begin in range(0, len(stored), rows):
        pixels[begin : begin + rows] = step(stored[begin : begin + rows])
    return pixels


# -- padding ----------------------------------------------------------------------------------------------------------


def padding_of(stored: npt.NDArray[Any], dataset: Dataset, remarks: list[str]) -> npt.NDArray[np.bool_] | None:
    """True for pixels that only fill the frame; the two ends of their range may be given in either order."""
    first, last = (_padding_value(dataset, keyword) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if first is None:
        return None
    low, high = sorted((first, first if last is None else last))
    if high < stored.min() or low > stored.max():
        _remark_lost_sign(stored, low, high, remarks)
        return None
    padding: npt.NDArray[np.bool_] = (stored >= low) & (stored <= high)
    if not padding.any():
        return None
    return _without_inner(padding, stored, dataset, remarks)


def _padding_value(dataset: Dataset, keyword: str) -> int | None:
    """The first whole number; for signed pixels, one that was written without its sign gets it back."""
    found = elements.numbers(dataset, keyword)
    value = found[0] if found else None
    if value is None or not value.is_integer():
        return None
    bits = int(dataset.BitsAllocated)
    lost = bool(dataset.get("PixelRepresentation")) and 2 ** (bits - 1) <= value < 2**bits
    return int(value) - (2**bits if lost else 0)


def _remark_lost_sign(stored: npt.NDArray[Any], low: int, high: int, remarks: list[str]) -> None:
    """Of unsigned pixels and a negative padding value that is one of theirs if its sign is taken for a bit."""
    if low == high < 0 and stored.dtype.kind == "u" and (stored == low % 2**16).any():
        remarks.append(
            f"Its padding value {low} is none that its pixels can have; pixels of {low % 2**16} were shown as they are."
        )


def _without_inner(
    padding: npt.NDArray[np.bool_], stored: npt.NDArray[Any], dataset: Dataset, remarks: list[str]
) -> npt.NDArray[np.bool_]:
    """The padding that reaches the frame's edge, where it would be bright if it were none.

    Padding fills the frame up to its edge. Pixels of the same value within the picture are saturated ones, metal first
    of all. Dark ones are black in either case.
    """
    rest = stored[~padding]
    if not rest.size or padding.all():
        return padding
    inverse = _is_inverse(dataset)
    value = stored[padding]
    dark = value.min() >= rest.max() if inverse else value.max() <= rest.min()
    if dark:
        return padding
    from scipy import ndimage  # only here, as it takes long to import

    areas, _ = ndimage.label(padding, structure=np.ones((3, 3)))
    edge = np.unique(np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]]))
    outer: npt.NDArray[np.bool_] = padding & np.isin(areas, edge)
    inner = int(padding.sum() - outer.sum())
    if inner:
        remarks.append(
            f"{inner} pixels within the picture have its padding value "
            f"{elements.shown(dataset, 'PixelPaddingValue')}; they were shown as pixels, not as padding."
        )
    return outer


# -- from stored values to grey ---------------------------------------------------------------------------------------


def display_of(dataset: Dataset, stored: tuple[int, int], name: str, remarks: list[str]) -> Display:
    """Stored values -> modality LUT or rescale -> first VOI LUT, else first window -> polarity, in [0, 1].

    Without VOI LUT and window: of up to 8 bits the full range, as in any other picture file; of more bits, which hold
    a detector's values, the range between the smallest and the largest of the pixels, ``stored``.
    """
    bits = int(dataset.BitsStored)
    lowest = -(2 ** (bits - 1)) if dataset.get("PixelRepresentation") else 0
    modality = _modality(dataset, (lowest, lowest + 2**bits - 1), name, remarks)

    def through(ends: tuple[int, int]) -> Range:
        """Smallest and largest of the values between the two ends, after the modality step."""
        wide = ends[1] - ends[0] >= _MOST_LEVELS
        found = _finite(modality(np.array(ends) if wide else np.arange(ends[0], ends[1] + 1)), name)
        return float(found.min()), float(found.max())

    possible, present = through((lowest, lowest + 2**bits - 1)), through(stored)
    table = _voi_table(dataset, present, name, remarks)
    window = None if table is not None else _window(dataset, possible, present, name, remarks)
    contrast = table or window
    if contrast is None:
        whole = possible if bits <= _DISPLAY_BITS else present
        contrast, window = _stretched(*whole), _range(*whole)
    if elements.text(dataset, "PresentationIntentType") == "FOR PROCESSING":
        _say_once("DICOM files 'for processing', whose contrast is the detector's: use those 'for presentation'")
    return Display(modality, contrast, window, _is_inverse(dataset), name)


def _is_inverse(dataset: Dataset) -> bool:
    shape = elements.text(dataset, "PresentationLUTShape")
    return bool(dataset.PhotometricInterpretation == "MONOCHROME1" or shape == "INVERSE")


def _stretched(low: float, high: float) -> Step:
    return lambda values: (values - low) / (high - low) if high > low else np.zeros(values.shape)


def _range(low: float, high: float) -> Window:
    """The window that shows the values from low to high, or one value as black."""
    return Window((low + high) / 2, high - low, "LINEAR_EXACT") if high > low else Window(low + 0.5, 1, "LINEAR_EXACT")


def _finite(values: Values, name: str) -> Values:
    if not np.isfinite(values).all():
        raise UnreadableImageError(f"{name}: its rescale or window values give pixels that are not finite")
    return values


def _modality(dataset: Dataset, possible: tuple[int, int], name: str, remarks: list[str]) -> Rescale | LookupTable:
    """PS3.3 C.11.1: a table, or slope and intercept, or the stored values themselves."""
    slope, intercept = (_rescale(dataset, keyword, name) for keyword in ("RescaleSlope", "RescaleIntercept"))
    rescaled = slope is not None and intercept is not None
    table = _first_table(dataset, "ModalityLUTSequence", "modality LUT", possible, name, needed=not rescaled)
    if table is not None:
        remarks.extend(table.remarks)
        return table
    if slope is None or intercept is None:
        return Rescale()
    if slope == 0:
        remarks.append("Its rescale slope is 0, which would make all pixels alike; the rescale was left out.")
        return Rescale()
    return Rescale(slope, intercept)


def _rescale(dataset: Dataset, keyword: str, name: str) -> float | None:
    found = elements.numbers(dataset, keyword)
    if not found or elements.shown(dataset, keyword) == "":
        return None
    if found[0] is None:
        raise UnreadableImageError(
            f"{name}: its {keyword} is '{elements.shown(dataset, keyword)}', which is no number; correct the file"
        )
    return found[0]


# -- tables -----------------------------------------------------------------------------------------------------------


def _first_table(
    dataset: Dataset, keyword: str, what: str, inputs: Range, name: str, *, needed: bool
) -> LookupTable | None:
    """The first table of a sequence that is not empty.

    Raises:
        UnreadableImageError: when all are empty and nothing else in the data set can take their place (``needed``).
    """
    items = elements.values(dataset, keyword)
    for item in items:
        table = table_of(item, "LUT", what, inputs, name, big_endian=_big_endian(dataset))
        if table is not None:
            return table
    if items and needed:
        raise UnreadableImageError(f"{name}: a lookup table of the file is empty; correct the file")
    return None


def _voi_table(dataset: Dataset, present: Range, name: str, remarks: list[str]) -> Step | None:
    windowed = bool(_windows(dataset))
    table = _first_table(dataset, "VOILUTSequence", "VOI LUT", present, name, needed=not windowed)
    if table is None:
        return None
    if present[0] < present[1] and not table.meets(*present):
        remarks.append(
            f"Its VOI LUT is for the values {table.first} to {table.first + len(table.entries) - 1}, its pixels have "
            f"{present[0]:g} to {present[1]:g}; the table was left out."
        )
        return None
    if len(elements.values(dataset, "VOILUTSequence")) > 1 or windowed:
        _say_once("DICOM files with several VOI LUTs or windows: the first VOI LUT is taken")
    remarks.extend(table.remarks)
    bits, needed = table.bits, table.needed_bits
    flat = table.entries.min() == table.entries.max()
    if needed > bits or not 1 <= bits <= 16 or (needed < bits and not flat):
        remark = (
            f"Its VOI LUT is said to have entries of {bits} bits, and they reach {table.entries.max():.0f}; "
            f"the range of {needed} bits was taken."
        )
        remarks.append(Note(remark) if bits == _WORD and needed in _COMMON_BITS else remark)
        bits = needed
    return lambda values: table(values) / (2**bits - 1)


def _big_endian(dataset: Dataset) -> bool:
    return dataset.original_encoding[1] is False


# -- windows ----------------------------------------------------------------------------------------------------------


def windows_of(dataset: Dataset) -> list[Window]:
    """The windows that can show anything, in the order of the file."""
    return [window for window in _windows(dataset) if _can_show(window)]


def _windows(dataset: Dataset) -> list[Window]:
    """The windows of which centre and width are given."""
    centres, widths = elements.numbers(dataset, "WindowCenter"), elements.numbers(dataset, "WindowWidth")
    words = [one_line(str(word), 60) for word in elements.values(dataset, "WindowCenterWidthExplanation")]
    words += [""] * (len(centres) - len(words))
    function = elements.text(dataset, "VOILUTFunction").upper() or "LINEAR"
    return [
        Window(centre, width, function, word)
        for centre, width, word in zip(centres, widths, words, strict=False)
        if centre is not None and width is not None
    ]


def _window(dataset: Dataset, possible: Range, present: Range, name: str, remarks: list[str]) -> Window | None:
    """The first window; None where there is none, or none that can be meant for such pixels.

    Args:
        possible: smallest and largest value that the pixels can have, and ``present``, have.
    """
    windows = _windows(dataset)
    if not windows:
        said = [elements.shown(dataset, keyword) for keyword in ("WindowCenter", "WindowWidth")]
        if all(text.replace("\\", "") for text in said):
            remarks.append(f"Its window is '{said[0]}' / '{said[1]}', not two numbers; it was left out.")
        return None
    centre, width, function = windows[0].centre, windows[0].width, windows[0].function
    _check_window(windows[0], name)
    low, high = centre - width / 2, centre + width / 2
    if width >= _TOO_WIDE * (possible[1] - possible[0] + 1):
        remarks.append(
            f"Its window of {centre:g} / {width:g} (centre / width) is for more bits than its pixels have, which can "
            f"be {possible[0]:g} to {possible[1]:g}; the window was left out."
        )
        return None
    if present[0] < present[1] and function != "SIGMOID" and (present[1] <= low or present[0] >= high):
        remarks.append(
            f"Its window of {centre:g} / {width:g} (centre / width) would show none of its pixels, which are "
            f"{present[0]:g} to {present[1]:g}; the window was left out."
        )
        return None
    if len(elements.values(dataset, "WindowWidth")) > 1:
        _say_once(f"DICOM files with several windows{_explanations(dataset)}: the first one is taken")
    return windows[0]


def _check_window(window: Window, name: str) -> None:
    _finite(np.array([window.centre, window.width]), name)
    if not _is_wide_enough(window):
        raise UnreadableImageError(
            f"{name}: its window has the width {window.width:g}, which shows nothing; correct the file"
        )
    if window.function not in _FUNCTIONS:
        raise UnreadableImageError(
            f"{name}: its window function '{one_line(window.function)}' is unknown; correct the file"
        )


def _can_show(window: Window) -> bool:
    finite = bool(np.isfinite([window.centre, window.width]).all())
    return finite and _is_wide_enough(window) and window.function in _FUNCTIONS


def _is_wide_enough(window: Window) -> bool:
    return bool(window.width >= (1 if window.function == "LINEAR" else np.finfo(float).tiny))


def _explanations(dataset: Dataset) -> str:
    found = elements.values(dataset, "WindowCenterWidthExplanation")
    return f" ({one_line(', '.join(map(str, found)))})" if len(found) > 1 else ""


@functools.cache
def _say_once(what: str) -> None:
    """In each process; a folder of ten thousand files has few different things to say."""
    log.info("%s", what)
