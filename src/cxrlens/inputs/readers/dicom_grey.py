"""Stored DICOM values to grey in [0, 1], bright = dense (DICOM PS3.3 C.7.6.3 and C.11)."""

from __future__ import annotations

import functools
import logging
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers.radiograph import LUMA, Pixels
from cxrlens.inputs.readers.reasons import one_line

log = logging.getLogger(__name__)

_MOST_LEVELS = 1 << 20
_DISPLAY_BITS = 8  # of an image without a window that is taken to be made for display


def grey_of_colour(rgb: npt.NDArray[Any], dataset: Dataset) -> Pixels:
    """The luma of values [rows, columns, 3], the full range of their bits being [0, 1]."""
    palette = dataset.PhotometricInterpretation == "PALETTE COLOR"
    top = np.iinfo(rgb.dtype).max if palette else 2 ** int(dataset.BitsStored) - 1
    return np.clip(rgb.astype(np.float32) @ (LUMA / top).astype(np.float32), 0, 1)


def grey_of_stored(stored: npt.NDArray[Any], dataset: Dataset, name: str) -> Pixels:
    """Whole numbers [rows, columns] -> grey; padding is black and does not count.

    Each stored level is taken through all steps once, then looked up for the pixels.

    Raises:
        UnreadableImageError: when a table or window of the data set cannot be used.
    """
    padding = _padding(stored, dataset)
    shown = stored if padding is None else stored[~padding]
    if not shown.size:
        return np.zeros(stored.shape, dtype=np.float32)
    low, high = int(shown.min()), int(shown.max())
    within = np.clip(stored, low, high)
    if high - low < _MOST_LEVELS:
        levels = _displayed(np.arange(low, high + 1), dataset, name).astype(np.float32)
        pixels = levels[within.astype(np.int64) - low]
    else:
        pixels = _displayed(within, dataset, name).astype(np.float32)
    if padding is not None:
        pixels[padding] = 0
    return pixels


def _padding(stored: npt.NDArray[Any], dataset: Dataset) -> npt.NDArray[np.bool_] | None:
    """Which pixels only fill the frame; the two ends of their range may be given in either order."""
    first = dataset.get("PixelPaddingValue")
    if first is None:
        return None
    last = dataset.get("PixelPaddingRangeLimit")
    low, high = np.sort(np.array([first, first if last is None else last]).astype(stored.dtype))
    padding: npt.NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return padding


def _displayed(stored: npt.NDArray[Any], dataset: Dataset, name: str) -> npt.NDArray[np.float64]:
    """Stored values -> modality LUT or rescale -> first VOI LUT, else first window -> polarity, in [0, 1].

    Without VOI LUT and window: of up to 8 bits the full range, as in any other picture file; of more bits, which hold
    a detector's values, the range between the smallest and the largest of ``stored``.
    """
    values = _finite(_modality(stored, dataset, name), name)
    centre, width = _first(dataset, "WindowCenter"), _first(dataset, "WindowWidth")
    tables = dataset.get("VOILUTSequence")
    if tables:
        if len(tables) > 1 or width is not None:
            _say_once("DICOM files with several VOI LUTs or windows: the first VOI LUT is taken")
        grey, bits = _looked_up(values, tables[0], dataset, name)
        grey = grey / (2**bits - 1)
    elif centre is not None and width is not None:
        if dataset["WindowWidth"].VM > 1:
            _say_once(f"DICOM files with several windows{_explanations(dataset)}: the first one is taken")
        grey = _windowed(values, centre, width, str(dataset.get("VOILUTFunction") or "LINEAR").upper(), name)
    else:
        bits = int(dataset.BitsStored)
        full = np.array([0, 2**bits - 1]) - (2 ** (bits - 1) if dataset.get("PixelRepresentation") else 0)
        ends = _modality(full, dataset, name) if bits <= _DISPLAY_BITS else values
        low, high = float(ends.min()), float(ends.max())
        grey = (values - low) / (high - low) if high > low else np.zeros(values.shape)
    grey = np.clip(_finite(grey, name), 0, 1)
    if dataset.get("PresentationIntentType") == "FOR PROCESSING":
        _say_once("DICOM files 'for processing', whose contrast is the detector's: use those 'for presentation'")
    inverse = dataset.PhotometricInterpretation == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE"
    return 1 - grey if inverse else grey


def _finite(values: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
    if not np.isfinite(values).all():
        raise UnreadableImageError(f"{name}: its rescale or window values give pixels that are not finite")
    return values


def _modality(stored: npt.NDArray[Any], dataset: Dataset, name: str) -> npt.NDArray[np.float64]:
    """PS3.3 C.11.1: a table, or slope and intercept, or the stored values themselves."""
    tables = dataset.get("ModalityLUTSequence")
    if tables:
        return _looked_up(stored, tables[0], dataset, name)[0]
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None:
        return stored.astype(np.float64)
    return stored.astype(np.float64) * float(slope) + float(intercept)


def _windowed(
    values: npt.NDArray[np.float64], centre: float, width: float, function: str, name: str
) -> npt.NDArray[np.float64]:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, the output range being [0, 1]."""
    _finite(np.array([centre, width]), name)
    if not width >= (1 if function == "LINEAR" else np.finfo(float).tiny):
        raise UnreadableImageError(f"{name}: its window has the width {width:g}, which shows nothing; correct the file")
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    elif function != "LINEAR_EXACT":
        raise UnreadableImageError(f"{name}: its window function '{one_line(function)}' is unknown; correct the file")
    if not width:
        return (values > centre).astype(np.float64)
    return np.clip((values - centre) / width + 0.5, 0, 1)


def _looked_up(
    values: npt.NDArray[Any], item: Dataset, dataset: Dataset, name: str
) -> tuple[npt.NDArray[np.float64], int]:
    """Values through one LUT, and the bits of its entries; what lies beyond the table gets its first or last entry.

    Not with pydicom's functions: theirs count a table of 8-bit entries with 8-bit indices, and know no 12-bit ones.
    """
    if item.get("LUTDescriptor") is None or not item.get("LUTData"):
        raise UnreadableImageError(f"{name}: a lookup table of the file is empty; correct the file")
    count, first, bits = (int(value) for value in item.LUTDescriptor)
    count = count % 65536 or 65536
    data = item.LUTData
    if isinstance(data, bytes):
        _, little = dataset.original_encoding
        word = "u1" if len(data) < 2 * count else ">u2" if little is False else "<u2"
        data = np.frombuffer(data[: len(data) // np.dtype(word).itemsize * np.dtype(word).itemsize], word)
    table = np.atleast_1d(np.asarray(data, dtype=np.float64))[:count]
    places = np.clip(np.rint(values) - first, 0, len(table) - 1)
    return table[np.nan_to_num(places).astype(np.int64)], bits


def _first(dataset: Dataset, keyword: str) -> float | None:
    found = dataset.get(keyword)
    if found is None or found == "":
        return None
    return float(found[0]) if dataset[keyword].VM > 1 else float(found)


def _explanations(dataset: Dataset) -> str:
    found = dataset.get("WindowCenterWidthExplanation")
    return f" ({one_line(', '.join(map(str, found)))})" if found and not isinstance(found, str) else ""


@functools.cache
def _say_once(what: str) -> None:
    """In each process; a folder of ten thousand files has few different things to say."""
    log.info("%s", what)
