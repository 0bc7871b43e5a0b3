"""From a layer's map to the input's size: where its cells lie, and what lies between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import get_args

import torch
from torch import Tensor
from torch.nn import functional

from cxrlens.errors import UsageError
from cxrlens.saliency.cells.grid import CellAxis, CellGrid
from cxrlens.saliency.recorded_resize import Grid, Interpolation

GRIDS: tuple[str, ...] = get_args(Grid)
INTERPOLATIONS: tuple[str, ...] = get_args(Interpolation)
_CACHED = 1 << 18  # values of full-size maps
_SHARPNESS = -0.75  # of the cubic kernel (Keys 1981), as torch, OpenCV and Pillow's predecessors have it


@dataclass(frozen=True)
class MapResize:
    """The way in which a layer's map becomes one of the input's size.

    Attributes:
        grid: "centres" puts every cell on the pixel that it is centred on, see `cxrlens.saliency.cells`, and repeats
            the outermost cells beyond; "areas" spreads the cells evenly over the image, whatever the network does, as
            the published maps do.
        interpolation: "bilinear"; "bicubic", a curve through the cells' values, cut where it swings below the map's
            smallest; or "bspline", a curve along them (cubic B-spline), which smooths by about half a cell.
    """

    grid: str = "centres"
    interpolation: str = "bicubic"

    def check(self) -> None:
        """Refuse an unknown grid or interpolation.

        Raises:
            UsageError: naming the known ones.
        """
        if self.grid not in GRIDS:
            raise UsageError(f"unknown grid '{self.grid}': use {' or '.join(GRIDS)}")
        if self.interpolation not in INTERPOLATIONS:
            raise UsageError(f"unknown interpolation '{self.interpolation}': use {', '.join(INTERPOLATIONS)}")

    def __str__(self) -> str:
        return f"{self.grid} {self.interpolation}"


DEFAULT_RESIZE = MapResize()
PUBLISHED_RESIZE = MapResize("areas", "bilinear")
"""The resize of the published maps (Ozer & Oksuz 2021; Ozer et al. 2023) and of most tools of the field."""


def resized(maps: Tensor, size: tuple[int, int], cells: CellGrid | None, resize: MapResize) -> Tensor:
    """Maps [N, h, w] of a layer at the input's size, [N, H, W].

    Args:
        maps: one value per cell.
        size: (H, W) of the input.
        cells: their places; None where these are not known: then the grid is "areas" whatever the resize says.
        resize: grid and interpolation.
    """
    if resize.grid == "areas" or cells is None:
        if resize.interpolation == "bilinear":
            return functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]
        cells = CellGrid(*(_spread(side, count) for side, count in zip(size, maps.shape[1:], strict=True)))
    low = maps.flatten(1).amin(1)[:, None, None]
    above = maps - low  # a constant map is exactly 0 then, and stays constant
    return _at_pixels(above, size, cells, resize.interpolation).clamp_(min=0).add_(low)


def _spread(side: int, cells: int) -> CellAxis:
    """Cells spread evenly over a side."""
    stride = Fraction(side, cells)
    return CellAxis(stride, (stride - 1) / 2)


def _at_pixels(maps: Tensor, size: tuple[int, int], cells: CellGrid, interpolation: str) -> Tensor:
    """Maps [N, h, w] at the input's size, few at a time: several times faster where these fit the processor's cache."""
    down = _taps(maps, 1, size[0], cells.rows, interpolation)
    across = _taps(maps, 2, size[1], cells.columns, interpolation)

    def whole(part: Tensor) -> Tensor:
        return _interpolated(_interpolated(part, 2, across), 1, down)

    if torch.compiler.is_exporting():  # N stays open
        return whole(maps)
    return torch.cat([whole(part) for part in torch.split(maps, max(1, _CACHED // (size[0] * size[1])))])


def _taps(maps: Tensor, dim: int, side: int, axis: CellAxis, interpolation: str) -> list[tuple[Tensor, Tensor]]:
    """The cells that pixels along a dimension are made of: for each tap one cell a pixel, and its share in it.

    Returns:
        Pairs of int64 [side] and a tensor of the maps' type that multiplies them along the dimension.
    """
    cells = maps.shape[dim]
    start, step = -axis.offset / axis.stride, Fraction(1) / axis.stride
    places = torch.arange(side, dtype=torch.float64, device=maps.device) * float(step) + float(start)
    places = places.clamp(0, cells - 1)
    first = places.floor()
    taps = []
    for tap in (0, 1) if interpolation == "bilinear" else (-1, 0, 1, 2):
        shares = _KERNELS[interpolation]((places - first - tap).abs()).to(maps.dtype)
        taps.append(((first + tap).clamp(0, cells - 1).long(), shares.view(-1, 1) if dim == 1 else shares))
    return taps


def _interpolated(maps: Tensor, dim: int, taps: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Maps with a dimension of cells made one of pixels; tap by tap, so that no map depends on what else is there."""
    (chosen, shares), *others = taps
    total = maps.index_select(dim, chosen) * shares
    for chosen, shares in others:
        total.addcmul_(maps.index_select(dim, chosen), shares)
    return total


def _linear(distances: Tensor) -> Tensor:
    return 1 - distances


def _cubic(distances: Tensor) -> Tensor:
    """The cubic convolution kernel (Keys, IEEE TASSP 1981, eq. 4)."""
    near = ((_SHARPNESS + 2) * distances - (_SHARPNESS + 3)) * distances.square() + 1
    far = ((distances - 5) * distances + 8) * distances * _SHARPNESS - 4 * _SHARPNESS
    return torch.where(distances <= 1, near, far)


def _bspline(distances: Tensor) -> Tensor:
    """The cubic B-spline (Hou & Andrews, IEEE TASSP 1978)."""
    near = (4 - 6 * distances.square() + 3 * distances**3) / 6
    return torch.where(distances <= 1, near, (2 - distances) ** 3 / 6)


_KERNELS = {"bilinear": _linear, "bicubic": _cubic, "bspline": _bspline}  # of distances up to 1, or 2, cells
