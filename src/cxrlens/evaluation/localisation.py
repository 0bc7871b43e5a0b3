"""How much of a map lies on the annotated objects: scores of whole maps, batched on the maps' device.

All take maps float32 [N, H, W] of 0 or more and masks bool [N, H, W] of the union of an image's objects, and give
float64 [N]: NaN where the image has no object. A map that is zero everywhere points nowhere and scores 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BINS = 256


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of the map's sum that lies on the objects (the energy-based pointing game of Wang et al., CVPRW 2020)."""
    values = maps.double()
    total, inside = values.sum((1, 2)), (values * masks).sum((1, 2))
    return _where_annotated(masks, torch.where(total > 0, inside / total, 0))


def pixel_average_precision(maps: Tensor, masks: Tensor) -> Tensor:
    """Area under the precision-recall curve of the map's values as scores of "this pixel is on an object".

    Computed as scikit-learn's average precision: sum over thresholds of the gain in recall times the precision;
    pixels of one value share a threshold, so that a map of one value scores the share of object pixels.
    """
    values, order = maps.flatten(1).sort(dim=1, descending=True)
    found = masks.flatten(1).gather(1, order).double().cumsum(1)
    seen = torch.arange(1, values.shape[1] + 1, device=maps.device, dtype=torch.float64)
    ends = torch.ones_like(values, dtype=torch.bool)  # the last pixel of each value
    ends[:, :-1] = values[:, 1:] != values[:, :-1]
    at_end = torch.where(ends, found, 0).cummax(1).values
    before = torch.nn.functional.pad(at_end, (1, 0))[:, :-1]  # found up to the value before
    gain = torch.where(ends, found - before, 0)
    precision = (gain * found / seen).sum(1) / found[:, -1].clamp_min(1)
    return _where_annotated(masks, torch.where(values[:, 0] > 0, precision, 0))


def otsu_iou(maps: Tensor, masks: Tensor) -> Tensor:
    """Intersection over union of the objects and the pixels above the map's Otsu threshold."""
    chosen = maps > otsu_threshold(maps)[:, None, None]
    shared = (chosen & masks).sum((1, 2)).double()
    either = (chosen | masks).sum((1, 2)).double()
    return _where_annotated(masks, shared / either.clamp_min(1))


def otsu_threshold(maps: Tensor) -> Tensor:
    """The value that splits each map [N, H, W] into two classes of greatest variance between them, [N].

    Otsu, IEEE Transactions on Systems, Man, and Cybernetics 1979, over 256 bins of the map's range; values above
    it are the upper class.
    """
    flat = maps.flatten(1).double()
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    width = torch.where(high > low, (high - low) / _BINS, 1)
    bins = ((flat - low) / width).long().clamp(0, _BINS - 1)
    counts = flat.new_zeros(len(maps), _BINS).scatter_add_(1, bins, torch.ones_like(flat))
    centres = low + width * (torch.arange(_BINS, device=maps.device) + 0.5)
    below, weighted = counts.cumsum(1), (counts * centres).cumsum(1)
    above, all_weighted = below[:, -1:] - below, weighted[:, -1:]
    gap = weighted / below.clamp_min(1) - (all_weighted - weighted) / above.clamp_min(1)
    best = (below * above * gap.square()).argmax(1, keepdim=True)
    return (low + width * (best + 1))[:, 0].to(maps.dtype)


def _where_annotated(masks: Tensor, scores: Tensor) -> Tensor:
    return torch.where(masks.flatten(1).any(1), scores, torch.nan)
