"""Faults of a displayed radiograph, as remarks: doubts, and refusals where nobody could judge it.

The bounds lie well beyond what 499 radiographs of five sources, composites of them among these, showed: their brightest
pixels reached 0.56 or more of the full range, at most 48 % of a picture was black and 6 % white, and at most 9 % of the
rows at the lower end were one flat band. Of 134 of them the longer side was at most 1.35 times the shorter one, and
96 % of the pixels spanned 0.22 of the range or more.
"""

from __future__ import annotations

import numpy as np

from cxrlens.inputs.readers.radiograph import Pixels, Refusal

_SIDE = 256  # of what is looked at, in samples; a picture's every n-th row and column
_SMALLEST = 64  # side of a picture in which lungs can be told from a spine, and an object of 1 cm from a pixel
_LONG, _LONGEST = 2.0, 3.0  # long side to the short one
_NOTHING = 0.01  # range of 96 % of the pixels
_DULL, _MOST_DULL = 0.5, 0.35  # largest pixel, and 99.5 % of all pixels
_PALE = 0.5
_BLACK, _WHITE = 0.6, 0.3
_FLAT_END = 0.2
_RANGE = 0.2
_INVERTED = -0.1


def remarks_on_picture(pixels: Pixels, height: int, width: int) -> tuple[str, ...]:
    """Sentences on what looks wrong in a picture [rows, columns] in [0, 1], bright = dense, and on its stored size."""
    return (*remarks_on_size(height, width), *remarks_on(pixels))


def remarks_on_size(height: int, width: int) -> list[str]:
    """Sentences on the stored size of a picture, in pixels, by which it can be no whole radiograph of a chest."""
    ratio, said = max(height, width) / min(height, width), f"{width} x {height} pixels"
    if min(height, width) < _SMALLEST:
        return [Refusal(f"It is too small to be judged: {said}, and {_SMALLEST} a side are the least.")]
    if ratio > _LONGEST:
        return [Refusal(f"It is a strip of {said}, no picture of a chest.")]
    return [f"It is a strip of {said}, which may be no whole chest."] if ratio > _LONG else []


def remarks_on(pixels: Pixels) -> list[str]:
    """Sentences on what looks wrong in a picture [rows, columns] in [0, 1], bright = dense; none where nothing does."""
    samples = pixels[:: max(1, pixels.shape[0] // _SIDE), :: max(1, pixels.shape[1] // _SIDE)]
    if samples.min() == samples.max() and pixels.min() == pixels.max():
        only = float(pixels[0, 0])
        return [
            Refusal(f"All its pixels have the same value, {_percent(only)} of the full range: nothing is to be seen.")
        ]
    if _shows_nothing(samples) and _shows_nothing(pixels):
        value = float(np.median(samples))
        return [Refusal(f"Nearly all its pixels have the same value, {_percent(value)} of the full range.")]
    low, high = (float(value) for value in np.percentile(samples, [0.5, 99.5]))
    found = []
    if high <= _MOST_DULL or (samples.max() <= _DULL and pixels.max() <= _DULL):
        found.append(
            f"It is nearly black: its bright pixels reach {_percent(high)} of the full range; "
            "its values may have fewer bits than the file says, or another window."
        )
    elif low >= _PALE:
        found.append(f"It is nearly white: its dark pixels have {_percent(low)} of the full range.")
    elif high - low < _RANGE:
        found.append(f"It has little contrast: its pixels use {_percent(high - low)} of the full range.")
    black, white = float((samples <= 0).mean()), float((samples >= 1).mean())
    if black > _BLACK:
        found.append(f"{_percent(black)} of its pixels are black.")
    if white > _WHITE:
        found.append(f"{_percent(white)} of its pixels are white, the brightest value there is.")
    flat = _flat_end(pixels)
    if flat > _FLAT_END:
        found.append(
            f"The lowest {_percent(flat)} of its rows have one value; the picture may have been cut off there."
        )
    if _looks_inverted(samples, high - low):
        found.append(
            "It looks inverted, its middle being darker than what lies to both sides of it; "
            "the polarity that the file says may be wrong."
        )
    return found


def _shows_nothing(pixels: Pixels) -> bool:
    """True where 96 % of the pixels have nearly one value."""
    least, most = np.percentile(pixels, [2, 98])
    return bool(most - least < _NOTHING)


def _flat_end(pixels: Pixels) -> float:
    """Share of the rows at the lower end that have one and the same value."""
    last = pixels[-1, 0]
    if not (pixels[-max(1, int(_FLAT_END * len(pixels))) :, :: max(1, pixels.shape[1] // 64)] == last).all():
        return 0.0
    rows = np.flatnonzero((pixels != last).any(axis=1))
    return 1 - (int(rows[-1]) + 1) / len(pixels)


def _looks_inverted(samples: Pixels, contrast: float) -> bool:
    """True where the place of the spine is clearly darker than the places of both lungs."""
    height, width = samples.shape
    if min(height, width) < _SMALLEST or contrast <= 0:
        return False
    middle = samples[height // 4 : 3 * height // 4, 9 * width // 20 : 11 * width // 20].mean()
    lungs = samples[height // 4 : height // 2]
    left, right = (lungs[:, a * width // 5 : (a + 1) * width // 5].mean() for a in (1, 3))
    return bool(middle - min(left, right) < _INVERTED * contrast)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
