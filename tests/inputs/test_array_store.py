"""The shared store of arrays: bounded, the least recently used goes first, and nothing that a process uses."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import platformdirs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from cxrlens.errors import UsageError
from cxrlens.inputs.cache import location
from cxrlens.inputs.cache.store import ArrayStore

ARRAY = np.arange(72, dtype=np.uint8).reshape(8, 9)
EACH = 128 + ARRAY.nbytes  # NumPy's header of a small array has 128 bytes
SIZES = frozenset({EACH})


def key(number: int) -> str:
    return f"{number:064x}"


def put(store: ArrayStore, numbers: Iterable[int], *, age: float = 0) -> None:
    """Write arrays that were last used so many seconds ago."""
    for number in numbers:
        path = store.path("group", key(number))
        assert store.write(path, ARRAY) == EACH
        if age:
            used = time.time() - age
            os.utime(path, (used, used))


def held(store: ArrayStore) -> set[int]:
    return {int(path.parent.name + path.stem, 16) for path in store.folder.glob("images/*/*/*.npy")}


def paths(store: ArrayStore, numbers: Iterable[int]) -> dict[Path, int]:
    return {store.path("group", key(number)): number for number in numbers}


def claim(store: ArrayStore, numbers: Iterable[int]) -> set[int]:
    asked = paths(store, numbers)
    return {asked[path] for path in store.claim(asked, SIZES)}


def test_claims_are_what_is_there_whole(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path / "cache", 10 * EACH)
    assert claim(store, range(4)) == set()
    put(store, range(3))
    with store.path("group", key(1)).open("r+b") as stream:
        stream.truncate(EACH - 1)
    assert claim(store, range(4)) == {0, 2}
    np.testing.assert_array_equal(np.load(store.path("group", key(0))), ARRAY)


@given(
    uses=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=30),
    limit=st.integers(1, 12),
    needed=st.integers(0, 12),
)
@settings(max_examples=60, deadline=None)
def test_what_stays_are_the_most_recently_used_that_fit(uses: list[tuple[bool, int]], limit: int, needed: int) -> None:
    with TemporaryDirectory() as folder:
        store = ArrayStore(Path(folder), limit * EACH)
        order: list[int] = []  # the least recently used first
        for second, (writes, number) in enumerate(uses):
            there = claim(store, [number])
            assert there == {number} & set(order)
            if writes or there:
                put(store, [number])
                os.utime(store.path("group", key(number)), (second, second))
                order = [other for other in order if other != number] + [number]
        room = limit - needed
        if room < 0:
            with pytest.raises(UsageError, match="`cache_size`"):
                store.make_room(needed * EACH)
        else:
            store.make_room(needed * EACH)
            assert held(store) == set(order[len(order) - room :] if room < len(order) else order)


def test_what_is_in_use_stays_and_the_rest_goes_to_make_room_for_it(tmp_path: Path) -> None:
    mine, other = ArrayStore(tmp_path, 4 * EACH), ArrayStore(tmp_path, 4 * EACH)
    put(mine, range(4), age=60)
    with mine.in_use():
        assert claim(mine, [0, 1]) == {0, 1}
        other.make_room(2 * EACH)
        assert held(mine) == {0, 1}
        put(other, [7])
        with pytest.raises(UsageError, match=r"others that are running.*`cache_size`"):
            other.make_room(2 * EACH)
        assert held(mine) == {0, 1, 7}
        assert other.contents().in_use == 3
        before = other.clear()
        assert (before.entries, held(mine)) == (3, {0, 1, 7})
    assert other.contents().in_use == 0
    other.make_room(4 * EACH)
    assert held(mine) == set()
    assert list((tmp_path / "in-use").iterdir()) == []


def test_a_killed_process_uses_nothing(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from cxrlens.inputs.cache.store import ArrayStore
store = ArrayStore(Path({str(tmp_path)!r}), 10**6)
with store.in_use():
    store.path("group", "ab" * 32).parent.mkdir(parents=True)
    store.path("group", "ab" * 32).with_name(".1.partial.x.npy").write_bytes(b"half")
    print("ready", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "ready\n")
    store = ArrayStore(tmp_path, 10**6)
    put(store, [5])
    assert len(list((tmp_path / "in-use").iterdir())) == 1
    assert store.contents().in_use == 0
    assert list((tmp_path / "in-use").iterdir()) == []
    store.make_room()
    assert [path.name for path in (tmp_path / "images").rglob("*") if path.is_file()] == [f"{key(5)[2:]}.npy"]


def test_a_partial_file_of_a_writer_at_work_stays(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path, 10**6)
    with store.in_use():
        partial = store.path("group", key(1)).with_name(".1.partial.x.npy")
        partial.parent.mkdir(parents=True)
        partial.write_bytes(b"half")
        store.make_room()
        assert partial.exists()
    store.make_room()
    assert not partial.exists()


def test_clearing_leaves_what_is_not_ours(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path, 10**6)
    assert store.clear().entries == 0
    put(store, range(5))
    store.sources.mkdir()
    (store.sources / f"{0:020x}.json").write_text("{}")
    place = store.path("group", key(1)).parent
    mine = {
        tmp_path / "thesis.tex",
        tmp_path / "images" / "chest.jpg",
        tmp_path / "images" / "ward" / "a1" / "chest.npy",
        place / "chest.npy",
        place / f"{key(7)[2:]}.npy",  # the name of an array, and something else
        store.sources / "bibliography.json",
        tmp_path / "in-use" / "mine.lock",
    }
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    for clear in (store.clear, ArrayStore(tmp_path, 1).make_room, store.clear):
        with contextlib.suppress(UsageError):
            clear()
        assert {path.name for path in store.folder.glob("images/*/*/*.npy")} == {"chest.npy", f"{key(7)[2:]}.npy"}
        assert not (store.sources / f"{0:020x}.json").exists() or clear is not store.clear
    assert {path for path in tmp_path.rglob("*") if path.is_file()} - mine == {
        tmp_path / "CACHEDIR.TAG",
        tmp_path / "lock",
    }
    assert {path.read_text() for path in mine} == {"mine"}


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    """A hospital's images may lie in a folder called "images", in the very places and names of arrays."""
    store = ArrayStore(tmp_path / "project", EACH)
    patient = store.path("512x512-0123456789abcdef", key(1))
    patient.parent.mkdir(parents=True)
    np.save(patient, ARRAY)
    before = patient.read_bytes()
    uses: list[Callable[[], object]] = [
        store.clear,
        store.contents,
        lambda: store.make_room(EACH),
        lambda: claim(store, [1]),
        lambda: store.write(store.path("group", key(2)), ARRAY),
        lambda: ExitStack().enter_context(store.in_use()),
    ]
    for use in uses:
        with pytest.raises(UsageError, match=r"project: holds images and is no folder of decoded images.*`cache_dir`"):
            use()
    (store.folder / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n# of pip\n")
    for use in uses:
        with pytest.raises(UsageError, match="is no folder of decoded images"):
            use()
    assert sorted(path.name for path in store.folder.rglob("*") if path.is_file()) == ["CACHEDIR.TAG", patient.name]
    assert patient.read_bytes() == before


def test_looking_and_clearing_make_no_folder(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path / "none", 10**6)
    assert store.clear().entries == store.contents().entries == 0
    assert not store.folder.exists()


def test_contents_are_counted_by_group(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path, 10**6)
    put(store, range(3))
    store.write(store.path("another", key(1)), ARRAY)
    assert store.contents().groups == {"another": (1, EACH), "group": (3, 3 * EACH)}
    assert (store.contents().entries, store.contents().size) == (4, 4 * EACH)


def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArrayStore(tmp_path, 10**9)
    monkeypatch.setattr("cxrlens.inputs.cache.store.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    store.make_room(1000)
    with pytest.raises(UsageError, match=r"need 1\.0KB more and 1\.0KB are free.*`cache_dir`"):
        store.make_room(1001)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = ArrayStore(tmp_path / "file" / "cache", 10**9)
    with pytest.raises(UsageError, match=r"cache: decoded images cannot be kept.*CXRLENS_CACHE"), store.in_use():
        pass


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
def test_decoded_images_are_for_their_user_alone(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path / "deep" / "cache", 10**9)
    before = os.umask(0)
    try:
        with store.in_use():
            put(store, [1])
    finally:
        os.umask(before)
    assert store.folder.stat().st_mode & 0o077 == 0
    assert store.path("group", key(1)).stat().st_mode & 0o077 == 0


def test_the_folder_follows_the_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CXRLENS_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    local = str(tmp_path / "AppData" / "Local")
    monkeypatch.setattr(platformdirs.windows, "get_win_folder", {"CSIDL_LOCAL_APPDATA": local}.__getitem__)
    expected = {Unix: ".cache/cxrlens", MacOS: "Library/Caches/cxrlens", Windows: "AppData/Local/cxrlens/Cache"}
    for platform, place in expected.items():
        monkeypatch.setattr(platformdirs, "PlatformDirs", platform)
        assert location.default_folder() == tmp_path / place
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert location.default_folder() == Path("/xdg/cxrlens")
    monkeypatch.setenv("CXRLENS_CACHE", "/named")
    assert location.default_folder() == Path("/named")


@pytest.mark.parametrize(
    ("text", "size"), [("20GB", 20 * 10**9), (" 500 mb", 500 * 10**6), ("1.5TiB", 3 * 2**39), ("1000", 1000)]
)
def test_sizes(text: str, size: int) -> None:
    assert location.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "big", "-1GB", "0", "GB", "0.1B"])
def test_what_is_no_size_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="`cache_size` takes a size"):
        location.parse_size(text)
    monkeypatch.setenv("CXRLENS_CACHE_SIZE", text)
    if text:
        with pytest.raises(UsageError, match="CXRLENS_CACHE_SIZE takes a size"):
            location.default_limit()
    else:
        assert location.default_limit() == 20 * 10**9
