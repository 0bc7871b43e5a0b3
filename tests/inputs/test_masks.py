"""Mask images as annotations: the same object as a shape and as a mask is the same object."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.annotations.ground_truth import annotated_objects, object_mask, object_masks
from cxrlens.inputs.annotations.masks import decode_mask, mask_parts, read_mask
from cxrlens.inputs.annotations.shapes import BoolMask, Ellipse, rasterize
from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.preprocessing import Preprocessing

HEIGHT, WIDTH = 30, 70
OBJECT = Ellipse(50, 3, 64, 12)  # at the top right: its mirror image at the diagonal lies elsewhere
MASK = rasterize([OBJECT], height=HEIGHT, width=WIDTH)

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def labelled(value: int, dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(MASK.astype(dtype) * dtype(value))


def palette() -> Image.Image:
    """Index 1 is the background, which is black, and index 0 the object."""
    image = Image.fromarray(1 - MASK.astype(np.uint8), "P")
    image.putpalette([0, 0, 40, 0, 0, 0])
    return image


def see_through() -> Image.Image:
    """White everywhere, but only the object is not transparent."""
    return Image.fromarray(np.dstack([np.full((HEIGHT, WIDTH, 3), 255), MASK * 255]).astype(np.uint8))


KINDS = {
    "one": encoded(labelled(1)),
    "white": encoded(labelled(255)),
    "deep": encoded(labelled(3, np.uint16)),
    "bilevel": encoded(Image.fromarray(MASK)),
    "blue": encoded(Image.fromarray(np.dstack([MASK * 0, MASK * 0, MASK * 1]).astype(np.uint8))),
    "palette": encoded(palette()),
    "transparent": encoded(see_through()),
    "tiff": encoded(labelled(2), "TIFF"),
    "bmp": encoded(labelled(200), "BMP"),
    "webp": encoded(labelled(255).convert("RGB"), "WEBP", lossless=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_black_is_an_object(kind: str) -> None:
    np.testing.assert_array_equal(decode_mask(KINDS[kind], "m", height=HEIGHT, width=WIDTH), MASK)


def test_the_noise_of_a_jpeg_is_no_object() -> None:
    content = encoded(labelled(255), "JPEG", quality=60)
    with Image.open(io.BytesIO(content)) as image:
        assert (np.asarray(image)[~MASK] > 0).any()  # the noise is there
    found = decode_mask(content, "m", height=HEIGHT, width=WIDTH)
    assert (found ^ MASK).mean() < 0.01


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no image"),
        (b"some text", "is no image"),
        (KINDS["white"][: len(KINDS["white"]) // 2], "cannot be read"),
        (encoded(labelled(1).transpose(Image.Transpose.TRANSPOSE)), "has 30 x 70 pixels, its image 70 x 30"),
    ],
)
def test_a_mask_that_is_none_is_named(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=rf"mask\.png: the mask {reason}"):
        read_mask(path, height=HEIGHT, width=WIDTH)
    path.unlink()
    with pytest.raises(UnreadableImageError, match=r"mask\.png: the mask cannot be read: No such file"):
        read_mask(path, height=HEIGHT, width=WIDTH)


@given(masks)
def test_parts_are_the_mask(mask: BoolMask) -> None:
    parts = mask_parts(mask)
    y, x = np.indices(mask.shape).astype(np.float64)
    inside = np.array([part.contains(x, y) for part in parts]).reshape(len(parts), *mask.shape)
    np.testing.assert_array_equal(inside.sum(axis=0), mask)  # each pixel in one part
    for part in inside:  # no part touches another
        grown = np.zeros(np.add(mask.shape, 2), bool)
        for down in (0, 1, 2):
            for right in (0, 1, 2):
                grown[down : down + mask.shape[0], right : right + mask.shape[1]] |= part
        assert not (grown[1:-1, 1:-1] & mask & ~part).any()


@given(masks, st.floats(-3, 16), st.floats(-3, 16))
def test_a_point_lies_in_the_part_of_its_pixel(mask: BoolMask, x: float, y: float) -> None:
    column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
    expected = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1] and mask[row, column]
    found = [bool(part.contains(np.array(x), np.array(y))) for part in mask_parts(mask)]
    assert any(found) == expected


@pytest.fixture
def twins(tmp_path: Path) -> tuple[Item, Item]:
    """One image annotated by a shape, and by its mask."""
    image, mask = tmp_path / "image.png", tmp_path / "mask.png"
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(image)
    labelled(1).save(mask)
    return Item(FileOrigin(image), 1, (OBJECT,)), Item(FileOrigin(image), 1, mask=mask)


@pytest.mark.parametrize("size", [(60, 60), (90, 35), (21, 111)])
def test_a_shape_and_its_mask_cover_the_same_input_pixels(twins: tuple[Item, Item], size: tuple[int, int]) -> None:
    preprocessing = Preprocessing(height=size[0], width=size[1])
    shape, mask = (object_mask(item, HEIGHT, WIDTH, preprocessing) for item in twins)
    assert (shape & mask).sum() / (shape | mask).sum() > 0.8
    mirrored = object_mask(Item(FileOrigin(twins[0].path), 1, (Ellipse(3, 15, 12, 27),)), HEIGHT, WIDTH, preprocessing)
    assert not (mask & mirrored).any()
    assert [each.any() for each in object_masks(twins, preprocessing)] == [True, True]


def test_shapes_and_a_mask_are_united(twins: tuple[Item, Item]) -> None:
    both = Item(FileOrigin(twins[0].path), 1, (Ellipse(0, 20, 9, 29),), twins[1].mask)
    preprocessing = Preprocessing(height=HEIGHT, width=WIDTH)
    expected = MASK | rasterize(both.shapes or (), height=HEIGHT, width=WIDTH)
    np.testing.assert_array_equal(object_mask(both, HEIGHT, WIDTH, preprocessing), expected)
    shape, part = annotated_objects(both)
    assert shape == Ellipse(0, 20, 9, 29)
    x, y = np.array([57.0, 7.0]), np.array([7.0, 57.0])  # its middle, and the same mirrored
    assert part.contains(x, y).tolist() == [True, False]


def test_an_unreadable_mask_leaves_the_image_out_of_the_mean_and_is_named_elsewhere(twins: tuple[Item, Item]) -> None:
    item = twins[1]
    assert item.mask is not None
    item.mask.write_bytes(b"")
    preprocessing = Preprocessing(height=8, width=8)
    assert list(object_masks([item], preprocessing)) == []
    with pytest.raises(UnreadableImageError, match=r"mask\.png"):
        object_mask(item, HEIGHT, WIDTH, preprocessing)
