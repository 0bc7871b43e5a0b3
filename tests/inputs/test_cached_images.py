"""Decoded images kept between runs: as good as decoding again, by content, whole after a kill and with two writers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from cxrlens.errors import UsageError
from cxrlens.inputs import origin
from cxrlens.inputs.cache import images, sources
from cxrlens.inputs.cache.images import CachedImages, cache_images, group_name
from cxrlens.inputs.cache.store import ArrayStore
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Note, Radiograph, decode, doubts, read
from waiting import PATIENCE

PREPROCESSING = Preprocessing(height=24, width=40)
BAD = {0: "the file is empty", 3: "no image", 6: "No such file"}
EIGHT_BIT = (2, 5)


@pytest.fixture(autouse=True)
def _of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures here are smaller than one that can be judged; readers are forked from this process."""
    monkeypatch.setattr("cxrlens.inputs.readers.display.remarks_on_size", lambda height, width: [])


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Seven files of different sizes; the first, the fourth and the last cannot be read; two JPEGs, two 16-bit PNGs."""
    (tmp_path / "in").mkdir()
    paths = [tmp_path / "in" / f"{letter}.{'jpg' if i in EIGHT_BIT else 'png'}" for i, letter in enumerate("abcdefg")]
    random = np.random.default_rng(0)
    for index, path in enumerate(paths):
        pixels = random.integers(0, 65536, (60 + 9 * index, 170 - 5 * index), dtype=np.uint16)
        Image.fromarray((pixels >> 8).astype(np.uint8) if index in EIGHT_BIT else pixels).save(path)
    paths[0].write_bytes(b"")
    paths[3].write_text("no picture")
    paths[6].unlink()
    return paths


@pytest.fixture
def store(tmp_path: Path) -> ArrayStore:
    return ArrayStore(tmp_path / "cache", 10**8)


def direct(path: Path) -> torch.Tensor:
    return torch.from_numpy(PREPROCESSING.resized(read(path, at_least=PREPROCESSING.decoded_at_least).pixels))


def build(store: ArrayStore, paths: Sequence[Path], **options: int) -> CachedImages:
    with store.in_use():
        return cache_images(store, [FileOrigin(path) for path in paths], PREPROCESSING, **options)


def check(cached: CachedImages, paths: Sequence[Path], bad: Sequence[int] = tuple(BAD)) -> None:
    """Every readable image is what decoding gives, to half a level."""
    assert set(cached.unreadable) == set(bad)
    for index, path in enumerate(paths):
        if index not in bad:
            level = 1 / 255 if path.suffix == ".jpg" else 1 / 65535
            torch.testing.assert_close(cached.image(index), direct(path), rtol=0, atol=level / 2 + 1e-6)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_cache_holds_what_decoding_gives(files: list[Path], store: ArrayStore, workers: int) -> None:
    seen: list[tuple[int, int]] = []
    with store.in_use():
        origins = [FileOrigin(path) for path in files]
        cached = cache_images(
            store, origins, PREPROCESSING, workers=workers, progress=lambda *state: seen.append(state)
        )
    check(cached, files)
    for index, part in BAD.items():
        assert cached.digests[index] is None
        assert cached.unreadable[index].startswith(f"{files[index]}: ")
        assert part in cached.unreadable[index]
    assert cached.image(1).dtype == torch.float32
    kinds = {index: np.load(store.path(cached.group, str(cached.digests[index]))).dtype for index in (1, 2, 4, 5)}
    assert kinds == {1: np.uint16, 2: np.uint8, 4: np.uint16, 5: np.uint8}
    assert seen == [(count, len(files)) for count in range(1, len(files) + 1)]


def test_the_same_content_is_not_decoded_again(
    files: list[Path], store: ArrayStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(store, files)
    good = [files[index] for index in (5, 1, 4)]
    moved = [shutil.copy(path, tmp_path / f"copy-{path.name}") for path in good]
    monkeypatch.setattr(images, "decode", None)  # decoding would fail
    for paths in (good, moved, [*moved, *moved]):
        again = build(store, paths)
        for place in range(len(paths)):
            torch.testing.assert_close(again.image(place), first.image((5, 1, 4)[place % 3]), rtol=0, atol=0)
    monkeypatch.undo()
    assert group_name(PREPROCESSING) != group_name(Preprocessing(height=40, width=24))
    assert group_name(PREPROCESSING) != group_name(PREPROCESSING.model_copy(update={"mean": (0.5, 0.5, 0.5)}))


def test_unchanged_files_are_not_even_read(
    files: list[Path], store: ArrayStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [files[index] for index in (1, 2, 4, 5)]
    monkeypatch.setattr(sources, "_SETTLED_NS", 0)
    build(store, good)
    monkeypatch.setattr(origin, "read_content", None)  # reading would fail
    check(build(store, good), good, ())


def test_files_that_changed_just_now_are_read_again(files: list[Path], tmp_path: Path) -> None:
    fresh = FileOrigin(files[1])
    state = fresh.state()
    assert state is not None
    index = sources.SourceIndex(tmp_path / "sources")
    index.note(fresh, state, "fresh")
    assert index.digest(fresh, state) is None


@pytest.mark.parametrize("keeps", ["nothing", "size and time"])
@pytest.mark.parametrize("settled", [0, 2 * 10**9])
def test_a_changed_source_is_noticed(
    files: list[Path], store: ArrayStore, monkeypatch: pytest.MonkeyPatch, keeps: str, settled: int
) -> None:
    monkeypatch.setattr(sources, "_SETTLED_NS", settled)
    before = build(store, files)
    state, content = files[1].stat(), bytearray(files[1].read_bytes())
    Image.fromarray(65535 - np.asarray(Image.open(files[1]))).save(files[1])
    if keeps == "size and time":
        longest = max(len(content), files[1].stat().st_size)
        files[1].write_bytes(files[1].read_bytes().ljust(longest, b"\0"))
        if longest > state.st_size:
            pytest.skip("the changed picture compresses worse")
        os.utime(files[1], ns=(state.st_atime_ns, state.st_mtime_ns))
        assert files[1].stat()[6:9] == state[6:9]
    after = build(store, files)
    check(after, files)
    assert (after.image(1) - before.image(1)).abs().max() > 0.1
    check(before, files[:1] + files[2:1])


def test_a_file_that_becomes_readable_is_taken(files: list[Path], store: ArrayStore) -> None:
    build(store, files)
    shutil.copy(files[1], files[6])
    check(build(store, files), files, (0, 3))


def test_a_file_that_changes_while_it_is_read_is_left_out(
    files: list[Path], store: ArrayStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def growing(content: bytes, name: str, **options: tuple[int, int]) -> Radiograph:
        radiograph = decode(content, name, **options)
        with Path(name).open("ab") as stream:
            stream.write(b"more")
        return radiograph

    monkeypatch.setattr(images, "decode", growing)
    cached = build(store, files[1:2])
    assert "changed while it was read" in cached.unreadable[0]
    assert store.contents().entries == 0


def dull(path: Path, top: int, seed: int) -> Path:
    """A picture whose brightest pixel is ``top`` of 255: below the half it is nearly black."""
    pixels = np.random.default_rng(seed).integers(0, top + 1, (60, 170), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("workers", [0, 2])
def test_a_kept_image_keeps_its_remarks(
    tmp_path: Path, store: ArrayStore, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [dull(tmp_path / f"{top}.png", top, top) for top in (250, 90, 251, 60)]
    first = build(store, paths, workers=workers)
    assert first.remarks.keys() == {1, 3}
    for index, path in enumerate(paths):
        assert first.remarks.get(index, ()) == read(path).remarks
    moved = [shutil.copy(path, tmp_path / f"copy-{path.name}") for path in reversed(paths)]
    monkeypatch.setattr(images, "decode", None)  # decoding would fail
    assert build(store, paths, workers=workers).remarks == first.remarks
    assert build(store, moved, workers=workers).remarks == {0: first.remarks[3], 2: first.remarks[1]}
    for index, path in enumerate(paths):
        torch.testing.assert_close(first.image(index), direct(path), rtol=0, atol=0.5 / 255 + 1e-6)


def test_kept_remarks_keep_their_kind(tmp_path: Path, store: ArrayStore, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 170)).astype(np.uint16)).save(path)  # a note
    first = build(store, [path]).remarks[0]
    assert [isinstance(remark, Note) for remark in first] == [True]
    remarks = "It is black.", *first
    monkeypatch.setattr(
        images, "decode", lambda content, name, **options: replace(decode(content, name, **options), remarks=remarks)
    )
    build(store, [dull(tmp_path / "b.png", 250, 0)])
    monkeypatch.setattr(images, "decode", None)  # decoding would fail
    kept = build(store, [path, tmp_path / "b.png"]).remarks
    assert kept == {0: first, 1: remarks}
    assert {place: doubts(found) for place, found in kept.items()} == {0: (), 1: ("It is black.",)}


def test_an_entry_without_its_remarks_is_decoded_again(tmp_path: Path, store: ArrayStore) -> None:
    path = dull(tmp_path / "a.png", 90, 0)
    first = build(store, [path])
    kept = store.path(first.group, str(first.digests[0]))
    kept.write_bytes(kept.read_bytes()[:-10])
    assert build(store, [path]).remarks == first.remarks


def test_very_many_long_remarks_are_cut_and_it_is_said(
    tmp_path: Path, store: ArrayStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dull(tmp_path / "a.png", 250, 0)
    remarks = tuple(f"{number} ä".ljust(3000, "x") for number in range(8))
    monkeypatch.setattr(
        images, "decode", lambda content, name, **options: replace(decode(content, name, **options), remarks=remarks)
    )
    build(store, [path])
    monkeypatch.setattr(images, "decode", None)
    assert build(store, [path]).remarks == {0: (*remarks[:5], "There are more remarks.")}


def test_a_damaged_entry_is_decoded_again(files: list[Path], store: ArrayStore) -> None:
    """What a power failure may leave: a name without its content."""
    cached = build(store, files)
    path = store.path(cached.group, str(cached.digests[1]))
    path.write_bytes(path.read_bytes()[:-1])
    check(build(store, files), files)


def test_a_removed_entry_is_named_when_it_is_read(files: list[Path], store: ArrayStore) -> None:
    cached = build(store, files)
    store.clear()
    with pytest.raises(UsageError, match="removed while it was in use"):
        cached.image(1)
    check(build(store, files), files)


KILLED = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from cxrlens.inputs.cache import store as store_module
from cxrlens.inputs.cache.images import cache_images
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.preprocessing import Preprocessing

folder, workers, after, *paths = sys.argv[1:]
saved = []

def die():
    os.killpg(0, signal.SIGKILL)

def dying_save(stream, array, **options):
    if len(saved) == int(after):
        stream.write(array.tobytes()[: array.nbytes // 2])
        stream.flush()
        die()
    saved.append(array)
    np.save(stream, array, **options)

if workers == "0":
    store_module.np = SimpleNamespace(save=dying_save)
store = store_module.ArrayStore(Path(folder), 10**8)
with store.in_use():
    cache_images(
        store, [FileOrigin(Path(path)) for path in paths], Preprocessing(height=24, width=40), workers=int(workers),
        progress=lambda done, total: die() if workers != "0" and done > int(after) else None,
    )
"""


