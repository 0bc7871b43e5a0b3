"""The composited radiographs in the users' layout, where they are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrlens.inputs.annotations.table import clip_to_image
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.readers import image_size, read

ROOT = Path(__file__).resolve().parents[3] / "shared" / "data" / "object-CXR"
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="the composited radiographs are not at hand")


@pytest.mark.parametrize("name", ["train", "dev"])
def test_every_image_has_its_row_and_every_object_lies_in_its_picture(name: str) -> None:
    split = Dataset(ROOT).split(name)
    assert split.remarks == ()
    assert min(split.counts().values()) > 0
    for item in split.items:
        assert bool(item.shapes) == (item.label == 1)
        height, width = image_size(item.path)
        kept, remarks = clip_to_image(item.shapes or (), height=height, width=width, name=item.name)
        assert (len(kept), remarks) == (len(item.shapes or ()), [])


def test_a_picture_is_read_in_its_full_range() -> None:
    item = Dataset(ROOT).split("dev").items[0]
    image = read(item.path)
    assert (image.height, image.width) == image_size(item.path)
    assert image.pixels.min() >= 0
    assert 0.5 < image.pixels.max() <= 1
