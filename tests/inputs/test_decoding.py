"""Decoding many files: batches in order, and unreadable files listed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.decoding import BatchReader
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import read

PREPROCESSING = Preprocessing(height=24, width=40)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Seven files of different sizes; the first, the fourth and the last cannot be read."""
    (tmp_path / "in").mkdir()
    paths = [tmp_path / "in" / f"{letter}.png" for letter in "abcdefg"]
    random = np.random.default_rng(0)
    for index, path in enumerate(paths):
        pixels = random.integers(0, 65536, (20 + 9 * index, 70 - 5 * index), dtype=np.uint16)
        Image.fromarray(pixels).save(path)
    paths[0].write_bytes(b"")
    paths[3].write_text("no picture")
    paths[6].unlink()
    return paths


BAD = {0: "the file is empty", 3: "no image", 6: "No such file"}


def direct(path: Path) -> torch.Tensor:
    return torch.from_numpy(PREPROCESSING.resized(read(path).pixels))


def reader(files: list[Path], **options: int | bool) -> BatchReader:
    return BatchReader([Item(FileOrigin(path)) for path in files], PREPROCESSING, **options)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_batches_are_full_ordered_and_without_unreadable_files(files: list[Path], batch_size: int) -> None:
    batches = list(reader(files, batch_size=batch_size))
    sizes = [len(batch.items) for batch in batches]
    assert sum(sizes) == 4
    assert all(size == batch_size for size in sizes[:-1])
    assert [item.path for batch in batches for item in batch.items] == [files[i] for i in (1, 2, 4, 5)]
    for batch in batches:
        assert batch.grey.shape == (len(batch.items), 1, 24, 40)
        for item, image, grey in zip(batch.items, batch.images, batch.grey, strict=True):
            torch.testing.assert_close(grey, direct(item.path), rtol=0, atol=0)
            stored = read(item.path)
            assert (image.height, image.width) == (stored.height, stored.width)
            assert files[image.index] == item.path
            assert image.pixels is None


def test_unreadable_files_are_listed_once_with_their_reason(files: list[Path]) -> None:
    batches = reader(files, batch_size=2)
    for _ in range(2):  # a second pass starts the list anew
        list(batches)
        assert len(batches.unreadable) == len(BAD)
        for reason, (index, part) in zip(batches.unreadable, BAD.items(), strict=True):
            assert reason.startswith(f"{files[index]}: ")
            assert part in reason


def test_pixels_are_kept_where_asked_for(files: list[Path]) -> None:
    (batch,) = reader(files, keep_pixels=True)
    for item, image in zip(batch.items, batch.images, strict=True):
        assert image.pixels is not None
        np.testing.assert_array_equal(image.pixels.numpy(), read(item.path).pixels)


def test_only_unreadable_files_give_no_batch(files: list[Path]) -> None:
    batches = reader([files[0], files[3]])
    assert list(batches) == []
    assert len(batches.unreadable) == 2
    assert list(reader([])) == []


def test_workers_change_nothing(files: list[Path]) -> None:
    here, there = reader(files, batch_size=3), reader(files, batch_size=3, workers=2)
    for one, other in zip(here, there, strict=True):
        assert one.items == other.items
        torch.testing.assert_close(one.grey, other.grey, rtol=0, atol=0)
    assert here.unreadable == there.unreadable
