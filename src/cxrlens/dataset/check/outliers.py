"""Images that are unlike the others, or unlike a radiograph: in size, contrast and polarity.

Outliers are found with quartiles, so that a data set of two sizes has none: a value counts that lies below the first
quartile divided by a factor, or above the third multiplied by it.

Polarity: air is dark and dense is bright in a chest radiograph. The mean of the heart, the spine and the part below the
diaphragm, less the mean of the two lungs, in standard deviations of the image, changes its sign with the polarity.
docs/data-check.md has the measurements behind the threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from cxrlens.dataset.check.findings import Finding, FindingKind, Severity, new_kind
from cxrlens.dataset.check.images import THUMBNAIL, CheckedImages
from cxrlens.dataset.check.statistics import Floats, statistic

Bools = npt.NDArray[np.bool_]

_LEAST_SIDE = 64
_AREA_FACTOR, _ASPECT_FACTOR, _CONTRAST_FACTOR = 4.0, 1.5, 3.0
_FLAT, _LOW_CONTRAST = 0.02, 0.1
_INVERTED = -0.4

TOO_SMALL = new_kind(
    "too-small", Severity.problem, "Too small", f"The shorter side has less than {_LEAST_SIDE} pixels."
)
SIZE = new_kind(
    "size-outlier",
    Severity.note,
    "Unusual size",
    f"Fewer pixels than the first quartile / {_AREA_FACTOR:g}, or more than the third x {_AREA_FACTOR:g}.",
)
ASPECT = new_kind(
    "aspect-outlier",
    Severity.note,
    "Unusual aspect",
    f"Width / height below the first quartile / {_ASPECT_FACTOR:g}, or above the third x {_ASPECT_FACTOR:g}.",
)
FLAT = new_kind(
    "flat",
    Severity.problem,
    "No picture",
    f"The 0.1 and the 99.9 percentile of the values in [0, 1] differ by less than {_FLAT:g}.",
)
LOW_CONTRAST = new_kind(
    "low-contrast",
    Severity.note,
    "Low contrast",
    f"The 1 and the 99 percentile differ by less than {_LOW_CONTRAST:g}, or by less than the first quartile / "
    f"{_CONTRAST_FACTOR:g}.",
)
INVERTED = new_kind(
    "inverted",
    Severity.problem,
    "Inverted",
    "The lungs are brighter than heart, spine and abdomen, by more than "
    f"{-_INVERTED:g} standard deviations of the picture.",
)


def outlier_findings(checked: CheckedImages) -> Iterator[Finding]:
    """Oddities of the images as such; a flat or tiny one is not judged further."""
    if not checked.images:
        return
    heights, widths = np.array([(image.height, image.width) for image in checked.images], dtype=np.float64).T
    tiny, flat = np.minimum(heights, widths) < _LEAST_SIDE, is_flat(checked)
    fine = ~tiny & ~flat
    area, aspect, anatomy = heights * widths, widths / heights, density_contrast(checked.thumbnails)
    contrast = statistic(checked.statistics, "percentile 99") - statistic(checked.statistics, "percentile 1")
    low = (contrast < _LOW_CONTRAST) | _outside_quartiles(contrast, fine, _CONTRAST_FACTOR, above=False)
    others = f"the median is {np.median(area) / 1e6:.2g} megapixels, {np.median(aspect):.2f} times as wide as high"
    sizes = [f"has {image.width} x {image.height} pixels" for image in checked.images]
    reasons: list[tuple[FindingKind, Bools, Callable[[int], str]]] = [
        (TOO_SMALL, tiny, lambda i: sizes[i]),
        (FLAT, flat & ~tiny, lambda i: "shows nothing: its values hardly differ"),
        (SIZE, fine & _outside_quartiles(area, fine, _AREA_FACTOR), lambda i: f"{sizes[i]}; {others}"),
        (ASPECT, fine & _outside_quartiles(aspect, fine, _ASPECT_FACTOR), lambda i: f"{sizes[i]}; {others}"),
        (LOW_CONTRAST, fine & low, lambda i: f"uses {contrast[i]:.1%} of the range of values"),
        (INVERTED, fine & (anatomy < _INVERTED), lambda i: f"looks inverted ({anatomy[i]:.2f} standard deviations)"),
    ]
    for kind, holds, says in reasons:
        for index in np.flatnonzero(holds).tolist():
            name = checked.images[index].name
            yield Finding(kind, f"{name}: {says(index)}", (name,))


def is_flat(checked: CheckedImages) -> Bools:
    """True for images that show nothing, bool [n]."""
    low, high = (statistic(checked.statistics, f"percentile {percentile}") for percentile in (0.1, 99.9))
    flat: Bools = high - low < _FLAT
    return flat


def density_contrast(thumbnails: npt.NDArray[np.uint8]) -> Floats:
    """Mean of the dense parts of a chest less that of its lungs, float64 [n], in standard deviations of the image.

    Args:
        thumbnails: uint8 [n, 64, 64].
    """
    values = thumbnails.reshape(len(thumbnails), -1).astype(np.float64)
    difference: Floats = values[:, _DENSE].mean(axis=1) - values[:, _LUNGS].mean(axis=1)
    return difference / np.maximum(values.std(axis=1), 1e-6)


def _outside_quartiles(values: Floats, usable: Bools, factor: float, *, above: bool = True) -> Bools:
    """True for values far outside the quartiles of the usable ones, bool [n]; below alone, or also above."""
    if not usable.any():
        return np.zeros(len(values), dtype=bool)
    low, high = np.percentile(values[usable], (25, 75))
    outside: Bools = (values < low / factor) | (above & (values > high * factor))
    return outside


def _part(left: float, right: float, top: float, bottom: float) -> Bools:
    """A part of the thumbnail, bool [64 * 64]; shares of its sides."""
    place = (np.arange(THUMBNAIL) + 0.5) / THUMBNAIL
    part: Bools = np.outer((place > top) & (place < bottom), (place > left) & (place < right)).ravel()
    return part


_LUNGS: Final = _part(0.18, 0.38, 0.25, 0.6) | _part(0.62, 0.82, 0.25, 0.6)
_DENSE: Final = _part(0.44, 0.56, 0.35, 0.95) | _part(0.2, 0.8, 0.78, 0.95)
