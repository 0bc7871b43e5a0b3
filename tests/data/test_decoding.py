"""Decoding many files: batches in order, unreadable files listed, and the cache as good as decoding again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cxrlens.data import pixel_cache
from cxrlens.data.decoding import BatchReader
from cxrlens.data.layouts import Item
from cxrlens.data.pixel_cache import PixelCache
from cxrlens.data.preprocessing import Preprocessing
from cxrlens.data.readers import read

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
    return PREPROCESSING.resized(read(path).pixels)


def reader(files: list[Path], **options: int | bool) -> BatchReader:
    return BatchReader([Item(path) for path in files], PREPROCESSING, **options)


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


@pytest.mark.parametrize("workers", [0, 2])
def test_the_cache_holds_what_decoding_gives(files: list[Path], tmp_path: Path, workers: int) -> None:
    seen: list[tuple[int, int]] = []
    cache = PixelCache.build(
        tmp_path / "cache", files, PREPROCESSING, workers=workers, progress=lambda *state: seen.append(state)
    )
    for index, path in enumerate(files):
        if index in BAD:
            assert not cache.image(index).any()
            assert cache.unreadable[index].startswith(f"{path}: ")
            assert BAD[index] in cache.unreadable[index]
        else:
            image = cache.image(index)
            assert image.dtype == torch.float32
            torch.testing.assert_close(image, direct(path), rtol=0, atol=0.5 / 65535 + 1e-7)
    assert set(cache.unreadable) == set(BAD)
    assert seen == [(count, len(files)) for count in range(1, len(files) + 1)]


def test_a_finished_cache_is_reused(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    assert PixelCache.open(folder, files, PREPROCESSING) is None
    built = PixelCache.build(folder, files, PREPROCESSING)
    monkeypatch.setattr(pixel_cache, "DecodedImages", None)  # decoding would fail
    for cache in (PixelCache.build(folder, files, PREPROCESSING), PixelCache.open(folder, files, PREPROCESSING)):
        assert cache is not None
        np.testing.assert_array_equal(cache.pixels, built.pixels)
        assert cache.unreadable == built.unreadable
    assert PixelCache.open(folder, files[::-1], PREPROCESSING) is None
    assert PixelCache.open(folder, files[1:], PREPROCESSING) is None
    assert PixelCache.open(folder, files, Preprocessing(height=40, width=24)) is None


def test_a_changed_or_appeared_source_is_decoded_anew(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    before = PixelCache.build(folder, files, PREPROCESSING).image(1)
    state = files[1].stat()
    turned = 65535 - np.asarray(Image.open(files[1]))
    Image.fromarray(turned).save(files[1])
    os.utime(files[1], ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert PixelCache.open(folder, files, PREPROCESSING) is None
    after = PixelCache.build(folder, files, PREPROCESSING).image(1)
    torch.testing.assert_close(after, direct(files[1]), rtol=0, atol=1e-5)
    assert (after - before).abs().max() > 0.1
    Image.fromarray(turned).save(files[6])
    assert set(PixelCache.build(folder, files, PREPROCESSING).unreadable) == {0, 3}


@pytest.mark.parametrize("at", [1, 4, 7])
def test_a_killed_build_leaves_nothing_that_looks_like_a_cache(files: list[Path], tmp_path: Path, at: int) -> None:
    folder = tmp_path / "cache"

    def killer(done: int, _total: int) -> None:
        if done == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PixelCache.build(folder, files, PREPROCESSING, progress=killer)
    assert list(folder.iterdir()) == []
    assert PixelCache.open(folder, files, PREPROCESSING) is None
    assert set(PixelCache.build(folder, files, PREPROCESSING).unreadable) == set(BAD)


def test_pixels_without_their_index_are_no_cache(files: list[Path], tmp_path: Path) -> None:
    """What a kill between the two renames leaves."""
    folder = tmp_path / "cache"
    PixelCache.build(folder, files, PREPROCESSING)
    (index,) = folder.glob("*.json")
    index.unlink()
    assert PixelCache.open(folder, files, PREPROCESSING) is None
    assert PixelCache.build(folder, files, PREPROCESSING).unreadable.keys() == BAD.keys()
