"""Geometry of a resized image: one record that carries coordinates, shapes and masks forward and maps back.

Coordinates are pixel indices, the centre of the top-left pixel is (0, 0); x to the right, y down. An image
therefore covers x from -0.5 to width - 0.5, and a resize takes x to (x + 0.5) * scale - 0.5, which is the
convention of Pillow and of `torch.nn.functional.interpolate(align_corners=False)`.

A *stretch* scales either axis by itself until the image fills the output. A *letterbox* scales both alike until the
image fits, and puts padding around it. The scaled sides are whole pixels, so that the two scales of a letterbox may
differ by the rounding; each is the ratio of the sides, never the wanted scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cxrlens.errors import ArgumentError
from cxrlens.inputs.annotations.shapes import BoolMask, Shape, map_points
from cxrlens.inputs.resampling import resample

if TYPE_CHECKING:
    from torch import Tensor

Floats: TypeAlias = npt.NDArray[np.float64]
Coordinate = TypeVar("Coordinate", float, Floats)
Values = TypeVar("Values", "Tensor", npt.NDArray[np.float32], npt.NDArray[np.bool_])


@dataclass(frozen=True)
class Geometry:
    """The resize of an image of height x width pixels into an output of out_height x out_width pixels.

    "Forward" leads from the image to the output, "backward" from the output to the image.

    Attributes:
        height: of the image; likewise ``width``.
        out_height: of the output; likewise ``out_width``.
        scaled_height: of the image in the output; likewise ``scaled_width``.
        top: rows of padding above the image; likewise ``left``.

    Raises:
        ArgumentError: when a size is not positive, or the scaled image does not lie in the output.
    """

    height: int
    width: int
    out_height: int
    out_width: int
    scaled_height: int
    scaled_width: int
    top: int = 0
    left: int = 0

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.scaled_height, self.scaled_width) < 1:
            raise ArgumentError(f"sizes should be positive: {self}")
        lower, right = self.top + self.scaled_height, self.left + self.scaled_width
        if min(self.top, self.left) < 0 or lower > self.out_height or right > self.out_width:
            raise ArgumentError(f"the scaled image should lie in the output: {self}")

    @classmethod
    def stretch(cls, height: int, width: int, out_height: int, out_width: int) -> Geometry:
        """The record of a plain resize in which x and y are scaled independently."""
        return cls(height, width, out_height, out_width, out_height, out_width)

    @classmethod
    def letterbox(cls, height: int, width: int, out_height: int, out_width: int) -> Geometry:
        """The record of a resize that keeps the aspect: the longest side that fits, the image in the middle.

        Scaled sides are rounded, and at least one pixel; of an odd padding the larger half lies below or to the right.
        """
        if min(height, width, out_height, out_width) < 1:
            raise ArgumentError(f"sizes should be positive: {height} x {width} into {out_height} x {out_width}")
        scale = min(out_height / height, out_width / width)
        scaled_height, scaled_width = max(round(height * scale), 1), max(round(width * scale), 1)
        top, left = (out_height - scaled_height) // 2, (out_width - scaled_width) // 2
        return cls(height, width, out_height, out_width, scaled_height, scaled_width, top, left)

    @property
    def window(self) -> tuple[int, int, int, int]:
        """The part of the output that the image covers: its first row and column, its height and width."""
        return self.top, self.left, self.scaled_height, self.scaled_width

    @property
    def is_padded(self) -> bool:
        """True where some of the output is not image."""
        return (self.scaled_height, self.scaled_width) != (self.out_height, self.out_width)

    def without_padding(self) -> Geometry:
        """The record of the same resize whose output is the image alone."""
        return Geometry.stretch(self.height, self.width, self.scaled_height, self.scaled_width)

    def cut(self, values: Values) -> Values:
        """A view of values [..., out_height, out_width] where the image lies, [..., scaled_height, scaled_width].

        Raises:
            ArgumentError: when the values have another shape.
        """
        self._check(tuple(values.shape[-2:]), (self.out_height, self.out_width))
        rows = slice(self.top, self.top + self.scaled_height)
        columns = slice(self.left, self.left + self.scaled_width)
        return values[..., rows, columns]

    def pad(self, values: Values) -> Values:
        """Values [..., scaled_height, scaled_width] with zeros around them, [..., out_height, out_width].

        Raises:
            ArgumentError: when the values have another shape.
        """
        self._check(tuple(values.shape[-2:]), (self.scaled_height, self.scaled_width))
        if not self.is_padded:
            return values
        right = self.out_width - self.left - self.scaled_width
        bottom = self.out_height - self.top - self.scaled_height
        if isinstance(values, np.ndarray):
            return np.pad(values, [(0, 0)] * (values.ndim - 2) + [(self.top, bottom), (self.left, right)])
        from torch.nn import functional

        return functional.pad(values, (self.left, right, self.top, bottom))

    def forward_point(self, x: Coordinate, y: Coordinate) -> tuple[Coordinate, Coordinate]:
        """The output's (x, y) of the image's (x, y): numbers or arrays, also outside the image."""
        return (
            (x + 0.5) * self.scaled_width / self.width - 0.5 + self.left,
            (y + 0.5) * self.scaled_height / self.height - 0.5 + self.top,
        )

    def backward_point(self, x: Coordinate, y: Coordinate) -> tuple[Coordinate, Coordinate]:
        """The image's (x, y) of the output's (x, y), for padding outside the image; the inverse of `forward_point`."""
        return (
            (x - self.left + 0.5) * self.width / self.scaled_width - 0.5,
            (y - self.top + 0.5) * self.height / self.scaled_height - 0.5,
        )

    def backward_pixel(self, row: int, column: int) -> tuple[int, int]:
        """(row, column) of the image's pixel that the centre of the output's pixel falls on, the nearest of padding."""
        x, y = self.backward_point(float(column), float(row))
        return min(max(round(y), 0), self.height - 1), min(max(round(x), 0), self.width - 1)

    def forward_shape(self, shape: Shape) -> Shape:
        """The shape in the output's coordinates."""
        return map_points(shape, self.forward_point)

    def forward_mask(self, mask: BoolMask) -> BoolMask:
        """A mask [height, width] resized to [out_height, out_width]; padding is never set.

        A pixel is set when its centre falls on a set pixel of the mask, between two on the right or lower one.
        A connected part of the mask on which no centre falls marks all pixels that it touches, so that no object
        vanishes.

        Raises:
            ArgumentError: when the mask has another shape.
        """
        self._check(mask.shape, (self.height, self.width))
        parts, count = ndimage.label(mask, structure=np.ones((3, 3)))
        inner = self.without_padding()
        x, y = inner.backward_point(_indices(self.scaled_width), _indices(self.scaled_height))
        resized = parts[np.ix_(_pixel(y), _pixel(x))]
        kept = np.zeros(count + 1, dtype=bool)
        kept[resized] = True
        kept[0] = True  # the background
        result: BoolMask = np.zeros((self.out_height, self.out_width), dtype=bool)
        image = self.cut(result)
        image[:] = resized > 0
        rows, columns = np.nonzero(~kept[parts])
        x, y = inner.forward_point(columns.astype(np.float64), rows.astype(np.float64))
        image[_pixel(y), _pixel(x)] = True
        return result

    def backward_map(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """A map [out_height, out_width] resized to float32 [height, width]; what lies on padding is cut away.

        Bilinear; where the image is smaller than the map, the average under a triangle (antialiased), so that
        no narrow peak falls between the samples.

        Raises:
            ArgumentError: when the map has another shape.
        """
        self._check(values.shape, (self.out_height, self.out_width))
        return resample(self.cut(values), self.height, self.width)

    def extent(self) -> tuple[float, float, float, float]:
        """(left, right, bottom, top) of the output, padding included, in image coordinates, for `Axes.imshow`."""
        left, top = self.backward_point(-0.5, -0.5)
        right, bottom = self.backward_point(self.out_width - 0.5, self.out_height - 0.5)
        return left, right, bottom, top

    @staticmethod
    def _check(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
        if shape != expected:
            raise ArgumentError(f"the array should have the shape [height, width] = {expected}, not {shape}")


def _indices(n: int) -> Floats:
    return np.arange(n, dtype=np.float64)


def _pixel(coordinate: Floats) -> npt.NDArray[np.intp]:
    """The index of the pixel in which a coordinate lies."""
    return np.floor(coordinate + 0.5).astype(np.intp)
