"""Scores of whole maps for what lies on the annotated objects, batched on the maps' device.

All take maps float32 [N, H, W] of 0 or more and the union of each image's objects, as masks bool [N, H, W] or, where
many maps of the same images are scored, as their `ObjectPixels`. They give float64 [N]: NaN where the image has no
object. A map that is zero everywhere points nowhere and scores 0. Those that need a map's values in order take them
from who has them already: see `ascending`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cxrlens.errors import ArgumentError
from cxrlens.evaluation.similarity import image_sums

_BINS = 256


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
    totals = image_sums(maps)
    insides = [image_sums(values[None])[0] for values in objects.values(maps)]
    return objects._per_image(
        [torch.where(total > 0, inside / total, 0) for inside, total in zip(insides, totals, strict=True)], maps
    )


def ascending(maps: Tensor) -> Tensor:
    """The values of each map [N, H, W] in ascending order, [N, H * W] on the maps' device.

    On a CPU by NumPy, which sorts floats with vector instructions: over ten times as fast as torch.
    """
    return _sorted(maps.detach().flatten(1))


def pixel_average_precision(maps: Tensor, objects: Tensor | ObjectPixels, *, ordered: Tensor | None = None) -> Tensor:
    """Area under the precision-recall curve of the map's values as scores of "this pixel is on an object".

    Computed as scikit-learn's average precision: sum over thresholds of the gain in recall times the precision, which
    is the mean over object pixels of (object pixels of at least its value) / (pixels of at least its value). Pixels of
    one value share a threshold, so that a map of one value scores the share of object pixels.

    Args:
        ordered: what `ascending` gives of the maps; made here where it is not given.
    """
    objects = _objects(objects)
    scores = []
    for every, own in zip(_ordered(maps, ordered), objects.values(maps), strict=True):
        own = _sorted(own.detach())
        found, reaching = (len(values) - torch.searchsorted(values, own) for values in (own, every))
        scores.append(torch.where(every[-1] > 0, image_sums((found.double() / reaching)[None])[0] / len(own), 0))
    return objects._per_image(scores, maps)


def otsu_iou(maps: Tensor, objects: Tensor | ObjectPixels, *, ordered: Tensor | None = None) -> Tensor:
    """Intersection over union of the objects and the pixels above the map's Otsu threshold; ``ordered`` as above."""
    objects, ordered = _objects(objects), _ordered(maps, ordered)
    thresholds = otsu_threshold(maps, ordered=ordered)
    above = ordered.shape[1] - torch.searchsorted(ordered, thresholds[:, None], right=True)[:, 0]
    scores = []
    for marked, own, threshold in zip(above, objects.values(maps), thresholds, strict=True):
        shared = (own > threshold).sum()
        scores.append(shared.double() / (marked + len(own) - shared).clamp_min(1))
    return objects._per_image(scores, maps)


def otsu_threshold(maps: Tensor, *, ordered: Tensor | None = None) -> Tensor:
    """The value that splits each map [N, H, W] into two classes of greatest variance between them, [N].

    Otsu, IEEE Transactions on Systems, Man, and Cybernetics 1979, over 256 bins of the map's range; values above
    it are the upper class. ``ordered`` is that of `pixel_average_precision`.
    """
    ordered = _ordered(maps, ordered)
    low, high = ordered[:, :1], ordered[:, -1:]
    span = torch.where(high > low, high - low, 1)
    counts = _bin_counts(ordered, low, span)
    low, width = low.double(), span.double() / _BINS
    centres = low + width * (torch.arange(_BINS, device=maps.device) + 0.5)
    below, weighted = counts.cumsum(1), (counts * centres).cumsum(1)
    above, all_weighted = below[:, -1:] - below, weighted[:, -1:]
    gap = weighted / below.clamp_min(1) - (all_weighted - weighted) / above.clamp_min(1)
    best = (below * above * gap.square()).argmax(1, keepdim=True)
    return (low + width * (best + 1))[:, 0].to(maps.dtype)


def _bin_counts(ordered: Tensor, low: Tensor, span: Tensor) -> Tensor:
    """How many of each map's values [N, pixels], ascending, are in each bin of its range: float64 [N, bins].

    A bin begins where a bisection finds the first value in it, so that few values are looked at.
    """
    pixels = ordered.shape[1]
    bins = torch.arange(1, _BINS, device=ordered.device)
    before = torch.zeros(len(ordered), _BINS - 1, dtype=torch.int64, device=ordered.device)
    step = 1 << pixels.bit_length() - 1
    while step:  # are so many more values in an earlier bin?
        further = before + step
        values = ordered.gather(1, further.clamp_max(pixels) - 1)
        is_earlier = (values - low).div_(span).mul_(_BINS).clamp_(max=_BINS - 1).to(torch.uint8) < bins
        before = torch.where(is_earlier & (further <= pixels), further, before)
        step >>= 1
    ends = torch.full_like(before[:, :1], pixels)
    return torch.cat([before, ends], 1).diff(dim=1, prepend=torch.zeros_like(ends)).double()


def _objects(given: Tensor | ObjectPixels) -> ObjectPixels:
    return given if isinstance(given, ObjectPixels) else ObjectPixels.of(given)


def _ordered(maps: Tensor, given: Tensor | None) -> Tensor:
    return ascending(maps) if given is None else given


def _sorted(values: Tensor) -> Tensor:
    return values.sort().values if values.device.type != "cpu" else torch.from_numpy(np.sort(values.numpy()))
