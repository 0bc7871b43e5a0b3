"""The places of a layer's cells, measured where they cannot be read off the network's operations.

A copy of the network is given random weights of mean 0. The square of a cell's gradient by a pixel, on average over
such weights, then shows the cell's field of view as if every weight were the same positive number, whatever the
activation functions do. Its centroid over all pixels lies at the cell's place, drawn towards the middle of the image by
parts that see all of it (attention, squeeze and excitation), which are faint at each pixel. To a high power of it they
are nothing, so that the centroids of the power are as far apart as the cells are; how much less far apart those of the
field itself are tells how far they are drawn.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from cxrlens.saliency.cells.grid import CellAxis, CellGrid
from cxrlens.saliency.hooks import forward_hooks
from cxrlens.saliency.layout import Layout, channels_first

_CELLS = 6  # looked at along a side
_DRAWS = 4  # of random weights
_SURE = 1 / 8  # of a stride: the largest standard error of a place that counts as known
_OWN = 0.5  # the least share of a cell's view that lies about its own place
_MORE = 1.1  # than all of it
_POWER = 4  # of the energy, whose centroids nothing draws
_EVEN = 1 / 10  # the largest share by which the measured stride may differ from the side over the number of cells
_WHOLE = 1 / 50  # or else from another whole number of pixels
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def measured_grid(network: nn.Module, image: Tensor, name: str, layout: Layout) -> CellGrid | None:
    """The grid of a layer's cells for images of one size; None where it cannot be told with some certainty.

    Args:
        network: in evaluation mode; it is copied.
        image: [1, C, H, W], on the network's device; its values do not count.
        name: of a layer that gives a map.
        layout: of its output.
    """
    try:
        double = copy.deepcopy(network)
    except (RuntimeError, TypeError, NotImplementedError):
        return None
    stream = torch.Generator().manual_seed(0)
    draws: tuple[list[_View], list[_View]] = ([], [])
    for _ in range(_DRAWS):
        draw_weights(double, stream)
        for side in (0, 1):
            draws[side].extend(_views(double, image, name, layout, side, stream))
    rows, columns = (_fitted(views, length) for views, length in zip(draws, image.shape[2:], strict=True))
    return None if rows is None or columns is None else CellGrid(rows, columns)


@dataclass(frozen=True)
class _View:
    """A row, or a column, of cells of a layer.

    Attributes:
        cell: its number, of ``count``.
        middle: the centroid of the squared gradient, in input pixels.
        core: the centroid of its `_POWER`.
    """

    cell: int
    count: int
    middle: float
    core: float


def _views(
    network: nn.Module, image: Tensor, name: str, layout: Layout, side: int, stream: torch.Generator
) -> Iterator[_View]:
    """Some rows (side 0) or columns (side 1) of a layer's cells, from noise."""
    outputs: list[Tensor] = []

    def see(_name: str, _inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim in (3, 4):
            outputs.append(channels_first(output, layout))

    pixels = torch.randn((_CELLS, *image.shape[1:]), generator=stream).to(image).requires_grad_()
    with forward_hooks({name: network.get_submodule(name)}, see), torch.enable_grad():
        network(pixels)
        if not outputs:
            return
        (output,) = outputs
        count = output.shape[2 + side]
        chosen = sorted({round((place + 0.5) * count / _CELLS - 0.5) for place in range(_CELLS)})
        signs = torch.randn(output.shape[1:], generator=stream).to(output)
        lines = (output * signs).movedim(2 + side, 1)
        score = torch.stack([lines[image_, cell].sum() for image_, cell in enumerate(chosen)]).sum()
        (gradient,) = torch.autograd.grad(score, pixels)
    energy = gradient.square().sum((1, 3 - side)).double()[: len(chosen)]  # [cells, pixels of the side]
    middles, cores = (_centroids(field).tolist() for field in (energy, (energy / energy.amax(1, True)) ** _POWER))
    for cell, middle, core in zip(chosen, middles, cores, strict=True):
        yield _View(cell, count, middle, core)


def _centroids(fields: Tensor) -> Tensor:
    """Of each line of [cells, pixels], in pixels."""
    places = torch.arange(fields.shape[1], device=fields.device, dtype=fields.dtype)
    return (fields * places).sum(1) / fields.sum(1)


def draw_weights(network: nn.Module, stream: torch.Generator) -> None:
    """Normal weights whose scale keeps that of what they work on; norms and biases as at the start of a training.

    Factors of single channels, such as those of a layer's scale, are 1: near 0, as trainings begin with them, they
    would hide what lies before them.
    """
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, _NORMS):
                module.reset_parameters()
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.ndim > 1:
                    scale = (parameter.numel() / parameter.shape[0]) ** -0.5
                    parameter.copy_(torch.randn(parameter.shape, generator=stream) * scale)
                elif not isinstance(module, _NORMS):
                    is_factor = "bias" not in name and not isinstance(module, nn.PReLU)
                    parameter.fill_(1 if is_factor else 0)


def _fitted(views: Sequence[_View], side: int) -> CellAxis | None:
    """The axis that the centroids fit; its stride is a whole number of pixels.

    That is the side over the number of cells where it can be. Else cells were cut off; then nothing may draw them, as
    fields of view that the edges of the image cut pass for a smaller stride.
    """
    if not views:
        return None
    cells = np.array([view.cell for view in views], dtype=np.float64)
    middles = np.array([view.middle for view in views])
    cores = np.array([view.core for view in views])
    if len(np.unique(cells)) < 2 or not (np.isfinite(middles) & np.isfinite(cores)).all():
        return None
    measured = stats.linregress(cells, cores).slope
    even, left = divmod(side, views[0].count)
    is_even = not left and abs(measured - even) <= _EVEN * even
    stride = even if is_even else max(1, round(measured))
    if not is_even and abs(measured - stride) > _WHOLE * stride:
        return None
    line = stats.linregress(cells, middles)
    own = line.slope / stride
    rest = middles - line.intercept - line.slope * cells
    least = _OWN if is_even else 1 / _MORE
    if not least <= own <= _MORE or rest.std(ddof=2) / len(views) ** 0.5 > _SURE * stride * own:
        return None
    # What sees the whole image pulls every centroid towards its middle by the same share.
    middle = (middles.mean() - (1 - own) * (side - 1) / 2) / own
    return CellAxis(Fraction(stride), Fraction(middle - stride * cells.mean()).limit_denominator(100))
