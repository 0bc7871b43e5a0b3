"""A radiograph at full resolution and full depth: its values as the file stores them, and how they are to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.readers import decode, elements
from cxrlens.inputs.readers.dicom import START, is_dicom, read_stored, spacing_of
from cxrlens.inputs.readers.dicom_grey import Display, Rescale, Window, display_of, padding_of, windows_of
from cxrlens.inputs.readers.quiet import without_warnings
from cxrlens.inputs.readers.reasons import reason_of

Levels: TypeAlias = npt.NDArray[np.uint16]

_TOP = 65535  # the highest level
_SHADES = 255  # of a screen
_MOST_WINDOWS = 16

_AT_THE_DETECTOR = "at the detector: what lies in the patient is shown enlarged, so it is smaller than measured"
_CALIBRATED = {
    "GEOMETRY": "in the patient, calibrated by the geometry: true at one depth, estimated elsewhere",
    "FIDUCIAL": "in the patient, calibrated by an object of known size: true at its depth",
}


@dataclass(frozen=True)
class Spacing:
    """The distance of neighbouring pixels.

    Attributes:
        rows: mm from one row to the next; likewise ``columns``.
        source: the DICOM element that says so.
        meaning: where lengths measured with it hold, in words.
    """

    rows: float
    columns: float
    source: str
    meaning: str


@dataclass(frozen=True, eq=False)
class FullDepth:
    """A radiograph at full resolution and depth.

    Attributes:
        levels: uint16 [rows, columns], upright; ``slope * level + intercept`` is the value of a pixel, in DICOM after
            the modality step.
        exact: whether that is the very value that the file holds, not one rounded to 65,536 levels, or the grey of a
            colour.
        padding: the level of pixels that only fill the frame and are black; None where there are none.
        inverse: low values are bright.
        window: what is shown from black to white where nobody asks for another one; None where ``table`` says it.
        table: shades, 0 to 255, of the levels from 0 on, as the file's VOI LUT and polarity give them.
        windows: the file's own.
        spacing: None where the file says nothing of it.
        origin: the kind of file, see `Radiograph.origin`.
        bits: per stored value.
    """

    levels: Levels
    slope: float
    intercept: float
    exact: bool
    padding: int | None
    inverse: bool
    window: Window | None
    table: tuple[int, ...] | None
    windows: tuple[Window, ...]
    spacing: Spacing | None
    origin: str
    bits: int


def read_full_depth(content: bytes, name: str) -> FullDepth:
    """The picture that a file's content holds, with its default display just as `cxrlens.inputs.readers.decode` has it.

    Raises:
        UnreadableImageError: as `decode` does.
    """
    if not is_dicom(content[:START]):
        return _of_grey(content, name)
    dataset, stored = read_stored(content, name)
    try:
        with without_warnings():
            spacing = _spacing(dataset)
            if stored.ndim == 3 or not str(dataset.PhotometricInterpretation).startswith("MONOCHROME"):
                return _of_grey(content, name, spacing)
            return _of_stored(stored, dataset, name, spacing)
    except UnreadableImageError:
        raise
    except Exception as error:  # pydicom names no set of errors; a damaged element raises nearly anything
        raise UnreadableImageError(f"{name}: its pixels cannot be decoded: {reason_of(error)}") from error


def _of_grey(content: bytes, name: str, spacing: Spacing | None = None) -> FullDepth:
    """Of a picture that has no values but its greys."""
    image = decode(content, name)
    fractional = image.bit_depth > 16
    white = 1 if fractional else 2**image.bit_depth - 1
    exact = not fractional and not image.origin.startswith("DICOM")  # whose colours and palettes became grey
    top = white if exact else _TOP
    return FullDepth(
        levels=np.rint(image.pixels * np.float32(top)).astype(np.uint16),
        slope=white / top,
        intercept=0.0,
        exact=exact,
        padding=None,
        inverse=False,
        window=Window(white / 2, white, "LINEAR_EXACT"),
        table=None,
        windows=(),
        spacing=spacing,
        origin=image.origin,
        bits=image.bit_depth,
    )


def _of_stored(stored: npt.NDArray[Any], dataset: Dataset, name: str, spacing: Spacing | None) -> FullDepth:
    """Of whole numbers [rows, columns] of a grey DICOM image."""
    padding = padding_of(stored, dataset, [])
    shown = stored if padding is None else stored[~padding]
    low, high = (int(shown.min()), int(shown.max())) if shown.size else (0, 0)
    display = display_of(dataset, (low, high), name, [])
    levels, slope, intercept, exact = _levelled(stored, low, high, display)
    top = int(levels.max() if padding is None else levels.max(where=~padding, initial=0))
    filling = None
    if padding is not None:
        filling = min(top + 1, _TOP)  # where all levels are taken, padding is as the brightest of them
        levels[padding] = filling
    return FullDepth(
        levels=levels,
        slope=slope,
        intercept=intercept,
        exact=exact,
        padding=filling if filling is not None and filling > top else None,
        inverse=display.inverse,
        window=display.window,
        table=None if display.window else _shades(display, top, slope, intercept),
        windows=tuple(windows_of(dataset)[:_MOST_WINDOWS]),
        spacing=spacing,
        origin=f"DICOM {elements.text(dataset, 'Modality')}".strip(),
        bits=int(dataset.BitsStored),
    )


def _levelled(stored: npt.NDArray[Any], low: int, high: int, display: Display) -> tuple[Levels, float, float, bool]:
    """(levels, slope, intercept, exact) of stored values, those between low and high being the picture's."""
    modality = display.modality
    clipped = np.clip(stored, low, high)
    if isinstance(modality, Rescale):
        step = max((high - low) / _TOP, 1.0)
        distance = np.subtract(clipped, low, dtype=np.int64)
        levels = (distance if step == 1 else np.rint(distance / step)).astype(np.uint16)
        return levels, modality.slope * step, modality.slope * low + modality.intercept, step == 1
    values = modality(clipped)
    least = float(values.min())
    step = max((float(values.max()) - least) / _TOP, 1.0)
    return np.rint((values - least) / step).astype(np.uint16), step, least, step == 1


def _shades(display: Display, top: int, slope: float, intercept: float) -> tuple[int, ...]:
    """What the VOI LUT makes of each level."""
    grey = np.clip(display.contrast(slope * np.arange(top + 1) + intercept), 0, 1)
    shades = np.rint(_SHADES * (1 - grey if display.inverse else grey))
    return tuple(int(shade) for shade in shades)


def _spacing(dataset: Dataset) -> Spacing | None:
    found = spacing_of(dataset, [])
    if found is None:
        return None
    source, (rows, columns) = found
    calibration = elements.text(dataset, "PixelSpacingCalibrationType").upper()
    if source == "PixelSpacing" and calibration in _CALIBRATED:
        return Spacing(rows, columns, source, _CALIBRATED[calibration])
    return Spacing(rows, columns, source, _AT_THE_DETECTOR + _enlarged_by(dataset))


def _enlarged_by(dataset: Dataset) -> str:
    factor = next(iter(elements.numbers(dataset, "EstimatedRadiographicMagnificationFactor")), None)
    return f" (about {factor:.3g} times, says the file)" if factor is not None and 1 < factor < 10 else ""
