"""Augmentation: the same pixels as torchvision's transforms, and boxes and masks that stay with them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms import v2

from cxrlens.training.augmentation import RandomAffine, build_transform, warp_affine
from cxrlens.training.recipe import PRESETS, Augmentation

HEIGHT, WIDTH = 90, 140


@given(
    angle=st.floats(-180, 180),
    translate=st.tuples(st.integers(-60, 60), st.integers(-60, 60)),
    scale=st.floats(0.5, 2),
    shear=st.tuples(st.floats(-30, 30), st.floats(-30, 30)),
    shape=st.sampled_from([(1, 37, 52), (3, 52, 37), (2, 1, 40, 40)]),
)
@settings(max_examples=60, deadline=None)
def test_warped_pixels_are_torchvisions(shape: tuple[int, ...], **params: Any) -> None:
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    expected = v2.functional.affine(images, **params, interpolation=v2.InterpolationMode.BILINEAR)
    torch.testing.assert_close(warp_affine(images, params), expected, rtol=0, atol=1e-3)


def test_the_transform_draws_what_torchvisions_draws() -> None:
    ranges: dict[str, Any] = {"degrees": 30, "translate": (0.1, 0.2), "scale": (0.8, 1.2), "shear": 10}
    ours = RandomAffine(**ranges)
    # Without a fill the outside is black too, and the border is not darkened twice.
    theirs = v2.RandomAffine(**ranges, interpolation=v2.InterpolationMode.BILINEAR, fill=None)
    image = torch.rand(1, HEIGHT, WIDTH)
    for wrapped in (image, tv_tensors.Image(image)):
        torch.manual_seed(5)
        expected = theirs(wrapped)
        torch.manual_seed(5)
        got = ours(wrapped)
        assert type(got) is type(wrapped)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-3)


def box_of(image: torch.Tensor) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the bright part, as edges."""
    rows, columns = torch.nonzero(image[0] > 0.5, as_tuple=True)
    return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)


@pytest.mark.parametrize("seed", range(12))
def test_boxes_and_masks_stay_with_the_pixels(seed: int) -> None:
    """A bright rectangle off the diagonal of a wide picture; its box after the transform is that of its pixels."""
    image = torch.zeros(1, HEIGHT, WIDTH)
    image[:, 20:38, 74:84] = 1
    boxes = tv_tensors.BoundingBoxes([[74.0, 20.0, 84.0, 38.0]], format="XYXY", canvas_size=(HEIGHT, WIDTH))
    transform = build_transform(
        Augmentation(flip=0.5, brightness=0.2, contrast=0.1, degrees=30, translate=0.1, scale=(0.9, 1.1), shear=5)
    )
    torch.manual_seed(seed)
    moved, moved_boxes, mask = transform(tv_tensors.Image(image), boxes, tv_tensors.Mask(image))
    relative = moved.as_subclass(torch.Tensor) / moved.max()
    torch.testing.assert_close(torch.tensor(box_of(relative)), moved_boxes[0].as_subclass(torch.Tensor), rtol=0, atol=1)
    assert box_of(mask) == pytest.approx(box_of(relative), abs=1)
    assert math.dist(box_of(relative)[:2], (74, 20)) > 1


def test_the_paper_recipe_flips_jitters_and_warps() -> None:
    kinds = [type(step) for step in build_transform(PRESETS["paper"].augmentation).transforms]
    assert kinds == [v2.RandomHorizontalFlip, v2.ColorJitter, RandomAffine]
    assert len(build_transform(Augmentation()).transforms) == 1
