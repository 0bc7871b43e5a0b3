"""Preprocessing: what reaches the network, stretched and letterboxed, and the record that goes with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from pydantic import ValidationError

from cxrlens.evaluation.baselines import fitted, mean_annotation_map
from cxrlens.inputs.annotations.ground_truth import object_mask, object_masks
from cxrlens.inputs.annotations.shapes import Rectangle
from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.preprocessing import Preprocessing

LETTERBOX = Preprocessing(height=64, width=80, resize="letterbox")


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).random((height, width), dtype=np.float32) * 0.8 + 0.2


@pytest.mark.parametrize("size", [(20, 200), (200, 20), (128, 100), (32, 40), (64, 80), (10, 6)])
def test_letterboxes_are_those_of_pillow(size: tuple[int, int]):
    """All paddings here are even, which leaves no choice of where the image lies."""
    pixels = noise(*size)
    theirs = ImageOps.pad(Image.fromarray(pixels), (80, 64), Image.Resampling.BILINEAR)
    found = LETTERBOX.resized(pixels)
    assert found.shape == (1, 64, 80)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], np.asarray(theirs), atol=1e-5)
    geometry = LETTERBOX.geometry(*size)
    assert np.array_equal(found[0] > 0.1, geometry.forward_mask(np.ones(size, bool)))  # padding is 0, and the rest not


def test_stretches_are_those_of_pillow():
    pixels = noise(20, 200)
    theirs = Image.fromarray(pixels).resize((80, 64), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(Preprocessing(height=64, width=80).resized(pixels)[0], np.asarray(theirs), atol=1e-5)


def test_padding_is_black_before_the_mean_is_subtracted():
    grey = LETTERBOX.resized(np.ones((16, 80), dtype=np.float32))
    found = LETTERBOX.normalized(torch.from_numpy(grey)[None])[0, :, 0, 0]
    expected = [-mean / std for mean, std in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)]
    assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("size", [(40, 300), (300, 40), (90, 130), (5, 7)])
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_a_spot_lands_where_the_record_says(size: tuple[int, int], resize: str):
    """Off the diagonal, at a quarter of the height and two thirds of the width."""
    preprocessing = LETTERBOX.model_copy(update={"resize": resize})
    row, column = size[0] // 4, 2 * size[1] // 3
    pixels = np.zeros(size, dtype=np.float32)
    pixels[row, column] = 1
    grey = preprocessing.resized(pixels)[0].astype(float)
    x, y = preprocessing.geometry(*size).forward_point(float(column), float(row))
    rows, columns = np.mgrid[:64, :80]
    assert (grey * rows).sum() / grey.sum() == pytest.approx(y, abs=0.5)
    assert (grey * columns).sum() / grey.sum() == pytest.approx(x, abs=0.5)


def test_reduced_pixels_lie_where_the_stored_image_does():
    """Half the pixels of an image of odd sides would be given another column on their own."""
    large = Preprocessing(height=600, width=600, resize="letterbox")
    stored, reduced = (2990, 2489), (1495, 1245)
    assert large.geometry(*stored).window != large.geometry(*reduced).window
    found = large.resized(np.ones(reduced, dtype=np.float32), stored)[0]
    assert np.array_equal(found > 0.5, large.geometry(*stored).forward_mask(np.ones(stored, bool)))


def test_a_letterboxed_picture_of_the_inputs_size_is_copied():
    pixels = noise(64, 80)
    found = LETTERBOX.resized(pixels)
    assert np.array_equal(found[0], pixels)
    found[:] = 0
    assert pixels.all()


def test_records_without_a_kind_of_resize_are_stretches():
    assert Preprocessing.model_validate_json('{"height": 64, "width": 80}').resize == "stretch"
    again = Preprocessing.model_validate_json(LETTERBOX.model_dump_json())
    assert again == LETTERBOX
    assert again != LETTERBOX.model_copy(update={"resize": "stretch"})
    with pytest.raises(ValidationError, match="letterbox"):
        Preprocessing.model_validate({"height": 64, "width": 80, "resize": "crop"})


def test_a_size_in_words_names_a_letterbox():
    assert LETTERBOX.size == "80 x 64 px, letterbox"
    assert Preprocessing(height=64, width=80).size == "80 x 64 px"


def test_masks_of_objects_cover_the_picture_alone(tmp_path):
    """A wide strip of which 64 x 80 leaves 20 x 80; the box reaches beyond its lower edge."""
    item = Item(FileOrigin(tmp_path / "a.png"), shapes=(Rectangle(100, 20, 140, 60),))
    mask = object_mask(item, 50, 200, LETTERBOX)
    expected = np.zeros((20, 80), bool)
    expected[8:20, 40:56] = True  # 100.5 * 0.4 - 0.5 to 140.5 * 0.4 - 0.5, and 20.5 * 0.4 - 0.5 to 49.5 * 0.4 - 0.5
    assert np.array_equal(mask, expected)


def test_the_mean_annotation_speaks_of_shares_of_the_sides(tmp_path):
    """A strip and a tall picture with an object at the same share of their sides."""
    items = []
    for name, (height, width) in {"strip": (40, 200), "tall": (240, 60)}.items():
        path = tmp_path / f"{name}.png"
        Image.new("L", (width, height)).save(path)
        box = Rectangle(0.7 * width, 0.2 * height, 0.8 * width, 0.3 * height)
        items.append(Item(FileOrigin(path), shapes=(box,)))
    map_ = mean_annotation_map(object_masks(items, LETTERBOX))
    assert map_ is not None
    assert map_.shape == (64, 80)
    for height, width in ((16, 80), (64, 16), (64, 80)):
        own = fitted(map_, height, width)
        assert own.shape == (height, width)
        row, column = np.unravel_index(own.argmax(), own.shape)
        assert row / height == pytest.approx(0.25, abs=1 / 16)
        assert column / width == pytest.approx(0.75, abs=1 / 16)
