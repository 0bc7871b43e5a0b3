"""From layer maps to one map per image at the input's size: resize, scale, combine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from cxrlens.errors import UsageError
from cxrlens.saliency.cells.grid import CellGrid
from cxrlens.saliency.gaussian import check_sigma
from cxrlens.saliency.gaussian import smooth as smoothed
from cxrlens.saliency.recorded_resize import RecordedResize
from cxrlens.saliency.resizing import DEFAULT_RESIZE, MapResize, resized

_Key = TypeVar("_Key")

COMBINATIONS = ("product", "geometric", "mean", "max")


@dataclass(frozen=True)
class Fusion:
    """The way in which the maps of layers become one of the input's size, and its smoothing; recorded with the maps.

    Attributes:
        combination: of several layers: "product" (the paper's), "geometric", "mean" or "max", see `combine`.
        weights: one per layer, for "geometric" and "mean"; None weighs all alike.
        smooth: sigma in pixels of a Gaussian over the full-size map; None for none.
        resize: from the layers' cells to the input's pixels.
        flip: average with the map of the mirrored image, mirrored back, both scaled to [0, 1] first; at twice the cost.
    """

    combination: str = "product"
    weights: tuple[float, ...] | None = None
    smooth: float | None = None
    resize: MapResize = DEFAULT_RESIZE
    flip: bool = False

    def check(self, layer_counts: Iterable[int]) -> None:
        """Find out before any work whether maps of so many layers each can be joined in this way.

        Raises:
            UsageError: on an unknown combination, grid or interpolation, weights that do not fit, or a sigma that is
                not positive.
        """
        if self.smooth is not None:
            check_sigma(self.smooth)
        self.resize.check()
        several = {count for count in layer_counts if count > 1}
        layer_shares(self.combination, None, 1)
        if self.weights is not None and not several:
            raise UsageError("layer weights are given, but no map is combined of several layers; leave them out")
        for count in several:
            layer_shares(self.combination, self.weights, count)

    def recorded(self, cells: Sequence[CellGrid | None]) -> RecordedResize:
        """The resize, as it was done, of maps of layers whose cells lie there (None: not known), or of no layer."""
        if not cells:
            return RecordedResize(flip=self.flip)
        by_areas = {self.resize.grid == "areas" or each is None for each in cells}
        grid = "mixed" if len(by_areas) > 1 else "areas" if True in by_areas else "centres"
        return RecordedResize(grid, self.resize.interpolation, self.flip)


DEFAULT_FUSION = Fusion()


def scale(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Each map [N, H, W] min-max scaled to [0, 1] by its own range, and which maps are flat, bool [N].

    A map is flat when it is constant or holds a value that is not finite; it becomes all zero. Constant means that its
    range is within the rounding error of its own largest value, so that the tiny but structured maps of an
    untrained network do not count as flat.
    """
    low, high = maps.flatten(1).amin(1), maps.flatten(1).amax(1)  # torch.aminmax is many times slower on a CPU
    largest = torch.maximum(low.abs(), high.abs())
    span = high - low
    flat = ~span.isfinite() | (span <= 4 * torch.finfo(maps.dtype).eps * largest)
    scaled = (maps - low[:, None, None]).div_(torch.where(flat, 1, span)[:, None, None])
    if torch.compiler.is_exporting() or bool(flat.any()):
        scaled = scaled.masked_fill_(flat[:, None, None], 0)
    return scaled, flat


def fused(
    layer_maps: Mapping[_Key, Sequence[Tensor]],
    cells: Sequence[CellGrid | None],
    size: tuple[int, int],
    fusion: Fusion,
) -> dict[_Key, Tensor]:
    """The full-size maps [N, H, W] of several methods at the same layers, resized and combined all at once.

    Args:
        layer_maps: per method, its map [N, h, w] at each layer.
        cells: the places of each layer's cells, see `resized`.
        size: (H, W) of the input.
        fusion: combination, weights and resize.
    """
    count = next(iter(layer_maps.values()))[0].shape[0]
    joined = [torch.cat(maps) for maps in zip(*layer_maps.values(), strict=True)]
    if len(joined) == 1:
        full = resized(joined[0], size, cells[0], fusion.resize)
    else:
        full = combine(joined, cells, size, fusion)
    return {key: full.narrow(0, index * count, count) for index, key in enumerate(layer_maps)}


def finished(raw: Tensor, sound: Tensor, smooth: float | None) -> tuple[Tensor, Tensor]:
    """Full-size maps [N, H, W] scaled to [0, 1] and smoothed, and which are flat, bool [N].

    Args:
        raw: the maps.
        sound: bool [N]; the map of an image that is not, whose logit is no number, is flat.
        smooth: see `Fusion`.
    """
    scaled, flat = scale(raw)
    if torch.compiler.is_exporting() or not bool(sound.all()):
        flat = flat | ~sound
        scaled = scaled.masked_fill(flat[:, None, None], 0)
    if smooth is None:
        return scaled, flat
    smooth_scaled, smooth_flat = scale(smoothed(scaled, smooth))
    return smooth_scaled, flat | smooth_flat


def combine(
    layer_maps: Sequence[Tensor], cells: Sequence[CellGrid | None], size: tuple[int, int], fusion: Fusion
) -> Tensor:
    """One map [N, H, W] from the maps [N, h, w] of several layers, each resized and scaled to [0, 1] first.

    ``product`` multiplies them (Ozer & Oksuz, MIDL 2021); ``geometric`` is the weighted geometric mean, the product
    of m_l ** w_l with weights that sum to 1 (Rebuffi et al., CVPR 2020); ``mean`` the weighted
    mean; ``max`` the largest value. Without weights all layers count alike.

    A layer whose map is flat has no say about places: its zeros make a product flat, and add nothing to a mean.

    Args:
        layer_maps: one value per cell.
        cells: the places of each layer's cells, see `resized`.
        size: (H, W) of the input.
        fusion: combination, weights and resize.

    Raises:
        UsageError: on an unknown combination, or weights that do not fit.
    """
    combination = fusion.combination
    shares = layer_shares(combination, fusion.weights, len(layer_maps))
    total: Tensor | None = None
    for layer_map, grid, share in zip(layer_maps, cells, shares, strict=True):
        current, _ = scale(resized(layer_map, size, grid, fusion.resize))
        if combination == "geometric":
            current = current.pow_(share)
        elif combination == "mean":
            current = current.mul_(share)
        if total is None:
            total = current
        elif combination == "mean":
            total += current
        elif combination == "max":
            torch.maximum(total, current, out=total)
        else:
            total *= current
    assert total is not None, "at least one layer"
    return total


def layer_shares(combination: str, weights: Sequence[float] | None, layers: int) -> list[float]:
    """The weight of each layer in a combination, their sum being 1.

    Raises:
        UsageError: on an unknown combination, or weights that do not fit.
    """
    if combination not in COMBINATIONS:
        raise UsageError(f"unknown combination '{combination}': use {', '.join(COMBINATIONS)}")
    if weights is None:
        return [1 / layers] * layers
    if combination in ("product", "max"):
        raise UsageError(f"'{combination}' takes no layer weights; 'geometric' and 'mean' do")
    total = math.fsum(weights)
    if len(weights) != layers or min(weights) < 0 or not 0 < total < math.inf:
        raise UsageError(f"{layers} layers need {layers} weights of 0 or more that are not all 0, not {list(weights)}")
    return [weight / total for weight in weights]
