"""Verdicts on a worklist go back into training: as new labels, and as a data set."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageOps
from torch import nn

from command_line import cxrlens, refused, table
from cxrlens.inputs.dataset.label_csv import read_labels
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import build_network
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.store.marks import Mark
from cxrlens.screening.store.store import Store
from cxrlens.screening.store.verdicts import Grounds
from stores import INFO

TINY = ("--recipe", "small", "--arch", "resnet18", "--image-size", 32, "--epochs", 1, "--workers", 0, "--json")
COLUMNS = ("path", "label", "verdict", "name", "key", "probability", "time")


def write_verdicts(path: Path, labels: dict[Path, str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for file, label in labels.items():
            verdict = {"normal": "accept", "affected": "retake"}[label]
            writer.writerow([file, label, verdict, file.name, "0" * 64, 0.5, "2026-01-02T03:04:05+00:00"])
    return path


@pytest.fixture
def verdicts(data: Path, tmp_path: Path) -> Path:
    """One label turned, one confirmed, and one image from elsewhere."""
    turned = min((data / "train" / "affected").glob("*.jpg"))
    confirmed = min((data / "train" / "normal").glob("*.jpg"))
    new = tmp_path / "inbox" / "new.jpg"
    new.parent.mkdir()
    ImageOps.mirror(Image.open(min((data / "dev" / "normal").glob("*.jpg")))).save(new)
    return write_verdicts(tmp_path / "verdicts.csv", {turned: "normal", confirmed: "normal", new: "affected"})


def test_training_takes_new_labels(data: Path, verdicts: Path, tmp_path: Path) -> None:
    finished = cxrlens("train", data, *TINY, "--runs", tmp_path, "--name", "a", "--labels", verdicts)
    assert finished.code == 0, finished.err
    assert finished.json["counts"]["train"] == {"normal": 9, "affected": 8}
    assert "1 labels changed, 1 images added" in finished.err
    config = yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())["data"]
    assert (config["labels"], config["changed"], config["added"]) == (str(verdicts), 1, 1)
    again = cxrlens("train", data, *TINY, "--runs", tmp_path, "--name", "a", "--resume")
    refused(again, 2, "other images or labels", f"--labels {verdicts}")
    finished = cxrlens("train", data, *TINY, "--runs", tmp_path, "--name", "a", "--resume", "--labels", verdicts)
    assert finished.code == 4  # the very run, and finished


def test_mistakes_are_refused_before_training(data: Path, tmp_path: Path) -> None:
    dev = min((data / "dev" / "normal").glob("*.jpg"))
    given = ("train", data, *TINY, "--runs", tmp_path, "--name", "a", "--labels")
    refused(cxrlens(*given, write_verdicts(tmp_path / "v.csv", {tmp_path / "gone.jpg": "normal"})), 2, "gone.jpg")
    refused(cxrlens(*given, write_verdicts(tmp_path / "v.csv", {dev: "normal"})), 2, dev, "'dev'")
    assert not (tmp_path / "a").exists()


def test_verdicts_are_a_data_set(phantoms: Path, tmp_path: Path) -> None:
    images = sorted((phantoms / "train").rglob("*.jpg"))
    labels = {path: ("normal", "affected")[number % 2] for number, path in enumerate(images)}
    verdicts = write_verdicts(tmp_path / "verdicts.csv", labels)
    finished = cxrlens("data", "prepare", verdicts, tmp_path / "set", "--dev-share", "0.25", "--json")
    assert finished.code == 0, finished.err
    rows = table(tmp_path / "set" / "manifest.csv")
    assert {row["name"]: row["label"] for row in rows} == {path.name: label for path, label in labels.items()}
    for row in rows:
        assert (tmp_path / "set" / row["path"]).read_bytes() == next(phantoms.rglob(row["name"])).read_bytes()


def test_verdicts_of_a_folder_are_files_for_other_commands(data: Path, tmp_path: Path) -> None:
    """Retakes for positioning, and what readers contradict each other on, are not learnt from; objects are kept."""
    affected, normal = (
        sorted((data / "train" / "affected").glob("*.jpg")),
        sorted((data / "train" / "normal").glob("*.jpg")),
    )
    images = [*affected[:3], *normal[:2]]
    folder = ScreenedFolder(tmp_path / "screened")
    folder.path.mkdir()
    folder.write_info(INFO.model_copy(update={"root": str(data)}))
    with Store(folder) as store:
        keys = [hashlib.sha256(path.read_bytes()).hexdigest() for path in images]
        store.results.add(
            [
                ScreenedImage(name=str(path.relative_to(data)), key=key, probability=0.5, height=96, width=96)
                for path, key in zip(images, keys, strict=True)
            ]
        )
        verdicts = tmp_path / "verdicts.csv"
        refused(cxrlens("verdicts", folder.path, "--labels", verdicts), 4, "has no verdicts yet")
        mark = Mark(kind="box", points=((10, 20), (60, 40)))
        for place, verdict, reader, grounds in (
            (0, "retake", "Anna", Grounds(reason="foreign_object", marks=(mark,))),
            (1, "retake", "Anna", Grounds(reason="positioning", marks=(mark,))),
            (2, "retake", "Anna", Grounds(reason="foreign_object")),
            (3, "accept", "Anna", Grounds()),
            (3, "accept", "Ben", Grounds()),
            (4, "retake", "Anna", Grounds(reason="foreign_object")),
            (4, "accept", "Ben", Grounds()),
        ):
            assert store.verdicts.give(keys[place], verdict, lambda: "", reader=reader, grounds=grounds)  # type: ignore[arg-type]
    objects = tmp_path / "objects.csv"
    finished = cxrlens("verdicts", folder.path, "--labels", verdicts, "--objects", objects, "--json")
    assert finished.code == 0, finished.err
    open_ones = {"to be retaken for no foreign object": 1, "with a conflict of readers": 1}
    assert finished.json == {
        str(verdicts): {"images": 5, "left_out": open_ones},
        str(objects): {"images": 2, "left_out": open_ones | {"with a foreign object that nobody has drawn": 1}},
    }
    again = cxrlens("verdicts", folder.path, "--labels", verdicts)
    refused(again, 2, f"{verdicts}: is there already")
    assert cxrlens("verdicts", folder.path, "--labels", verdicts, "--force").code == 0
    refused(cxrlens("verdicts", folder.path), 2, "give what is to be written: --labels FILE, --objects FILE")
    assert [(row["image_name"], row["annotation"]) for row in table(objects)] == [
        (str(images[0]), "0 10 20 60 40"), (str(images[3]), "")
    ]  # fmt: skip
    labels = read_labels(verdicts)
    assert {digest: labels.labels.get(digest) for digest in keys} == dict(zip(keys, (1, None, 1, 0, None), strict=True))
    assert any("3 of its rows have no label" in remark for remark in labels.remarks)
    prepared = cxrlens("data", "prepare", verdicts, tmp_path / "set", "--dev-share", 0, "--json")
    assert prepared.code == 0, prepared.err
    assert "name an image again" not in prepared.err
    assert sorted(row["label"] for row in table(tmp_path / "set" / "manifest.csv")) == [
        "affected",
        "affected",
        "normal",
    ]
    assert "3 rows have a verdict and no label, and are left out" in prepared.err
    prepared = cxrlens("data", "prepare", objects, tmp_path / "objects", "--dev-share", 0, "--json")
    assert prepared.code == 0, prepared.err
    found = {row["label"]: row["annotation"] for row in table(tmp_path / "objects" / "manifest.csv")}
    assert found == {"affected": "0 10 20 60 40", "normal": ""}


HEIGHT, WIDTH = 96, 128
SPOT = (28, 100)  # row, column


def spot() -> Image.Image:
    """A radiograph with one bright spot, off its diagonals; all of it is brighter than ImageNet's mean."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    near = np.exp(-((rows - SPOT[0]) ** 2 + (columns - SPOT[1]) ** 2) / 60)
    return Image.fromarray(np.uint8(130 + 0.2 * columns + 95 * near))


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-18 that hands the brightness on and does nothing else, so that its maps are highest where that is."""
    network = build_network("resnet18")
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            if module is network.conv1 or module.kernel_size == (1, 1):
                middle = module.kernel_size[0] // 2
                module.weight.data[0, 0, middle, middle] = 1
    with torch.no_grad():
        network.fc.weight.zero_()
        network.fc.bias.zero_()
        network.fc.weight[1, 0] = 1
    path = tmp_path_factory.mktemp("seeing") / "model.safetensors"
    save_model(path, network, ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=96, width=96)))
    return path


def test_drawn_objects_are_what_the_pointing_game_is_scored_on(seeing: Path, tmp_path: Path) -> None:
    """The peak is on the spot: it hits the box about it, and misses the outline where x and y would be exchanged."""
    images = tmp_path / "images"
    images.mkdir()
    around = ((SPOT[1] - 6, SPOT[0] - 6), (SPOT[1] + 6, SPOT[0] + 6))
    exchanged = tuple((y, min(x, HEIGHT - 1)) for x, y in ((94, 22), (106, 22), (106, 34), (94, 34)))
    said = {
        "on.png": ("retake", Grounds(reason="foreign_object", marks=(Mark(kind="box", points=around),))),
        "off.png": ("retake", Grounds(reason="foreign_object", marks=(Mark(kind="outline", points=exchanged),))),
        "fit.png": ("accept", Grounds()),
        "undrawn.png": ("retake", Grounds(reason="foreign_object")),
    }
    folder = ScreenedFolder(tmp_path / "screened")
    folder.path.mkdir()
    folder.write_info(INFO.model_copy(update={"root": str(images)}))
    with Store(folder) as store:
        for number, (name, (verdict, grounds)) in enumerate(said.items()):
            spot().save(images / name, pnginfo=None, dpi=(72 + number, 72))  # files that differ
            key = hashlib.sha256((images / name).read_bytes()).hexdigest()
            store.results.add([ScreenedImage(name=name, key=key, probability=0.5, height=HEIGHT, width=WIDTH)])
            assert store.verdicts.give(key, verdict, lambda: "", reader="Anna", grounds=grounds)  # type: ignore[arg-type]
    labels, objects = tmp_path / "labels.csv", tmp_path / "objects.csv"
    written = cxrlens("verdicts", folder.path, "--labels", labels, "--objects", objects)
    assert written.code == 0, written.err
    out = tmp_path / "game"
    game = ("--annotations", objects, "--method", "grad_cam", "--layers", "layer1.0", "--workers", 0, "--json")
    played = cxrlens("pointing-game", images, "-m", seeing, "-o", out, *game)
    assert played.code == 0, played.err
    rows = [row for row in table(out / "per_image.csv") if row["method"] == "grad_cam"]
    assert {Path(row["image"]).name: row["outcome"] for row in rows if row["outcome"] != "not applicable"} == {
        "on.png": "hit", "off.png": "miss"
    }  # fmt: skip
    for row in rows:
        assert float(row["peak_y"]) == pytest.approx(SPOT[0], abs=HEIGHT / 24)  # one cell of the layer
        assert float(row["peak_x"]) == pytest.approx(SPOT[1], abs=WIDTH / 24)
    [score] = [row for row in played.json["table"] if row["method"] == "grad_cam"]
    assert (score["n"], score["hits"], score["misses"], score["accuracy"]) == (2, 1, 1, 0.5)


def test_readers_and_reasons_that_cannot_be_are_refused(model: Path, tmp_path: Path) -> None:
    folder, readers, reasons = tmp_path / "screened", tmp_path / "readers.yaml", tmp_path / "reasons.yaml"
    folder.mkdir()
    ScreenedFolder(folder).write_info(INFO)
    readers.write_text("Anna: a-token-of-the-tests")
    readers.chmod(0o644)
    reasons.write_text("- {id: a}")
    given = ("serve", folder, "-m", model)
    refused(cxrlens(*given, "--readers", readers), 2, f"{readers}: others may read", f"chmod 600 {readers}")
    refused(cxrlens(*given, "--readers", readers, "--token", "a-token-of-the-tests"), 2, "--readers and --token cannot")
    refused(cxrlens(*given, "--blind"), 2, "--blind needs to know its readers")
    refused(cxrlens(*given, "--reasons", reasons), 2, f"{reasons}: holds no reasons", "title is missing")
    refused(cxrlens("serve", "-m", model, "--reasons", reasons), 2, "give the folder, too")
    refused(
        cxrlens("screen", tmp_path, "-m", model, "-o", tmp_path / "new", "--reasons", reasons), 2, "holds no reasons"
    )
    assert not ScreenedFolder(folder).reasons_file.exists()
