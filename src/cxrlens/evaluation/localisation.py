"""Scores of whole maps for what lies on the annotated objects, batched on the maps' device.

All take maps float32 [N, H, W] of 0 or more and the union of each image's objects, as masks bool [N, H, W] or, where
many maps of the same images are scored, as their `ObjectPixels`. They give float64 [N]: NaN where the image has no
object. A map that is zero everywhere points nowhere and scores 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxrlens.errors import ArgumentError

_BINS = 256
_BIN_BITS = 9  # 2 ** 9 neighbouring floats share a bin where pixels are counted


@dataclass(frozen=True)
class ObjectPixels:
    """The pixels of a batch's images that lie on an object.

    Attributes:
        positions: int64 [m], places in the flattened masks, image after image.
        counts: number of object pixels of each image.
    """

    positions: Tensor
    counts: tuple[int, ...]

    @classmethod
    def of(cls, masks: Tensor) -> ObjectPixels:
        """Of masks bool [N, H, W], on their device."""
        positions = masks.flatten().nonzero()[:, 0]
        images = torch.div(positions, masks[0].numel(), rounding_mode="floor") if len(masks) else positions
        return cls(positions, tuple(torch.bincount(images, minlength=len(masks)).tolist()))

    def values(self, maps: Tensor) -> tuple[Tensor, ...]:
        """The values [m_i] of each map at its image's object pixels.

        Raises:
            ArgumentError: when there are more or fewer maps than images.
        """
        if len(maps) != len(self.counts):
            raise ArgumentError(f"{len(maps)} maps but objects of {len(self.counts)} images")
        return torch.split(maps.flatten()[self.positions], list(self.counts))

    def _per_image(self, scores: list[Tensor], maps: Tensor) -> Tensor:
        """The scores of all images, NaN where there is no object."""
        absent = maps.new_tensor(torch.nan, dtype=torch.float64)
        chosen = [score if count else absent for score, count in zip(scores, self.counts, strict=True)]
        return torch.stack(chosen) if chosen else maps.new_empty(0, dtype=torch.float64)


def energy_inside(maps: Tensor, objects: Tensor | ObjectPixels) -> Tensor:
    """Share of the map's sum that lies on the objects (the energy-based pointing game of Wang et al., CVPRW 2020)."""
    objects = _objects(objects)
    totals = maps.flatten(1).sum(1, dtype=torch.float64)
    insides = [values.sum(dtype=torch.float64) for values in objects.values(maps)]
    return objects._per_image(
        [torch.where(total > 0, inside / total, 0) for inside, total in zip(insides, totals, strict=True)], maps
    )


def pixel_average_precision(maps: Tensor, objects: Tensor | ObjectPixels) -> Tensor:
    """Area under the precision-recall curve of the map's values as scores of "this pixel is on an object".

    Computed as scikit-learn's average precision: sum over thresholds of the gain in recall times the precision, which
    is the mean over object pixels of (object pixels of at least its value) / (pixels of at least its value). Pixels of
    one value share a threshold, so that a map of one value scores the share of object pixels.
    """
    objects = _objects(objects)
    scores = []
    for map_, own in zip(maps.flatten(1), objects.values(maps), strict=True):
        own = own.sort().values
        found = len(own) - torch.searchsorted(own, own)
        scores.append(torch.where(map_.max() > 0, (found.double() / _reaching(map_, own)).mean(), 0))
    return objects._per_image(scores, maps)


def otsu_iou(maps: Tensor, objects: Tensor | ObjectPixels) -> Tensor:
    """Intersection over union of the objects and the pixels above the map's Otsu threshold."""
    objects = _objects(objects)
    thresholds = otsu_threshold(maps)
    scores = []
    for map_, own, threshold in zip(maps, objects.values(maps), thresholds, strict=True):
        shared = (own > threshold).sum()
        scores.append(shared.double() / ((map_ > threshold).sum() + len(own) - shared).clamp_min(1))
    return objects._per_image(scores, maps)


def otsu_threshold(maps: Tensor) -> Tensor:
    """The value that splits each map [N, H, W] into two classes of greatest variance between them, [N].

    Otsu, IEEE Transactions on Systems, Man, and Cybernetics 1979, over 256 bins of the map's range; values above
    it are the upper class.
    """
    flat = maps.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    span = torch.where(high > low, high - low, 1)
    counts = flat.new_empty(len(flat), _BINS, dtype=torch.float64)
    for row, values, start, length in zip(counts, flat, low, span, strict=True):
        bins = (values - start).div_(length).mul_(_BINS).clamp_(max=_BINS - 1).to(torch.uint8)
        row.copy_(torch.bincount(bins, minlength=_BINS))
    low, width = low.double(), span.double() / _BINS
    centres = low + width * (torch.arange(_BINS, device=maps.device) + 0.5)
    below, weighted = counts.cumsum(1), (counts * centres).cumsum(1)
    above, all_weighted = below[:, -1:] - below, weighted[:, -1:]
    gap = weighted / below.clamp_min(1) - (all_weighted - weighted) / above.clamp_min(1)
    best = (below * above * gap.square()).argmax(1, keepdim=True)
    return (low + width * (best + 1))[:, 0].to(maps.dtype)


def _objects(given: Tensor | ObjectPixels) -> ObjectPixels:
    return given if isinstance(given, ObjectPixels) else ObjectPixels.of(given)


def _reaching(every: Tensor, own: Tensor) -> Tensor:
    """Number of ``every`` (float32, 0 or more) are at least each of ``own``, which are some of them, ascending.

    On a CPU without sorting them all: they are counted in bins of neighbouring floats, and only those that share a bin
    with one of ``own`` are sorted.
    """
    if every.device.type != "cpu" or not len(own):
        return len(every) - torch.searchsorted(every.sort().values, own)
    bits, own_bits = _ordered_bits(every), _ordered_bits(own)
    base = (own_bits[0] >> _BIN_BITS) - 1  # bin 0 is for all that is smaller
    bins = np.maximum((bits >> _BIN_BITS) - base, 0)
    own_bins = (own_bits >> _BIN_BITS) - base
    counts = torch.bincount(torch.from_numpy(bins)).numpy()  # NumPy's widens the bins to 64 bits first
    shared = np.zeros(len(counts), dtype=np.bool_)
    shared[own_bins] = True
    beside = np.sort(bits[np.flatnonzero(shared.take(bins))])
    counts[own_bins] = 0
    above = counts[::-1].cumsum()[::-1]
    return torch.from_numpy(len(beside) - np.searchsorted(beside, own_bits) + above[own_bins])


def _ordered_bits(values: Tensor) -> npt.NDArray[np.int32]:
    """Floats of 0 or more as integers in the same order; -0.0 becomes 0."""
    return (values.detach().float() + 0.0).numpy().view(np.int32)
