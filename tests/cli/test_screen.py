"""`cxrlens screen` from end to end: bad files, kills, resuming, watching, exit codes, and what it must not say."""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
import re
import shutil
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from test_bad_batches import REASONS, dicom, odd_names, spoil

import cxrlens as package
from command_line import Finished, cxrlens, refused, table
from cxrlens.inputs.names import path_of
from cxrlens.models import precision
from cxrlens.models.calibration import Calibration
from cxrlens.models.model_file import load_model, save_model
from cxrlens.screening import page, reading
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store import results as store_results
from cxrlens.screening.store.export import Export
from cxrlens.screening.store.store import Store
from cxrlens.screening.watching import Watch
from waiting import until

FAST = ("--batch-size", 4, "--workers", 0, "--device", "cpu")


def run(source: object, model: Path, out: Path, *more: object) -> Finished:
    """Screens with --json; later options win."""
    sources = source if isinstance(source, list) else [source]
    return cxrlens("screen", "-m", model, "-o", out, "--json", *FAST, *more, "--", *sources)


@pytest.fixture(scope="module")
def calibrated(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with thresholds that part its probabilities of the phantoms."""
    network, card = load_model(model)
    number = {"value": 0.5, "low": None, "high": None}
    agreement = {"nll": 0.5, "brier": 0.2, "ece": 0.1, "mean_probability": 0.5}
    calibration = Calibration.model_validate(
        {
            "temperature": 0.05, "source_share": 0.5, "prevalence": 0.5, "review_threshold": 0.06,
            "retake_target": "a specificity", "review_target": "a sensitivity",
            "threshold_interval": number, "review_interval": number, "auc": number,
            "data": {"name": "site", "split": "dev", "images": 20, "affected": 8},
            "before": agreement, "after": agreement, "expected": {}, "apparent": {}, "folds": 2, "seed": 0,
            "source_sha256": "0" * 64,
        }
    )  # fmt: skip
    path = tmp_path_factory.mktemp("calibrated") / "calibrated.safetensors"
    save_model(path, network, card.model_copy(update={"threshold": 0.5, "calibration": calibration}))
    return path


@pytest.fixture
def folder(phantoms: Path, tmp_path: Path) -> Path:
    """A plain folder of twelve phantoms, some in a folder of its own."""
    target = tmp_path / "in"
    (target / "sub").mkdir(parents=True)
    for number, path in enumerate(sorted((phantoms / "train").rglob("*.jpg"))[2:14]):
        shutil.copy(path, target / "sub" / path.name if number % 3 == 0 else target / path.name)
    return target


def results(out: Path) -> dict[str, ScreenedImage]:
    """By name, as results.jsonl has them."""
    there = lines(out) if (out / "results.jsonl").exists() else []
    return {image.name: image for image in map(ScreenedImage.model_validate_json, there)}


def stored(out: Path) -> list[str]:
    """The names in the store's results, as they came."""
    with Store(ScreenedFolder(out)) as store:
        return [json.loads(record)["name"] for record in store.results.records()]


def lines(out: Path) -> list[str]:
    return (out / "results.jsonl").read_text("utf-8").split("\n")[:-1]


def test_a_worklist_with_pictures_maps_and_a_page(folder: Path, calibrated: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished = run(folder, calibrated, out, "--maps", "all")
    assert finished.code == 0, finished.err
    rows = table(out / "worklist.csv")
    assert len(rows) == finished.json["images"] == finished.json["computed"] == 12
    assert [row["name"] for row in rows] == [
        image.name for image in sorted(results(out).values(), key=lambda image: -(image.probability or 0))
    ]
    assert {row["name"] for row in rows} == {path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")}
    quality = package.load(calibrated, device="cpu")
    for row in rows:
        check = quality.check(folder / row["name"], methods=row["method"], layers=row["layers"])
        assert float(row["probability"]) == pytest.approx(check.probability, abs=1e-3)
        assert (row["decision"], row["triage"]) == (check.decision, check.triage)
        with Image.open(folder / row["name"]) as stored, Image.open(out / row["picture"]) as picture:
            assert (stored.height, stored.width) == (int(row["height"]), int(row["width"])) == picture.size[::-1]
        with Image.open(out / row["map"]) as map_:
            assert (map_.mode, map_.size) == ("L", (64, 64))
            assert map_.getextrema() == (0, 255)
        assert int(row["contours"]) >= 1
    counts = {name: sum(row["triage"] == name for row in rows) for name in ("pass", "review", "retake")}
    assert all(counts.values())  # the thresholds part them
    assert {name: finished.json[name] for name in counts} == counts
    assert finished.json["affected"] == counts["retake"]
    assert "suggested retake" in (out / "report.html").read_text("utf-8").lower()
    assert not (out / "unreadable.txt").exists()


def test_flagged_images_alone_get_maps_by_default(folder: Path, calibrated: Path, tmp_path: Path) -> None:
    run(folder, calibrated, tmp_path / "out")
    for image in results(tmp_path / "out").values():
        assert bool(image.map) == bool(image.contours) == (image.triage != "pass")
        assert image.method == ("normgrad_conv1x1" if image.map else "")
    run(folder, calibrated, tmp_path / "none", "--maps", "none")
    assert not any(image.map for image in results(tmp_path / "none").values())
    assert not (tmp_path / "none" / "maps").exists()
    same = [{name: image.probability for name, image in results(tmp_path / out).items()} for out in ("out", "none")]
    assert same[0] == pytest.approx(same[1], abs=1e-6)


@pytest.mark.parametrize("workers", [0, 2])
def test_every_bad_file_is_a_row(phantoms: Path, model: Path, tmp_path: Path, workers: int) -> None:
    good = min((phantoms / "dev" / "affected").glob("*.jpg"))
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "up").symlink_to("..")
    shutil.copy(good, folder / "sub" / "deep.jpg")
    spoil(folder, good)
    names = odd_names(folder, good)
    (folder / "=cmd.jpg").write_bytes(good.read_bytes())
    finished = run(folder, model, out, "--workers", workers, "--maps", "all")
    assert finished.code == 3, finished.err
    assert "Traceback" not in finished.err
    found = results(out)
    assert {path_of(name, folder) for name, image in found.items() if image.status == "ok"} == {
        folder / name for name in (*names, "sub/deep.jpg", "=cmd.jpg")
    }
    assert {name for name, image in found.items() if image.status == "unreadable"} == set(REASONS)
    for name, reason in REASONS.items():
        assert reason in found[name].reason
        assert (found[name].probability, found[name].decision, found[name].picture) == (None, None, "")
    assert finished.json["unreadable"] == len(REASONS)
    assert finished.json["computed"] == 2  # one picture under many names, and the DICOM file
    same = {(image.key, image.probability, image.map) for name, image in found.items()
            if image.status == "ok" and name != "IM000001"}  # fmt: skip
    assert len(same) == 1
    listed = (out / "unreadable.txt").read_text().splitlines()
    assert len(listed) == len(REASONS)
    assert all(line.startswith(f"{folder}/") for line in listed)
    rows = table(out / "worklist.csv")
    assert [row["status"] for row in rows] == ["ok"] * (len(names) + 2) + ["unreadable"] * len(REASONS)
    assert {row["name"] for row in rows} >= {"./-leading.jpg", "./=cmd.jpg", "new\nline.jpg", "Größe 胸部.jpg"}
    before = lines(out)
    again = run(folder, model, out, "--workers", workers, "--maps", "all")
    assert (again.code, again.json["computed"]) == (3, 0)
    assert lines(out) == before


def test_workers_do_not_matter_nor_does_a_second_run(folder: Path, model: Path, tmp_path: Path) -> None:
    for out, workers in (("a", 0), ("b", 2), ("c", 0)):
        assert run(folder, model, tmp_path / out, "--workers", workers, "--maps", "all").code == 0
    first = (tmp_path / "a" / "worklist.csv").read_bytes()
    assert (tmp_path / "b" / "worklist.csv").read_bytes() == first
    assert (tmp_path / "c" / "worklist.csv").read_bytes() == first
    assert lines(tmp_path / "a") == lines(tmp_path / "b") == lines(tmp_path / "c")


def killed(at: int, share: float | None, arguments: list[Any]) -> None:
    """Screens in a process that kills itself at the so-many-eth batch.

    Args:
        share: of the batch's lines that are in results.jsonl then; None while the batch is put into the store.
    """
    real_append, real_row, count = Export.append, store_results.row_of, 0

    def append(self: Export, records: list[str]) -> None:
        nonlocal count
        count += 1
        if count == at and share is not None:
            size = self.file.stat().st_size if self.file.exists() else 0
            real_append(self, records)
            with self.file.open("r+b") as stream:
                end = stream.seek(0, os.SEEK_END)
                stream.truncate(size + round(share * (end - size)))
            os.kill(os.getpid(), signal.SIGKILL)
        real_append(self, records)

    def row_of(image: ScreenedImage, record: str, state: str = "") -> dict[str, Any]:
        if count == at - 1 and share is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return real_row(image, record, state)

    Export.append = append  # type: ignore[method-assign,assignment]
    store_results.row_of = row_of
    run(*arguments)


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_any_moment_and_gone_on_with(folder: Path, model: Path, tmp_path: Path, workers: int) -> None:
    (folder / "bad.jpg").write_text("no picture")
    shutil.copy(min(folder.glob("0*.jpg")), folder / "zz-twin.jpg")
    more = ("--batch-size", 3, "--maps", "all", "--workers", workers)
    assert run(folder, model, tmp_path / "whole", *more).code == 3
    out = tmp_path / "out"
    context = multiprocessing.get_context("fork")
    for at, share in ((1, None), (1, 0.5), (2, None), (1, 0.77)):
        process = context.Process(target=killed, args=(at, share, [folder, model, out, *more]))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    (out / "pictures" / ".1.partial.x.jpg").write_text("left by a killed process")
    assert 0 < len(results(out)) < len(stored(out)) < 14  # the store is ahead of what was exported
    finished = run(folder, model, out, *more)
    assert finished.code == 3
    assert 0 < finished.json["computed"] < 12
    assert (out / "worklist.csv").read_bytes() == (tmp_path / "whole" / "worklist.csv").read_bytes()
    assert (out / "unreadable.txt").read_bytes() == (tmp_path / "whole" / "unreadable.txt").read_bytes()
    names = [json.loads(line)["name"] for line in lines(out)]
    assert len(names) == len(set(names)) == 14
    for part in ("pictures", "maps"):
        contents = [
            {path.name: path.read_bytes() for path in (place / part).iterdir()} for place in (out, tmp_path / "whole")
        ]
        assert contents[0] == contents[1]


def test_changed_renamed_and_new_files(folder: Path, model: Path, phantoms: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(folder, model, out)
    first, second, *_ = sorted(folder.glob("*.jpg"))
    before = results(out)
    other = min((phantoms / "dev" / "normal").glob("*.jpg"))
    shutil.copy(first, folder / "copy.jpg")
    shutil.copy(other, first)
    second.unlink()
    finished = run(folder, model, out)
    after = results(out)
    assert finished.json["computed"] == 1
    assert len(lines(out)) == 14
    assert after["copy.jpg"] == before[first.name].model_copy(update={"name": "copy.jpg"})
    assert after[first.name].key != before[first.name].key
    assert after[second.name] == before[second.name]  # a file that has gone keeps its row
    assert finished.json["images"] == len(table(out / "worklist.csv")) == 13


def test_a_bad_file_that_was_mended(folder: Path, model: Path, tmp_path: Path) -> None:
    good = min(folder.glob("*.jpg"))
    content = good.read_bytes()
    good.write_bytes(content[:300])
    assert run(folder, model, tmp_path / "out").code == 3
    good.write_bytes(content)
    finished = run(folder, model, tmp_path / "out")
    assert (finished.code, finished.json["computed"], finished.json["unreadable"]) == (0, 1, 0)
    assert not (tmp_path / "out" / "unreadable.txt").exists()


def test_other_settings_are_refused(folder: Path, model: Path, calibrated: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(folder, model, out)
    before = lines(out)
    refused(run(folder, calibrated, out), 2, out, "another model (model.safetensors, not calibrated", "--force")
    refused(run(folder, model, out, "--maps", "all"), 2, "--maps (flagged, not all)", "--force")
    refused(run(folder, model, out, "--maps", "none"), 2, "--method (normgrad_conv1x1, not none)")
    refused(run(folder, model, out, "--layers", "last"), 2, "--layers (combined, not last)")
    refused(run(folder, model, out, "--keep-tags", "view,station"), 2, "another --keep-tags (none, not station,view)")
    refused(run(folder, model, out, "--published-grid"), 2, "--grid (centres, not areas), --interpolation (bicubic, ")
    refused(
        run(folder, model, out, "--interpolation", "bilinear"), 2, "another --interpolation (bicubic, not bilinear)"
    )
    refused(run(folder, model, out, "--flip"), 2, "another --flip (none, not True)")
    refused(run(folder / "sub", model, out), 2, "folder")
    renamed = tmp_path / "other.safetensors"
    shutil.copy(model, renamed)
    assert run(folder, renamed, out).code == 0  # the content counts
    assert lines(out) == before
    finished = run(folder, calibrated, out, "--force")
    assert (finished.code, finished.json["computed"]) == (0, 12)
    assert len(lines(out)) == 12


def test_a_folder_of_before_goes_on_with_maps_by_areas_alone(folder: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(folder, model, out, "--published-grid", "--maps", "all")
    info = json.loads((out / "screening.json").read_text())
    assert {name: info.pop(name) for name in ("grid", "interpolation", "flip")} == {
        "grid": "areas", "interpolation": "bilinear", "flip": False
    }  # fmt: skip
    assert {(image.grid, image.interpolation, image.flip) for image in results(out).values()} == {
        ("areas", "bilinear", False)
    }
    (out / "screening.json").write_text(json.dumps(info))  # as it was before the resize was recorded
    refused(run(folder, model, out, "--maps", "all"), 2, "--grid (areas, not centres)")
    finished = run(folder, model, out, "--maps", "all", "--published-grid")
    assert (finished.code, finished.json["computed"]) == (0, 0)


def test_a_map_that_reads_no_layer_has_no_grid(folder: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(folder, model, out, "--method", "gradient", "--flip", "--maps", "all").code == 0
    assert {(image.grid, image.interpolation, image.flip) for image in results(out).values()} == {("", "", True)}
    assert {(row["grid"], row["flip"]) for row in table(out / "worklist.csv")} == {("", "1")}
    assert run(folder, model, out, "--method", "gradient", "--flip", "--maps", "all", "--grid", "areas").code == 0


def test_a_lower_precision_is_recorded_and_no_folder_is_gone_on_with_by_another(
    folder: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(precision, "has_bfloat16", lambda _device: False)
    refused(run(folder, model, out, "--precision", "bf16"), 2, "device 'cpu' has no units for bfloat16")
    monkeypatch.setattr(precision, "has_bfloat16", lambda _device: True)
    monkeypatch.setattr(precision, "is_faster_in_bfloat16", lambda _device: True)
    assert run(folder, model, out, "--precision", "auto").code == 0
    assert ScreenedFolder(out).info().precision == "bf16"
    assert f"model {model.name} in bf16" in (out / "report.html").read_text("utf-8")
    refused(run(folder, model, out), 2, "another --precision (bf16, not f32)")


def test_force_deletes_what_is_the_screenings_own(
    folder: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "IN_ONE_FILE", 5)
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    refused(run(folder, model, out), 2, out, "not empty", "--force")
    assert run(folder, model, out, "--force", "--maps", "all").code == 0
    (out / "pictures" / "mine.jpg").write_text("mine")
    assert len(list((out / "report_files").iterdir())) == 12
    min(folder.glob("*.jpg")).unlink()
    assert run(folder, model, out, "--force", "--maps", "none").code == 0
    assert (out / "notes.txt").read_text() == (out / "pictures" / "mine.jpg").read_text() == "mine"
    assert len(list((out / "pictures").iterdir())) == 12
    assert list((out / "maps").iterdir()) == []
    kept = {file.stem for file in (out / "pictures").iterdir()} - {"mine"}
    assert {file.stem for file in (out / "report_files").iterdir()} == kept


def test_force_deletes_nothing_where_the_store_cannot_be_opened(folder: Path, model: Path, tmp_path: Path) -> None:
    """The results, the only other copy of what a damaged store held, are still there."""
    out = tmp_path / "out"
    run(folder, model, out)
    before = {path.name: path.read_bytes() for path in out.glob("*.*") if path.name != "store.sqlite"}
    (out / "store.sqlite").write_bytes(b"no database" * 1000)
    refused(run(folder, model, out, "--force"), 2, out / "store.sqlite")
    assert {path.name: path.read_bytes() for path in out.glob("*.*") if path.name != "store.sqlite"} == before


def test_usage_errors(folder: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(run(tmp_path / "gone", model, out), 2, tmp_path / "gone", "no such file or folder")
    refused(run(folder, tmp_path / "gone.safetensors", out), 2, "gone.safetensors")
    refused(run(folder, model, out, "--method", "grad_kam"), 2, "grad_cam")
    refused(run(folder, model, out, "--layers", "layer9"), 2, "layer9")
    refused(run(folder, model, out, "--fail-on", "retake"), 2, "not calibrated", "--fail-on affected")
    refused(run(folder, model, out, "--watch", "--fail-on", "affected"), 2, "--fail-on", "--watch")
    refused(run("-", model, out, "--watch"), 2, "--watch", "standard input")
    refused(run(["-", folder], model, out), 2, "stands alone")
    assert not out.exists()
    refused(run(folder, model, out, "--runtime", "onnx"), 2, model, "'cxrlens export' makes of it")
    (tmp_path / "empty").mkdir()
    finished = run(tmp_path / "empty", model, out)
    assert finished.code == 4
    assert "no images" in finished.errors[0]
    assert not out.exists()


def test_verdicts_and_their_log_outlive_force(folder: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(folder, model, out)
    with Store(ScreenedFolder(out)) as store:
        first = next(store.results.newest())
        assert store.verdicts.give(first.key, "retake", lambda: "0" * 64)
    (folder / first.name).unlink()
    assert run(folder, model, out, "--force", "--maps", "none").json["computed"] == 11
    with Store(ScreenedFolder(out)) as store:
        assert [(kept.key, kept.name) for kept in store.verdicts.standing()] == [(first.key, first.name)]
        assert store.verdicts.audit()[0] == 1
    assert len(stored(out)) == 11


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_share_without_locks(folder: Path, model: Path, tmp_path: Path, number: int) -> None:
    with mock.patch("fcntl.flock", side_effect=OSError(number, os.strerror(number))):
        refused(run(folder, model, tmp_path / "out"), 2, tmp_path / "out", os.strerror(number), "local disk")


def test_deleted_previews_and_maps_are_made_again(folder: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copy(folder / sorted(path.name for path in folder.glob("*.jpg"))[0], folder / "copy.jpg")
    assert run(folder, model, out, "--maps", "all").code == 0
    before = {path.name: path.read_bytes() for name in ("pictures", "maps") for path in (out / name).iterdir()}
    first, second, third = sorted((out / "pictures").iterdir())[:3]
    first.unlink()
    second.unlink()
    (out / "maps" / f"{second.stem}.png").unlink()
    (out / "maps" / f"{third.stem}.png").unlink()
    names, found = stored(out), results(out)
    again = run(folder, model, out, "--maps", "all")
    assert again.code == 0, again.err
    assert "4 previews and maps of earlier results were gone, and were made again" in again.err
    assert {path.name for name in ("pictures", "maps") for path in (out / name).iterdir()} == before.keys()
    for path in (first, second):
        assert path.read_bytes() == before[path.name]
    for key in (second.stem, third.stem):  # of a batch of one image: to the last digit at most
        with Image.open(out / "maps" / f"{key}.png") as made:
            there = np.asarray(made, dtype=int)
        earlier = np.asarray(Image.open(io.BytesIO(before[f"{key}.png"])), dtype=int)
        assert np.abs(there - earlier).max() <= 1
    assert (stored(out), results(out)) == (names, found)  # results stay as they are
    assert "made again" not in run(folder, model, out, "--maps", "all").err


def test_two_at_a_time_are_refused(folder: Path, model: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    out = tmp_path / "out"
    out.mkdir()
    with FileLock(out / ".lock"):
        refused(run(folder, model, out), 2, out, "another process")
    assert run(folder, model, out).code == 0


def test_exit_codes_of_a_gate(folder: Path, calibrated: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(folder, calibrated, out, "--fail-on", "retake").code == 10
    assert run(folder, calibrated, out, "--fail-on", "affected").code == 10
    (folder / "bad.jpg").write_text("no picture")
    assert run(folder, calibrated, out, "--fail-on", "retake").code == 10  # wins over 3
    assert run(folder, calibrated, out).code == 3
    passing = tmp_path / "passing"
    passing.mkdir()
    for name, image in results(out).items():
        if image.triage == "pass":
            shutil.copy(folder / name, passing / Path(name).name)
    assert run(passing, calibrated, tmp_path / "b", "--fail-on", "retake").code == 0


def test_paths_from_the_standard_input(
    folder: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.jpg"))[:5]]
    given.append(str(tmp_path / "gone.jpg"))
    monkeypatch.chdir(folder)
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write("\0".join(given).encode())
    with os.fdopen(reading, encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        finished = run("-", model, tmp_path / "out")
    assert finished.code == 3, finished.err
    found = results(tmp_path / "out")
    assert set(found) == set(given)
    assert "No such file" in found[given[-1]].reason


def test_a_list_of_files(folder: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names = [path.name for path in sorted(folder.glob("*.jpg"))[:3]]
    assert run([*names, "sub"], model, tmp_path / "out").code == 0
    assert set(results(tmp_path / "out")) == {*names, *(f"sub/{path.name}" for path in folder.glob("sub/*.jpg"))}


def test_a_listed_file_that_has_gone_keeps_its_row(
    folder: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    names = [path.name for path in sorted(folder.glob("*.jpg"))[:3]]
    assert run(names, model, tmp_path / "out").code == 0
    before = results(tmp_path / "out")
    (folder / names[1]).rename(tmp_path / "moved.jpg")
    paths = tmp_path / "paths"
    paths.write_text("\n".join(names))
    with paths.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert run(["-"], model, tmp_path / "out").code == 0
    assert results(tmp_path / "out") == before


def test_results_go_to_another_folder_than_the_images(folder: Path, model: Path, tmp_path: Path) -> None:
    refused(run(folder, model, folder, "--force"), 2, folder, "is the folder of the images")
    assert run(folder, model, tmp_path / "out").code == 0
    refused(run(tmp_path / "out", model, tmp_path / "again"), 2, "is the output of a screening")


SECRETS = {
    "PatientName": "DISTINCTIVE^NAME",
    "PatientID": "DISTINCTIVE-ID",
    "PatientBirthDate": "19010203",
    "AccessionNumber": "ACC-DISTINCT",
    "StudyDate": "20240517",
    "StudyInstanceUID": "1.2.840.99999.1",
    "InstitutionName": "DISTINCTIVE HOSPITAL",
    "ReferringPhysicianName": "DISTINCTIVE^DOCTOR",
    "StudyDescription": "DISTINCTIVE STUDY",
}


def with_secrets(path: Path, **elements: Any) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.840.99999.2"
    pixels = np.random.default_rng(3).integers(0, 256, (40, 30), dtype=np.uint8)
    values = {
        "Rows": 40, "Columns": 30, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 8,
        "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0, "PixelData": pixels.tobytes(), "Modality": "DX",
    }  # fmt: skip
    for name, value in {**values, **SECRETS, **elements}.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)


def test_no_patient_data_unless_asked_for(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with_secrets(folder / "a.dcm")
    with_secrets(folder / "lateral.dcm", ViewPosition="LL")
    with_secrets(folder / "cut.dcm", PixelData=bytes(10))
    with_secrets(folder / "film.dcm", NumberOfFrames=2)
    finished = run(folder, model, tmp_path / "out", "--maps", "all")
    assert finished.code == 3
    assert (finished.json["images"], finished.json["unreadable"]) == (4, 3)
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.name for path in written} >= {"worklist.csv", "results.jsonl", "report.html", "unreadable.txt"}
    for text in [finished.out.encode(), finished.err.encode(), *(path.read_bytes() for path in written)]:
        assert not [value for value in (*SECRETS.values(), "1.2.840.99999.2") if value.encode() in text]
        assert b"DISTINCT" not in text

    named = ("--keep-tags", "accession-number,study-uid", "--keep-tags", "image-uid, projection,date")
    finished = run(folder, model, tmp_path / "kept", *named)
    assert results(tmp_path / "kept")["a.dcm"].tags == {
        "date": "2024-05-17",
        "accession_number": SECRETS["AccessionNumber"],
        "study_uid": SECRETS["StudyInstanceUID"],
        "image_uid": "1.2.840.99999.2",
    }
    row = table(tmp_path / "kept" / "worklist.csv")[0]
    assert list(row)[-5:] == ["date", "view", "accession_number", "study_uid", "image_uid"]
    assert (row["accession_number"], row["view"]) == (SECRETS["AccessionNumber"], "")
    for path in (tmp_path / "kept").rglob("*"):
        assert path.is_dir() or not re.search(rb"DISTINCTIVE[\^-]", path.read_bytes())


def test_tags_are_named_one_by_one(folder: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(
        run(folder, model, out, "--keep-tags", "station,patient-name"),
        2,
        "--keep-tags",
        "exposure-index",
        "'patient-name'",
    )
    assert not out.exists()


def test_a_folder_of_before_goes_on_with_the_tags_that_it_kept(folder: Path, model: Path, tmp_path: Path) -> None:
    """When `--keep-tags` was one switch it kept six of them, under the names of their attributes."""
    with_secrets(folder / "a.dcm", ViewPosition="PA")
    out = tmp_path / "out"
    kept = "patient-id,accession-number,date,study-uid,image-uid,view"
    run(folder, model, out, "--keep-tags", kept)
    store, info = ScreenedFolder(out).store_file, json.loads((out / "screening.json").read_text())
    (out / "screening.json").write_text(json.dumps(info | {"keep_tags": True}))
    names = {"patient_id": "PatientID", "accession_number": "AccessionNumber", "date": "StudyDate",
             "study_uid": "StudyInstanceUID", "image_uid": "SOPInstanceUID", "view": "ViewPosition"}  # fmt: skip
    with closing(sqlite3.connect(store)) as connection, connection:
        ((id_, text),) = connection.execute("SELECT id, record FROM results WHERE name = 'a.dcm'")
        record = json.loads(text)
        record["tags"] = {names[name]: value.replace("-05-", "05") for name, value in record["tags"].items()}
        assert record["tags"]["StudyDate"] == "20240517"
        connection.execute("UPDATE results SET record = ? WHERE id = ?", (json.dumps(record), id_))
    refused(run(folder, model, out), 2, f"another --keep-tags (date,view,{kept.split(',date')[0]}", "not none)")
    with_secrets(folder / "b.dcm", AcquisitionDate="20240518", SOPInstanceUID="1.2.3")
    assert run(folder, model, out, "--keep-tags", kept).json["computed"] == 1
    rows = {row["name"]: row for row in table(out / "worklist.csv")}
    assert (rows["a.dcm"]["date"], rows["a.dcm"]["view"], rows["b.dcm"]["date"]) == ("2024-05-17", "PA", "2024-05-18")
    assert rows["a.dcm"]["patient_id"] == "DISTINCTIVE-ID"


def test_a_file_that_ends_its_process(folder: Path, model: Path, tmp_path: Path, monkeypatch: Any) -> None:
    bad = min(folder.glob("*.jpg"))
    real = reading.Reading.__call__

    def killing(self: Any, task: Any) -> Any:
        if task.origin.path == bad:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, task)

    monkeypatch.setattr(reading.Reading, "__call__", killing)
    finished = run(folder, model, tmp_path / "out", "--workers", 2)
    assert finished.code == 3
    assert "ended the process" in results(tmp_path / "out")[bad.name].reason
    assert finished.json["images"] == 12
    monkeypatch.undo()
    assert run(folder, model, tmp_path / "out").json["computed"] == 1


def test_only_a_few_results_are_in_memory(folder: Path, model: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Whatever waits is written after a batch: no more files are read ahead than that."""
    real, waiting = Store.add, []

    def add(self: Store, images: list[ScreenedImage], states: dict[str, str]) -> None:
        waiting.append(len(images))
        real(self, images, states)

    monkeypatch.setattr(Store, "add", add)
    run(folder, model, tmp_path / "out", "--batch-size", 3)
    assert waiting == [3, 3, 3, 3]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watching(folder: Path, model: Path, phantoms: Path, monkeypatch: Any, number: int) -> None:
    out = folder / "out"  # within what is watched
    content = min((phantoms / "dev" / "normal").glob("*.jpg")).read_bytes()
    new, poll = folder / "new.jpg", Watch.poll

    def growing(self: Watch) -> Iterator[Path]:
        """Looks for files, one of which has grown since the look before."""
        if len(results(out)) == 12:
            if not new.exists():
                new.write_bytes(content[:500])
            elif new.stat().st_size == 500:
                new.write_bytes(content)
                (folder / "bad.jpg").write_text("no picture")
        return poll(self)

    def interrupt() -> None:
        try:
            until(lambda: len(results(out)) == 14)
        finally:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Watch, "poll", growing)
    thread = threading.Thread(target=interrupt)
    thread.start()
    finished = run(folder, model, out, "--watch", "--interval", 0.5)
    thread.join()
    assert finished.code == 0, finished.err
    assert (finished.json["images"], finished.json["unreadable"], finished.json["computed"]) == (14, 1, 13)
    assert len(table(out / "worklist.csv")) == 14
    assert len(lines(out)) == 14  # the file that was growing was taken once
    assert (out / "report.html").exists()
    assert run(folder, model, out).json["computed"] == 0


def test_dicom_helper_is_readable(model: Path, tmp_path: Path) -> None:
    """A constant picture has a result like any other."""
    (tmp_path / "in").mkdir()
    dicom(tmp_path / "in" / "IM1")
    finished = run(tmp_path / "in", model, tmp_path / "out", "--maps", "all")
    assert finished.code == 0
    (image,) = results(tmp_path / "out").values()
    assert (image.name, image.height, image.width, image.origin) == ("IM1", 20, 30, "DICOM")
