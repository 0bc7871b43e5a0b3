"""Verdicts on a worklist go back into training: as new labels, and as a data set."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml
from command_line import cxrlens, refused, table
from PIL import Image, ImageOps

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
