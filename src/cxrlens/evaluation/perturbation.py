"""Stability of maps when the image changes in ways that leave its objects where they are, or move them in step.

A perturbation changes grey images [N, 1, H, W] in [0, 1] at the network's input size; the maps of the changed images
are brought back to the original pixels and compared with the maps of the original ones. Positions are (x, y) in
pixels, the centre of the top-left pixel at (0, 0).
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from cxrlens.errors import ArgumentError
from cxrlens.evaluation.pointing_game import find_peaks
from cxrlens.evaluation.similarity import image_sums, is_flat, ssim_map

Matrix: TypeAlias = npt.NDArray[np.float64]  # [3, 3], of homogeneous (x, y, 1)
Change: TypeAlias = Callable[[Tensor, Sequence[int]], Tensor]
Motion: TypeAlias = Callable[[int, int], Matrix]

NOISE_SIGMA = 0.02  # of grey values in [0, 1]
BRIGHTNESS = 0.1
CONTRAST = 0.8
SHIFT = (0.02, -0.01)  # to the right and up, as a share of width and height
ROTATION = 3.0  # degrees, clockwise on the screen
JPEG_QUALITY = 75


@dataclass(frozen=True)
class Perturbation:
    """A named change of images; either of grey values, or a motion that moves pixels.

    Attributes:
        name: short, for tables.
        description: what it does, with its size.
        change: new grey values of images [N, 1, H, W] given a seed per image; None for a motion.
        motion: for a height and a width, the matrix that takes original pixels (x, y, 1) to their new places; None
            where pixels stay.
    """

    name: str
    description: str
    change: Change | None = None
    motion: Motion | None = None

    def __call__(self, images: Tensor, *, seeds: Sequence[int]) -> Tensor:
        """The changed images [N, 1, H, W] in [0, 1], on their device; a motion repeats the edge where it lacks pixels.

        Args:
            images: [N, 1, H, W] in [0, 1].
            seeds: one per image, so that a result does not depend on the batch; only noise uses it.

        Raises:
            ArgumentError: when images and seeds differ in number.
        """
        if len(images) != len(seeds):
            raise ArgumentError(f"{len(images)} images but {len(seeds)} seeds")
        if self.motion is not None:
            backward = np.linalg.inv(self.motion(*images.shape[-2:]))
            return _sampled(images, np.asarray(backward, dtype=np.float64))
        assert self.change is not None
        return self.change(images, seeds).clamp(0, 1)

    def restored(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [N, H, W] of changed images, brought back to the original pixels (bilinear).

        Returns:
            The maps, 0 where the original pixel had left the image, and bool [H, W]: the pixels that had not.
        """
        height, width = maps.shape[1:]
        if self.motion is None:
            return maps, torch.ones(height, width, dtype=torch.bool, device=maps.device)
        matrix = self.motion(height, width)
        x, y = _places(matrix, height, width)
        slack = 1e-6
        inside = (x >= -slack) & (x <= width - 1 + slack) & (y >= -slack) & (y <= height - 1 + slack)
        valid = torch.from_numpy(inside).to(maps.device)
        return _sampled(maps[:, None], matrix)[:, 0] * valid, valid


@dataclass(frozen=True)
class Stability:
    """Likeness of the maps before and after, per image.

    Attributes:
        ssim: mean local structural similarity over valid pixels, float64 [N] in [-1, 1]; NaN without a valid pixel, or
            where a map is flat there.
        peak_distance: pixels between the two peaks among valid pixels, float64 [N]; NaN where a map is flat there.
    """

    ssim: Tensor
    peak_distance: Tensor


