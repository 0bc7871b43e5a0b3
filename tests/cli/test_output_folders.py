"""Folders of results, in every command: one writer at a time, folders in the place of files, and Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from filelock import FileLock

from command_line import cxrlens, refused
from cxrlens.outputs import LOCK

CPU = ("--device", "cpu", "--workers", 0)
FAST = ("--method", "grad_cam", "--layers", "last", *CPU)
TINY = ("--arch", "resnet18", "--recipe", "small", "--image-size", 32, "--epochs", 1, "--batch-size", 8)


def commands(phantoms: Path, model: Path, out: Path) -> dict[str, tuple[object, ...]]:
    """Those that write a folder, by name."""
    image = sorted((phantoms / "dev" / "affected").iterdir())[0]
    return {
        "explain": ("explain", phantoms, "-m", model, "-o", out, *FAST),
        "test": ("test", phantoms, "-m", model, "-o", out, *CPU),
        "pointing-game": ("pointing-game", phantoms, "-m", model, "-o", out, *FAST),
        "pointing-game of one image": (
            "pointing-game", image, "-m", model, "-o", out, *FAST, "--annotation", "0 10 10 20 20",
        ),
        "compare models": ("compare", model, model, "--data", phantoms, "-o", out, *CPU),
        "compare rows": (
            "compare", "grad_cam last", "hires_cam last", "-m", model, "--data", phantoms,
            "-o", out, *CPU,
        ),
        "data check": ("data", "check", phantoms, "-o", out, "--workers", 0),
        "data prepare": ("data", "prepare", phantoms, out, "--workers", 0),
        "train": ("train", phantoms, *TINY, *CPU, "--runs", out.parent, "--name", out.name),
        "screen": ("screen", phantoms, "-m", model, "-o", out, *CPU),
        "study": ("study", phantoms, "--out", out, "--model", model, *CPU),
        "demo": ("demo", "--quick", "-o", out, *CPU),
    }  # fmt: skip


COMMANDS = ("explain", "test", "pointing-game", "pointing-game of one image", "compare models", "compare rows",
            "data check", "data prepare", "train", "screen", "study", "demo")  # fmt: skip
FILES = {
    "explain": "explanations.csv",
    "test": "scores.json",
    "pointing-game": "per_image.csv",
    "compare models": "flips.csv",
    "data check": "findings.csv",
    "data prepare": "manifest.csv",
    "screen": "worklist.csv",
    "study": "findings.md",
    "demo": "README.html",
}
"""A file that each writes right into its folder."""
WORKING = {
    "explain": "cxrlens.inspection.quality_model.QualityModel.inspect",
    "test": "cxrlens.testing.run.predict",
    "pointing-game": "cxrlens.inspection.quality_model.QualityModel.explain_rows",
    "pointing-game of one image": "cxrlens.inspection.quality_model.QualityModel.explain_rows",
    "compare models": "cxrlens.comparison.run.compare_models",
    "compare rows": "cxrlens.inspection.quality_model.QualityModel.explain_rows",
    "data check": "cxrlens.dataset.check.run.read_images",
    "data prepare": "cxrlens.dataset.prepare.run.write_manifest",
    "train": "cxrlens.training.fitting.build_network",
    "screen": "cxrlens.screening.screen.Screening._inspected",
    "study": "cxrlens.study.run.run_on",
    "demo": "cxrlens.demo.run.write_phantom_dataset",
}
"""What is called while each is at work."""


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != LOCK)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_all_commands_are_here(phantoms: Path, model: Path) -> None:
    assert tuple(commands(phantoms, model, Path("out"))) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_second_writer_is_refused_and_nothing_is_lost(phantoms: Path, model: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".3f0c8a61d2b97e44.partial.a").write_text("of the other process")
    with FileLock(out / LOCK):
        before = contents(out)
        refused(cxrlens(*commands(phantoms, model, out)[name]), 2, out, "another process is", "wait for it")
        if "--force" not in commands(phantoms, model, out)[name] and name not in ("study",):
            refused(cxrlens(*commands(phantoms, model, out)[name], "--force"), 2, out, "another process is")
        assert contents(out) == before


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_the_place_of_a_file_is_named(phantoms: Path, model: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    given = commands(phantoms, model, out)[name]
    with mock.patch(WORKING[name], side_effect=KeyboardInterrupt):
        assert cxrlens(*given).code == 130
    place = out / FILES[name]
    place.unlink(missing_ok=True)
    (place / "mine").mkdir(parents=True)
    (place / "mine" / "chest.png").write_text("mine")
    more = () if name in ("data prepare", "screen", "study") else ("--force",)
    refused(cxrlens(*given, *more), 2, place, "is a folder, and a file of this name is to be written; move it away")
    assert (place / "mine" / "chest.png").read_text() == "mine"


def test_a_file_in_the_place_of_a_folder_is_named(phantoms: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = commands(phantoms, model, out)["explain"]
    with mock.patch(WORKING["explain"], side_effect=KeyboardInterrupt):
        assert cxrlens(*given).code == 130
    (out / "maps").write_text("mine")
    refused(cxrlens(*given, "--force"), 2, out / "maps", "is no folder, and one of this name is to be written")
    assert (out / "maps").read_text() == "mine"


@pytest.mark.parametrize("name", COMMANDS)
def test_who_stops_a_command_is_told_what_is_kept_and_how_it_goes_on(
    phantoms: Path, model: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    given = commands(phantoms, model, out)[name]
    goes_on = {
        "train": "is kept in {}, and the same command with --resume goes on",
        **dict.fromkeys(("data prepare", "screen", "study"), "is kept in {}, and the same command goes on"),
    }.get(name, "is in {}, and the same command with --force begins anew")
    with mock.patch(WORKING[name], side_effect=KeyboardInterrupt) as working:
        stopped = cxrlens(*given)
    assert working.called
    assert stopped.code == 130
    assert [line for line in stopped.err.splitlines() if line.startswith("stopped: ")] == [
        f"stopped: what was finished {goes_on.format(out)}"
    ]
    assert "Traceback" not in stopped.err


def test_who_stops_a_command_that_writes_at_its_end(phantoms: Path, model: Path, tmp_path: Path) -> None:
    for working, given in {
        "cxrlens.calibration.run.predict": ("calibrate", phantoms, "-m", model, "-o", tmp_path / "c.safetensors", *CPU),
        "cxrlens.export.run.export_onnx": ("export", "-m", model, "-o", tmp_path / "model.onnx"),
        "cxrlens.dataset.phantom.dataset._write_image": ("data", "phantom", tmp_path / "set", "--workers", 1),
    }.items():
        with mock.patch(working, side_effect=KeyboardInterrupt):
            stopped = cxrlens(*given)
        assert stopped.code == 130
        assert stopped.err.endswith("stopped: nothing was written, and the same command begins anew\n")
        assert not contents(tmp_path)