@pytest.mark.parametrize(("workers", "after"), [(0, 0), (0, 2), (2, 2)])
def test_a_killed_build_leaves_whole_images_and_goes_on(
    files: list[Path], store: ArrayStore, monkeypatch: pytest.MonkeyPatch, workers: int, after: int
) -> None:
    command = [sys.executable, "-c", KILLED, str(store.folder), str(workers), str(after), *map(str, files)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=PATIENCE, start_new_session=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    arrays = [path for path in store.folder.glob("images/*/*/*.npy") if not path.name.startswith(".")]
    if not workers:
        assert len(arrays) == after
        assert len(list(store.folder.glob("images/*/*/.*"))) == 1
    for path in arrays:
        assert np.load(path).shape == (24, 40)
    decoded: list[Path] = []

    def counted(content: bytes, name: str, **options: tuple[int, int]) -> Radiograph:
        decoded.append(Path(name))
        return decode(content, name, **options)

    monkeypatch.setattr(images, "decode", counted)
    check(build(store, files), files)
    assert len(set(decoded) & {files[i] for i in (1, 2, 4, 5)}) == 4 - len(arrays)
    assert list(store.folder.glob("images/*/*/.*")) == []
    assert list(store.folder.glob("in-use/*")) == []


TOGETHER = """
import json, sys, time
from pathlib import Path
from cxrlens.inputs.cache import images
from cxrlens.inputs.cache.store import ArrayStore
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.preprocessing import Preprocessing

folder, name, *paths = sys.argv[1:]
(Path(folder) / f"{name}.ready").touch()
while len(list(Path(folder).glob("*.ready"))) < 2:
    time.sleep(0.001)
store = ArrayStore(Path(folder) / "cache", 10**8)
with store.in_use():
    cached = images.cache_images(store, [FileOrigin(Path(path)) for path in paths], Preprocessing(height=24, width=40))
    good = [i for i, digest in enumerate(cached.digests) if digest]
    print(json.dumps({i: cached.image(i).sum().item() for i in good}))
"""


def test_two_processes_at_once_build_one_cache(files: list[Path], tmp_path: Path) -> None:
    good = [files[index] for index in (1, 2, 4, 5)] * 5
    both = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, str(tmp_path), name, *map(str, paths)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, paths in (("one", good), ("other", good[::-1]))
    ]
    one, other = (json.loads(process.communicate(timeout=PATIENCE)[0]) for process in both)
    assert [process.returncode for process in both] == [0, 0]
    expected = [direct(path).sum().item() for path in good]
    assert list(one.values()) == pytest.approx(expected, rel=1e-3)
    assert list(other.values())[::-1] == list(one.values())
    assert ArrayStore(tmp_path / "cache", 1).contents().entries == 4
    assert not list((tmp_path / "cache").rglob("*partial*"))


def test_images_of_earlier_runs_make_room(files: list[Path], tmp_path: Path) -> None:
    store = ArrayStore(tmp_path / "cache", 3 * (128 + 2 * 24 * 40))
    first = build(store, files[1:3])  # one of 16 bits, one of 8
    second = build(store, files[4:6])
    assert store.contents().size <= store.limit
    check(second, files[4:6], ())
    assert not store.path(first.group, str(first.digests[0])).exists()
    with pytest.raises(UsageError, match=r"may hold 6\.1KB; give a larger `cache_size`"):
        build(store, files)
    assert store.contents().size <= store.limit


def test_a_full_disk_ends_in_one_sentence(
    files: list[Path], store: ArrayStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArrayStore, "write", full)
    with pytest.raises(UsageError, match=f"{store.folder}: .*No space left"):
        build(store, files)
    monkeypatch.setattr("cxrlens.inputs.cache.store.shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(UsageError, match="100B are free"):
        build(store, files)
