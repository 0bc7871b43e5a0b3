"""The random changes of training images: torchvision's transforms, the affine one with a cheaper sampling grid."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import tv_tensors
from torchvision.transforms import v2

from cxrlens.training.recipe import Augmentation


def build_transform(augmentation: Augmentation) -> nn.Module:
    """The random transform of a grey image [1, h, w] in [0, 1]; boxes and masks given with it move along."""
    steps: list[nn.Module] = [v2.RandomHorizontalFlip(augmentation.flip)]
    if augmentation.brightness or augmentation.contrast:
        steps.append(v2.ColorJitter(brightness=augmentation.brightness, contrast=augmentation.contrast))
    if augmentation.degrees or augmentation.translate or augmentation.shear or augmentation.scale != (1.0, 1.0):
        steps.append(
            RandomAffine(
                degrees=augmentation.degrees,
                translate=(augmentation.translate, augmentation.translate),
                scale=augmentation.scale,
                shear=augmentation.shear,
            )
        )
    return v2.Compose(steps)


class RandomAffine(v2.RandomAffine):  # type: ignore[misc]
    """torchvision's transform; float images are sampled bilinearly, black outside, in a third of its time.

    On a CPU most of torchvision's time goes into the sampling grid, a product of all pixels' coordinates with the
    matrix. Here the grid is a sum of a row and a column. The matrix is read off three points that torchvision moves.
    """

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if type(inpt) is Tensor:
            return warp_affine(inpt, params)
        if isinstance(inpt, tv_tensors.Image):
            return tv_tensors.wrap(warp_affine(inpt.as_subclass(Tensor), params), like=inpt)
        return super().transform(inpt, params)


def warp_affine(images: Tensor, params: dict[str, Any]) -> Tensor:
    """Float images [..., C, h, w] under `torchvision.transforms.v2.functional.affine` with these parameters."""
    height, width = images.shape[-2:]
    half = torch.tensor([width / 2, height / 2], dtype=torch.float64)
    corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    points = tv_tensors.KeyPoints((corners + 1) * half, canvas_size=(height, width))
    moved = v2.functional.affine(points, **params).as_subclass(Tensor) / half - 1
    # Rows (x, y, 1) of moved points times this give the points they came from, from -1 to 1 over the image.
    back = torch.linalg.solve(functional.pad(moved, (0, 1), value=1.0), corners).to(images.dtype)
    x = (torch.arange(width, dtype=images.dtype) * 2 + 1) / width - 1
    y = (torch.arange(height, dtype=images.dtype) * 2 + 1) / height - 1
    grid = images.new_empty(1, height, width, 2)
    for axis in (0, 1):
        torch.add(x * back[0, axis], (y * back[1, axis] + back[2, axis])[:, None], out=grid[0, :, :, axis])
    flat = images.reshape(1, -1, height, width)
    return functional.grid_sample(flat, grid, align_corners=False).reshape(images.shape)
