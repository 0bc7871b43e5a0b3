"""``cxrlens data cache`` and the cache options of ``train``."""

from __future__ import annotations

from pathlib import Path

from command_line import cxrlens, refused
from cxrlens.errors import EXIT_USAGE

TINY = ["--arch", "resnet18", "--recipe", "small", "--image-size", "32", "--epochs", "1", "--batch-size", "8"]


def test_a_training_fills_the_cache_and_clearing_empties_it(phantoms: Path, tmp_path: Path) -> None:
    folder, mine = tmp_path / "cache", ["--cache-dir", tmp_path / "cache"]
    train = ["train", phantoms, "--runs", tmp_path / "runs", *TINY, "--device", "cpu", "--workers", 0, *mine]
    assert cxrlens(*train, "--name", "one").code == 0
    each = 128 + 32 * 32
    shown = cxrlens("data", "cache", "--json", *mine).json
    (group,) = shown["groups"]
    assert group.startswith("32x32-")
    assert shown == {
        "folder": str(folder),
        "size": 24 * each,
        "entries": 24,
        "in_use": 0,
        "limit": 20 * 10**9,
        "groups": {group: {"entries": 24, "size": 24 * each}},
        "removed": None,
    }
    assert not list((tmp_path / "runs/one").rglob("*.npy"))
    text = cxrlens("data", "cache", *mine).out
    assert f"folder: {folder}\nholds: 24 images, 27.6KB of at most 20.0GB\n  {group}: 24 images" in text

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")}
    assert cxrlens(*train, "--name", "two").code == 0
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")}
    assert before.keys() == after.keys()
    assert all(after[path] > before[path] for path in before)

    assert "removed: 24 images, 27.6KB\nholds: 0 images" in cxrlens("data", "cache", "--clear", *mine).out
    cleared = cxrlens("data", "cache", "--clear", "--json", *mine).json
    assert (cleared["entries"], cleared["removed"]) == (0, {"entries": 0, "size": 0})


def test_a_cache_too_small_and_a_wrong_size_are_refused(phantoms: Path, tmp_path: Path) -> None:
    train = ["train", phantoms, "--runs", tmp_path / "runs", *TINY, "--device", "cpu", "--workers", 0]
    train += ["--cache-dir", tmp_path / "cache"]
    refused(cxrlens(*train, "--cache-size", "10KB"), EXIT_USAGE, tmp_path / "cache", "10.0KB", "--cache-size")
    refused(cxrlens(*train, "--force", "--cache-size", "much"), EXIT_USAGE, "--cache-size", "much")
