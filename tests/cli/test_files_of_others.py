"""No command deletes, replaces or hides a file that this program did not write, nor lets a name do anything."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from command_line import cxrlens, refused, table
from cxrlens.errors import EXIT_NOTHING_TO_DO, EXIT_USAGE
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.models.model_file import load_model
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.store.store import Store

TINY = ("--arch", "resnet18", "--recipe", "small", "--image-size", 32, "--epochs", 1, "--batch-size", 8)
CPU = ("--device", "cpu", "--workers", 0)
FAST = ("--method", "grad_cam", "--layers", "last", *CPU)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder but its lock."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if path.name != ".lock"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder of somebody's work, in which images lie as in a cache, a run, and a folder of results."""
    folder = tmp_path / "project"
    for name in ("images/ward/chest.dcm", "overlays/chest.png", "maps/chest.png", "pictures/chest.jpg", "data/a.jpg",
                 "tables/t.csv", "checkpoints/best.ckpt", "a/chest.png", "unreadable.txt", "scores.json",
                 "predictions.csv", "explanations.csv", "worklist.csv", "report.html", "findings.csv", "per_image.csv",
                 "comparison.csv", "results.jsonl", "screening.json", "manifest.csv", "prepared.json", "study.yaml",
                 "config.yaml", "model.safetensors", "model.onnx", "card.md", "own.calibration.csv"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


@pytest.fixture
def images(phantoms: Path, tmp_path: Path) -> Path:
    """A plain folder of three images."""
    folder = tmp_path / "in"
    folder.mkdir()
    for path in sorted((phantoms / "dev" / "affected").glob("*.jpg"))[:3]:
        shutil.copy(path, folder)
    return folder


def test_no_command_touches_what_others_wrote(project: Path, phantoms: Path, model: Path, images: Path) -> None:
    before = contents(project)
    out = ("-o", project, "--force")
    run = ("train", phantoms, *TINY, *CPU, "--runs", project.parent, "--name", project.name)
    for command in (
        ("data", "cache", "--cache-dir", project),
        ("data", "cache", "--clear", "--cache-dir", project),
        ("train", phantoms, *TINY, *CPU, "--runs", project.parent / "runs", "--name", "a", "--cache-dir", project),
        (*run, "--force"),
        run,
        (*run, "--resume"),
        ("explain", images, "-m", model, *out, *FAST),
        ("test", phantoms, "-m", model, *out, *CPU),
        ("pointing-game", phantoms, "-m", model, *out, *FAST),
        ("compare", "grad_cam last", "xgrad_cam last", "--model", model, "--data", phantoms, *out, *CPU),
        ("data", "check", phantoms, *out, "--workers", 0),
        ("data", "prepare", phantoms, project, "--force", "--workers", 0),
        ("screen", images, "-m", model, *out, *CPU),
        ("screen", images, "-m", model, "-o", project, *CPU),
        ("study", phantoms, "--out", project, "--model", model, *CPU),
        ("demo", "--quick", *out),
        ("calibrate", phantoms, "-m", model, "-o", project / "model.safetensors", "--force", *CPU),
        ("calibrate", phantoms, "-m", model, "-o", project / "own.safetensors", "--force", *CPU),
        ("card", "-m", model, "-o", project / "card.md", "--force"),
        ("export", "-m", model, "--to", "onnx", "-o", project / "model.onnx", "--force"),
    ):
        refused(cxrlens(*command), EXIT_USAGE, project)
        assert contents(project) == before, command


def test_a_run_is_replaced_unless_it_holds_files_of_others(phantoms: Path, tmp_path: Path) -> None:
    given = ("train", phantoms, *TINY, *CPU, "--runs", tmp_path, "--name", "a")
    assert cxrlens(*given).code == 0
    run = tmp_path / "a"
    (run / "patients").mkdir()
    (run / "patients" / "chest.dcm").write_text("mine")
    (run / "checkpoints" / ".0123456789abcdef.partial.last.ckpt").write_text("left by a killed training")
    before = contents(run)
    refused(cxrlens(*given, "--force"), EXIT_USAGE, run / "patients" / "chest.dcm", "was not written by cxrlens")
    assert contents(run) == before
    shutil.rmtree(run / "patients")
    assert cxrlens(*given, "--force", "--set", "seed=5").code == 0
    assert contents(run).keys() == before.keys() - {"patients/chest.dcm"} - {
        name for name in before if "partial" in name or name.startswith("model-")
    } | {name for name in contents(run) if name.startswith("model-")}
    assert len(list(run.glob("model-*"))) == 1
    assert cxrlens(*given, "--resume").code in (EXIT_USAGE, EXIT_NOTHING_TO_DO)


def test_two_trainings_into_one_folder(phantoms: Path, tmp_path: Path) -> None:
    given = ("train", phantoms, *TINY, *CPU, "--runs", tmp_path, "--name", "a")
    assert cxrlens(*given).code == 0
    before = contents(tmp_path / "a")
    with FileLock(tmp_path / "a" / ".lock"):
        for more in ((), ("--force",)):
            refused(cxrlens(*given, *more), EXIT_USAGE, tmp_path / "a", "another process is training into this folder")
    assert contents(tmp_path / "a") == before


def test_explanations_are_not_explained(images: Path, model: Path) -> None:
    given = ("explain", images, "-m", model, *FAST, "-o", images / "ex")
    assert cxrlens(*given).code == 0
    first = table(images / "ex" / "explanations.csv")
    again = cxrlens(*given, "--force")
    assert again.code == 0
    assert table(images / "ex" / "explanations.csv") == first
    assert f"3 images are results that cxrlens wrote, and are left out: {images / 'ex' / 'overlays'}" in again.err
    screened = cxrlens("screen", images, "-m", model, "-o", images / "out", "--json", *CPU)
    assert (screened.code, screened.json["images"]) == (0, 3)
    assert cxrlens("data", "check", images, "--json", "--workers", 0).json["images"]
    (images / "ex" / "mine.jpg").write_bytes(min(images.glob("*.jpg")).read_bytes())
    assert cxrlens("screen", images, "-m", model, "-o", images / "out", "--json", *CPU).json["images"] == 4


def test_no_name_is_a_formula_in_any_table(images: Path, model: Path, tmp_path: Path) -> None:
    name = '=HYPERLINK("evil";"x").jpg'
    min(images.glob("*.jpg")).rename(images / name)
    assert cxrlens("explain", images, "-m", model, *FAST, "-o", tmp_path / "ex").code == 0
    assert cxrlens("screen", images, "-m", model, "-o", tmp_path / "out", *CPU).code == 0
    assert cxrlens("data", "check", images, "-o", tmp_path / "check", "--workers", 0).code == 0
    found = 0
    for path in tmp_path.glob("*/*.csv"):
        with path.open(newline="") as stream:
            cells = [cell for row in csv.reader(stream) for cell in row]
        assert [cell for cell in cells if cell[:1] in tuple("=+-@\t\r")] == [], path
        found += f"./{name}" in cells
    assert found == 2
    assert json.loads((tmp_path / "out" / "results.jsonl").read_text().splitlines()[0])["name"][0] in "=0"


def test_names_cannot_be_seen_as_formulas_and_read_back_right(images: Path, tmp_path: Path) -> None:
    """Through a manifest, which people open, and which the other commands read."""
    (images / "-1").mkdir()
    for name in ("=1+1.jpg", "-1/@x.jpg", "'=y.jpg"):
        shutil.copy(min(images.glob("0*.jpg")), images / name)
    listed = tmp_path / "labels.csv"
    names = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.jpg"))
    with listed.open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label"), *((images / name, "normal") for name in names)])
    assert cxrlens("data", "prepare", listed, tmp_path / "set", "--workers", 0).code == 0
    for row in table(tmp_path / "set" / "manifest.csv"):
        assert not [cell for cell in row.values() if cell[:1] in tuple("=+-@")]
    data = Dataset(tmp_path / "set")
    items = [item for split in data.splits for item in data.split(split).items]
    assert sorted(item.path.relative_to(images).as_posix() for item in items) == names
    assert {Path(item.listed or "").name for item in items} == {Path(name).name for name in names}


def test_what_a_name_holds_never_reaches_the_terminal(images: Path, model: Path, tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\x9b31m\nerror: forged.jpg"
    (images / evil).write_text("no image")
    shutil.copy(min(images.glob("0*.jpg")), images / f"a{evil}")
    for command in (
        ("explain", images, "-m", model, "-o", tmp_path / "ex", *FAST),
        ("screen", images, "-m", model, "-o", tmp_path / "out", *CPU),
        ("screen", images, "-m", model, "-o", tmp_path / "out", "--json", *CPU),
        ("data", "check", images),
        ("explain", images / evil, "-m", model, "-o", tmp_path / "one", *FAST),
    ):
        finished = cxrlens(*command)
        said = finished.out + finished.err
        assert not {sign for sign in said if sign != "\n" and not sign.isprintable()}, command
        assert "\nerror: forged" not in said
    for listed in (tmp_path / "ex" / "unreadable.txt", tmp_path / "out" / "unreadable.txt"):
        text = listed.read_text()
        assert r"\x1b]0;owned\x07\x9b31m\nerror: forged.jpg" in text
        assert len(text.splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
def test_what_shows_patients_is_for_its_owner_alone(images: Path, phantoms: Path, model: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert (
            cxrlens("screen", images, "-m", model, "-o", tmp_path / "out", "--keep-tags", "patient-id", *CPU).code == 0
        )
        assert cxrlens("explain", images, "-m", model, "-o", tmp_path / "ex", *FAST).code == 0
        assert cxrlens("data", "prepare", phantoms, tmp_path / "set", "--copy", "--workers", 0).code == 0
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o077 for path in map(tmp_path.joinpath, ("out", "ex", "set"))} == {0}
    readable = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file() and path.stat().st_mode & 0o077}
    assert readable <= {".lock"}


def test_a_full_disk_behind_the_output_is_said(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    for more, unbuffered in (((), ""), (("--json",), ""), (("--json",), "1")):
        with Path("/dev/full").open("w") as full:
            command = [sys.executable, "-m", "cxrlens", "data", "cache", "--cache-dir", str(tmp_path / "none"), *more]
            environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
        assert done.returncode == 1
        assert done.stderr.startswith("error: the standard output")
        assert "No space left on device" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def unknown(_: int) -> None:
        raise KeyError("getpwuid(): uid not found: 12345")

    for name in ("HOME", "XDG_CACHE_HOME", "CXRLENS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    refused(cxrlens("data", "cache"), EXIT_USAGE, "no home folder", "--cache-dir", "CXRLENS_CACHE")


KILLS = int(os.environ.get("CXRLENS_KILLS", "3"))


def _killed_often(command: tuple[object, ...], check: Callable[[], object]) -> None:
    """Kill a command at moments spread over its run, and check what it left each time."""
    began = time.monotonic()
    assert _ended(command, None) == 0
    took, killed = time.monotonic() - began, 0
    while killed < KILLS:
        code = _ended(command, took * (killed + 1) / (KILLS + 1))
        check()
        if code == -signal.SIGKILL:
            killed += 1
        else:  # it was faster than before
            assert code == 0
            took /= 2
    assert cxrlens(*command).code == 0  # what was left is in nobody's way
    check()


def _ended(command: tuple[object, ...], killed_after: float | None) -> int | None:
    """The exit code of a command in a process of its own, which is killed when it takes so many seconds."""
    process = multiprocessing.get_context("fork").Process(target=lambda: sys.exit(cxrlens(*command).code))
    process.start()
    process.join(killed_after)
    process.kill()
    process.join()
    return process.exitcode


def test_a_killed_calibration_leaves_the_old_or_the_new_model(phantoms: Path, model: Path, tmp_path: Path) -> None:
    site, out = tmp_path / "site", tmp_path / "out"
    shutil.copytree(phantoms / "dev", site / "test")
    out.mkdir()
    (out / "patients.txt").write_text("mine")
    command = ("calibrate", site, "-m", model, "-o", out / "cal.safetensors", "--specificity", "0.5", "--force", *CPU)
    if cxrlens(*command).code == EXIT_USAGE:  # the untrained model ranks the images the other way round
        for name, other in (("affected", "x"), ("normal", "affected"), ("x", "normal")):
            (site / "test" / name).rename(site / "test" / other)
        assert cxrlens(*command).code == 0
    names = {path.name for path in out.iterdir()}

    def check() -> None:
        assert load_model(out / "cal.safetensors")[1].calibration is not None
        assert {path.name for path in out.iterdir() if path.is_file()} == names
        assert (out / "patients.txt").read_text() == "mine"

    _killed_often(command, check)


def test_a_killed_training_leaves_no_half_model_and_can_be_started_anew(phantoms: Path, tmp_path: Path) -> None:
    command = ("train", phantoms, *TINY, *CPU, "--runs", tmp_path, "--name", "run", "--force")

    def check() -> None:
        for path in (tmp_path / "run").glob("[!.]*.safetensors"):
            load_model(path)
        for path in (tmp_path / "run" / "checkpoints").glob("[!.]*.ckpt"):
            torch.load(path, weights_only=True)

    _killed_often(command, check)
    assert not list((tmp_path / "run").rglob("*.partial.*"))


def test_verdicts_outlive_a_screening_that_is_begun_anew_and_killed(images: Path, model: Path, tmp_path: Path) -> None:
    command = ("screen", images, "-m", model, "-o", tmp_path / "out", "--maps", "all", "--force", *CPU)
    assert cxrlens(*command).code == 0
    (tmp_path / "out" / "pictures" / "mine.jpg").write_text("mine")
    with Store(ScreenedFolder(tmp_path / "out")) as store:
        keys = [image.key for image in store.results.newest()]
        for key in keys:
            assert store.verdicts.give(key, "retake", lambda: "0" * 64)

    def check() -> None:
        with Store(ScreenedFolder(tmp_path / "out")) as store:
            assert [kept.key for kept in store.verdicts.standing()] == keys
            for image in store.results.newest():  # no result without its picture
                assert (tmp_path / "out" / image.picture).stat().st_size
        assert (tmp_path / "out" / "pictures" / "mine.jpg").read_text() == "mine"

    _killed_often(command, check)
