"""How an image was resized: one record that carries coordinates, shapes and masks forward and maps back.

Coordinates are pixel indices, the centre of the top-left pixel is (0, 0); x to the right, y down. An image
therefore covers x from -0.5 to width - 0.5, and a resize takes x to (x + 0.5) * scale - 0.5, which is the
convention of `torch.nn.functional.interpolate(align_corners=False)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch.nn import functional

from cxrlens.data.annotations import BoolMask, Shape, map_points

Floats: TypeAlias = npt.NDArray[np.float64]
Coordinate = TypeVar("Coordinate", float, Floats)


@dataclass(frozen=True)
class Geometry:
    """The stretch of an image of height x width pixels to out_height x out_width, aspect not kept.

    "Forward" leads from the image to the resized one, "backward" from the resized one to the image.

    Raises:
        ValueError: when a size is not positive.
    """

    height: int
    width: int
    out_height: int
    out_width: int

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.out_height, self.out_width) < 1:
            raise ValueError(f"sizes should be positive: {self}")

    @classmethod
    def stretch(cls, height: int, width: int, out_height: int, out_width: int) -> Geometry:
        """The record of a plain resize in which x and y are scaled independently."""
        return cls(height, width, out_height, out_width)

    @property
    def scale_x(self) -> float:
        """Resized pixels per image pixel, along x."""
        return self.out_width / self.width

    @property
    def scale_y(self) -> float:
        """Resized pixels per image pixel, along y."""
        return self.out_height / self.height

    def forward_point(self, x: Coordinate, y: Coordinate) -> tuple[Coordinate, Coordinate]:
        """The resized image's (x, y) of the image's (x, y): numbers or arrays, also outside the image."""
        return (x + 0.5) * self.out_width / self.width - 0.5, (y + 0.5) * self.out_height / self.height - 0.5

    def backward_point(self, x: Coordinate, y: Coordinate) -> tuple[Coordinate, Coordinate]:
        """The image's (x, y) of the resized image's (x, y); the inverse of `forward_point`."""
        return (x + 0.5) * self.width / self.out_width - 0.5, (y + 0.5) * self.height / self.out_height - 0.5

    def forward_shape(self, shape: Shape) -> Shape:
        """The shape in the resized image's coordinates."""
        return map_points(shape, self.forward_point)

    def forward_mask(self, mask: BoolMask) -> BoolMask:
        """A mask [height, width] resized to [out_height, out_width].

        A pixel is set when its centre falls on a set pixel of the mask, between two on the right or lower one.
        A connected part of the mask on which no centre falls marks all pixels that it touches, so that no object
        vanishes.

        Raises:
            ValueError: when the mask has another shape.
        """
        self._check(mask.shape, (self.height, self.width))
        parts, count = ndimage.label(mask, structure=np.ones((3, 3)))
        x, y = self.backward_point(_indices(self.out_width), _indices(self.out_height))
        resized = parts[np.ix_(_pixel(y), _pixel(x))]
        kept = np.zeros(count + 1, dtype=bool)
        kept[resized] = True
        kept[0] = True  # the background
        result: BoolMask = resized > 0
        rows, columns = np.nonzero(~kept[parts])
        x, y = self.forward_point(columns.astype(np.float64), rows.astype(np.float64))
        result[_pixel(y), _pixel(x)] = True
        return result

    def backward_map(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """A map [out_height, out_width] resized to float32 [height, width].

        Bilinear; where the image is smaller than the map, the average under a triangle (antialiased), so that
        no narrow peak falls between the samples.

        Raises:
            ValueError: when the map has another shape.
        """
        self._check(values.shape, (self.out_height, self.out_width))
        source = torch.from_numpy(np.array(values, dtype=np.float32, order="C"))[None, None]
        size = (self.height, self.width)
        resized: npt.NDArray[np.float32]
        resized = functional.interpolate(source, size, mode="bilinear", antialias=True)[0, 0].numpy()
        return resized

    def extent(self) -> tuple[float, float, float, float]:
        """(left, right, bottom, top) of the resized image in image coordinates, as `Axes.imshow` takes it."""
        left, top = self.backward_point(-0.5, -0.5)
        right, bottom = self.backward_point(self.out_width - 0.5, self.out_height - 0.5)
        return left, right, bottom, top

    @staticmethod
    def _check(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
        if shape != expected:
            raise ValueError(f"the array should have the shape [height, width] = {expected}, not {shape}")


def _indices(n: int) -> Floats:
    return np.arange(n, dtype=np.float64)


def _pixel(coordinate: Floats) -> npt.NDArray[np.intp]:
    """The index of the pixel in which a coordinate lies."""
    return np.floor(coordinate + 0.5).astype(np.intp)
