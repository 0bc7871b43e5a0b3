"""Every bad input at once: each is a row with its reason, and every other file's result is intact."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from command_line import Finished, agree, cxrlens, table
from cxrlens.inputs import decoding
from cxrlens.inputs.readers import Radiograph, decode, read

FAST = ("--method", "normgrad_scaling", "--layers", "last", "--batch-size", 4)
TINY = ("--recipe", "small", "--arch", "resnet18", "--image-size", 32, "--epochs", 1)

REASONS = {
    "bomb.png": "more than 100 million pixels; save it at a smaller size",
    "broken.jpg": "No such file or directory",
    "circle.jpg": "symbolic links",
    "cut.jpg": "runcated",
    "device.jpg": "no regular file",
    "empty.jpg": "the file is empty",
    "film.dcm": "multi-frame",
    "huge.dcm": "60000 x 60000 pixels",
    "lateral.dcm": "the view is 'LL'",
    "pipe.jpg": "no regular file",
    "report.dcm": "holds no image",
    "text.png": "no image that can be read",
}

REASONS_IN_DATA = {**REASONS, "folder.jpg": "this is a folder, not an image"}


def dicom(path: Path, **elements: object) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    values = {
        "Rows": 20, "Columns": 30, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0, "PixelData": bytes(600),
    }  # fmt: skip
    for name, value in {**values, **elements}.items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)


def spoil(folder: Path, good: Path) -> None:
    """Every bad file that a folder may hold."""
    (folder / "broken.jpg").symlink_to("nowhere")
    (folder / "circle.jpg").symlink_to("circle.jpg")
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "cut.jpg").write_bytes(good.read_bytes()[:400])
    (folder / "empty.jpg").touch()
    (folder / "text.png").write_text("no picture")
    os.mkfifo(folder / "pipe.jpg")
    dicom(folder / "film.dcm", NumberOfFrames=2, PixelData=bytes(1200))
    dicom(folder / "huge.dcm", Rows=60_000, Columns=60_000)
    dicom(folder / "lateral.dcm", ViewPosition="LL")
    dicom(folder / "report.dcm", PixelData=None)
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(10**6))), (b"IEND", b""))
    content = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def odd_names(folder: Path, good: Path) -> set[str]:
    """Sound files of every name that people and machines give, one of them no text."""
    found = {"with space.jpg", "-leading.jpg", "Größe 胸部.jpg", "$x^{$.jpg", "new\nline.jpg", "[red].jpg", "<b>.jpg"}
    found |= {"y" * 251 + ".jpg", os.fsdecode(b"\xff\xfe.jpg")}
    for name in found:
        shutil.copy(good, folder / name)
    dicom(folder / "IM000001", PixelData=np.arange(600, dtype=np.uint8).tobytes())
    return found | {"IM000001"}


@pytest.fixture
def spoilt(data: Path) -> Path:
    """A data set with every bad file among the affected images of both splits, annotated in dev."""
    for split in ("train", "dev"):
        folder = data / split / "affected"
        spoil(folder, min(folder.glob("*.jpg")))
        (folder / "folder.jpg").mkdir()
    with (data / "dev.csv").open("a", encoding="utf-8") as stream:
        stream.writelines(f"{name},0 1 2 30 40\n" for name in REASONS_IN_DATA)
    return data


def listed(out: Path, finished: Finished, folder: Path, reasons: dict[str, str]) -> None:
    """The bad files are rows of ``unreadable.txt``, and nothing else went wrong."""
    assert finished.code == 3, finished.err
    assert finished.errors == []
    assert "Traceback" not in finished.err
    lines = [line for line in (out / "unreadable.txt").read_text().splitlines() if line.startswith(f"{folder}/")]
    assert len(lines) == len(reasons)
    for line, (name, reason) in zip(sorted(lines), sorted(reasons.items()), strict=True):
        assert line.startswith(f"{folder / name}: ")
        assert reason in line


def test_explain(phantoms: Path, model: Path, tmp_path: Path) -> None:
    good = min((phantoms / "dev" / "affected").glob("*.jpg"))
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "up").symlink_to("..")
    shutil.copy(good, folder / "sub" / "deep.jpg")
    spoil(folder, good)
    names = odd_names(folder, good)
    out = tmp_path / "out"
    finished = cxrlens("explain", folder, "-m", model, "-o", out, "--workers", 2, "--json", *FAST)
    listed(out, finished, folder, REASONS)
    assert {row["image"] for row in finished.json["rows"]} == names | {"sub/deep.jpg"}
    written = {row["image"]: row for row in table(out / "explanations.csv")}
    assert {Path(name).as_posix() for name in written} == names | {"sub/deep.jpg"}
    for row in written.values():
        assert (out / row["overlay"]).is_file()
        assert (out / row["map"]).is_file() == (not row["refusals"])
        with Image.open(out / row["overlay"]) as overlay:
            assert overlay.width > 100
    same = {row["probability"] for name, row in written.items() if name != "IM000001"}
    assert len(same) == 1  # one picture under many names


@pytest.mark.parametrize("command", ["test", "pointing-game"])
def test_scores_of_the_sound_files_are_untouched(
    phantoms: Path, spoilt: Path, model: Path, tmp_path: Path, command: str
) -> None:
    def run(source: Path, out: Path) -> Finished:
        given = ("-m", model, "-o", out, "--workers", 2, "--json", *(FAST if command != "test" else ()))
        return cxrlens(command, source, *given)

    clean, finished = run(phantoms, tmp_path / "clean"), run(spoilt, tmp_path / "out")
    assert clean.code == 0
    listed(tmp_path / "out", finished, spoilt / "dev" / "affected", REASONS_IN_DATA)
    file = {"test": "predictions.csv", "pointing-game": "per_image.csv"}[command]
    agree(table(tmp_path / "out" / file), table(tmp_path / "clean" / file))


def test_compare(spoilt: Path, model: Path, tmp_path: Path) -> None:
    finished = cxrlens("compare", "normgrad_scaling last", "normgrad_conv1x1 last", "--data", spoilt, "-m", model,
                       "-o", tmp_path / "out", "--workers", 2, "--json")  # fmt: skip
    listed(tmp_path / "out", finished, spoilt / "dev" / "affected", REASONS_IN_DATA)
    assert [score["n"] for score in finished.json["scores"]] == [4]


def test_train(spoilt: Path, tmp_path: Path) -> None:
    finished = cxrlens("train", spoilt, *TINY, "--runs", tmp_path, "--name", "a", "--workers", 2, "--json")
    assert finished.json["counts"] == {"train": {"normal": 8, "affected": 8}, "dev": {"normal": 4, "affected": 4}}
    for split in ("train", "dev"):
        folder = spoilt / split / "affected"
        listed(tmp_path / "a", finished, folder, REASONS_IN_DATA)


def test_study(spoilt: Path, model: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    rows = ["normgrad_scaling last"]
    plan.write_text(yaml.safe_dump({"architectures": ["resnet18"], "rows": rows, "repeats": 20, "batch_size": 3}))
    out = tmp_path / "out"
    finished = cxrlens("study", spoilt, "-o", out, "--plan", plan, "-m", model, "--workers", 2, "--json")
    folder = spoilt / "dev" / "affected"
    listed(out, finished, folder, REASONS_IN_DATA)
    assert table(out / "tables" / "pointing-game.csv")[0]["resnet18_n"] == "4"
    assert table(out / "tables" / "classification.csv")


def test_prepare(phantoms: Path, model: Path, tmp_path: Path) -> None:
    good = min((phantoms / "train" / "affected").glob("*.jpg"))
    source, out = tmp_path / "source", tmp_path / "out"
    for split in ("train", "dev"):
        for label in ("affected", "normal"):
            (source / split / label).mkdir(parents=True)
            shutil.copy(good, source / split / label)
    folder = source / "dev" / "affected"
    spoil(folder, good)
    names = odd_names(folder, good) | {good.name}
    finished = cxrlens("data", "prepare", source, out, "--size", 64, "--workers", 2)
    listed(out, finished, folder, REASONS)
    rows = [row for row in table(out / "manifest.csv") if row["split"] == "dev" and row["label"] == "affected"]
    assert {Path(row["source"]).name for row in rows} == names
    for row in rows:
        assert read(out / row["path"]).pixels.shape == (int(row["height"]), int(row["width"]))
    assert len({row["name"] for row in rows}) == len({row["path"] for row in rows}) == len(names)
    finished = cxrlens("explain", out, "--split", "dev", "-m", model, "-o", tmp_path / "explained", *FAST)
    assert finished.code == 0, finished.err
    explained = {row["image"] for row in table(tmp_path / "explained" / "explanations.csv")}
    assert explained == {row["name"] for row in table(out / "manifest.csv") if row["split"] == "dev"}


def test_a_file_that_kills_its_process_is_a_row_like_any_other(
    phantoms: Path, data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = min((data / "dev" / "affected").glob("*.jpg"))

    def killing(content: bytes, name: str, **options: tuple[int, int] | None) -> Radiograph:
        if name == str(bad):
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(content, name, **options)

    monkeypatch.setattr(decoding, "decode", killing)
    finished = cxrlens("test", data, "-m", model, "-o", tmp_path / "out", "--workers", 2, "--batch-size", 2, "--json")
    listed(tmp_path / "out", finished, bad.parent, {bad.name: "reading it ended the process"})
    assert finished.json["n"] == 7


def test_single_inputs_that_are_no_files(model: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, reason in (("pipe.jpg", "no regular file"), ("absent.jpg", "no such file")):
        finished = cxrlens("explain", tmp_path / name, "-m", model, "-o", tmp_path / "out")
        assert finished.code == 2
        assert reason in finished.errors[0]