def stability(original: Tensor, restored: Tensor, valid: Tensor, *, seeds: Sequence[int] | None = None) -> Stability:
    """Compare maps with those of the changed images, brought back by `Perturbation.restored`.

    Args:
        original: [N, H, W] in [0, 1].
        restored: [N, H, W] in [0, 1].
        valid: bool [H, W], the pixels to compare; elsewhere both maps are taken for 0.
        seeds: one per image, for peaks that tie; 0, 1, ... when None.

    Raises:
        ArgumentError: when the shapes differ.
    """
    if original.shape != restored.shape or valid.shape != original.shape[1:]:
        raise ArgumentError(
            f"maps {list(original.shape)} and {list(restored.shape)} and the mask {list(valid.shape)} do not fit"
        )
    seeds = range(len(original)) if seeds is None else seeds
    count = int(valid.sum())
    if not count:
        nothing = original.new_full((len(original),), torch.nan, dtype=torch.float64)
        return Stability(nothing, nothing)
    local = ssim_map(original * valid, restored * valid)
    peaks = [find_peaks(maps.masked_fill(~valid, -1), seeds=seeds) for maps in (original, restored)]
    distances = [
        math.nan if count in (a.tied, b.tied) and count > 1 else math.hypot(a.row - b.row, a.column - b.column)
        for a, b in zip(*peaks, strict=True)
    ]
    flat = is_flat(original[:, valid]) | is_flat(restored[:, valid])
    return Stability(
        (image_sums(local[:, valid]) / count).masked_fill(flat, torch.nan),
        torch.tensor(distances, dtype=torch.float64, device=original.device),
    )


def _noise(images: Tensor, seeds: Sequence[int]) -> Tensor:
    shape = images.shape[1:]
    noise = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return images + NOISE_SIGMA * torch.stack(noise).to(images) if noise else images


def _gamma(exponent: float) -> Change:
    return lambda images, _: images.pow(exponent)


def _brightness(images: Tensor, _: Sequence[int]) -> Tensor:
    return images + BRIGHTNESS


def _contrast(images: Tensor, _: Sequence[int]) -> Tensor:
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + CONTRAST * (images - mean)


def _jpeg(images: Tensor, _: Sequence[int]) -> Tensor:
    decoded = np.empty(images.shape, dtype=np.float32)
    for index, pixels in enumerate((images[:, 0] * 255).round().to(torch.uint8).cpu().numpy()):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=JPEG_QUALITY)
        with Image.open(stream) as image:
            decoded[index, 0] = np.asarray(image, dtype=np.float32) / 255
    return torch.from_numpy(decoded).to(images)


def _shift(height: int, width: int) -> Matrix:
    """By whole pixels, one at least."""
    right, down = (
        math.copysign(max(round(abs(share) * side), 1), share)
        for share, side in zip(SHIFT, (width, height), strict=True)
    )
    return np.array([[1, 0, right], [0, 1, down], [0, 0, 1]])


def _rotation(height: int, width: int) -> Matrix:
    """About the middle of the image."""
    x, y = (width - 1) / 2, (height - 1) / 2
    cos, sin = math.cos(math.radians(ROTATION)), math.sin(math.radians(ROTATION))
    return np.array([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y], [0, 0, 1]])


def _places(matrix: Matrix, height: int, width: int) -> tuple[Matrix, Matrix]:
    """The places to which the matrix takes each pixel: x and y, each [H, W]."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2], matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]


def _sampled(images: Tensor, matrix: Matrix) -> Tensor:
    """Images [N, 1, H, W] read at the places to which the matrix takes each pixel; the edge is repeated outside."""
    height, width = images.shape[-2:]
    x, y = _places(matrix, height, width)
    grid = np.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], axis=-1)
    places = torch.from_numpy(grid).to(images).expand(len(images), -1, -1, -1)
    return functional.grid_sample(images, places, mode="bilinear", padding_mode="border", align_corners=False)


PERTURBATIONS: dict[str, Perturbation] = {
    perturbation.name: perturbation
    for perturbation in (
        Perturbation("noise", f"Gaussian noise of sigma {NOISE_SIGMA} of the grey range", _noise),
        Perturbation("gamma_0.8", "grey values to the power of 0.8 (brighter)", _gamma(0.8)),
        Perturbation("gamma_1.25", "grey values to the power of 1.25 (darker)", _gamma(1.25)),
        Perturbation("brightness", f"grey values plus {BRIGHTNESS}", _brightness),
        Perturbation("contrast", f"differences from the picture's mean times {CONTRAST}", _contrast),
        Perturbation("jpeg", f"JPEG in 8 bits at quality {JPEG_QUALITY}", _jpeg),
        Perturbation(
            "shift",
            f"moved by {SHIFT[0]:.0%} of the width to the right, {-SHIFT[1]:.0%} of the height up",
            motion=_shift,
        ),
        Perturbation("rotation", f"turned by {ROTATION:g} degrees about the middle", motion=_rotation),
    )
}
