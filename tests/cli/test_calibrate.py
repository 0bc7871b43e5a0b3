"""`cxrlens calibrate` and `cxrlens card` from end to end, on images whose log-odds are known, and on phantoms."""

from __future__ import annotations

import errno
import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.special import expit, logit
from scipy.stats import binom
from torch import Tensor, nn

import cxrlens as package
from command_line import Finished, cxrlens, refused, table
from cxrlens.calibration.run import trained_share
from cxrlens.calibration.text import SCORES
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import load_model, save_model
from cxrlens.models.registry import ARCHITECTURES, Architecture, Stages
from cxrlens.outputs import LOCK
from cxrlens.testing.predictions import predict

TEMPERATURE = 2.5
SIZE = 64
PREPROCESSING = Preprocessing(height=SIZE, width=SIZE, mean=(0, 0, 0), std=(1, 1, 1))
TRAINED = {
    "recipe": {"name": "paper", "class_weights": "none", "seed": 4},
    "data": {"folder": "/secret/place/object-CXR", "digest": "abc123"},
    "images": {"train": {"normal": 60, "affected": 40}, "dev": {"normal": 50, "affected": 50}},
    "best_epoch": 3,
}
ENDINGS = {
    ".safetensors",
    *(f".calibration.{kind}" for kind in ("json", "md", "csv")),
    *(f".{name}.{kind}" for name in ("reliability", "operating-point") for kind in ("png", "svg")),
}


class Meter(nn.Module):
    """Log-odds 80 x (mean brightness - 0.5)."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.linear = nn.Linear(3, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.mean(dim=(2, 3)))


@pytest.fixture(scope="module", autouse=True)
def _meter() -> Iterator[None]:
    entry = Architecture(
        "meter", Meter, ARCHITECTURES["resnet18"].weights, "linear", lambda _: Stages("", ("",)), False
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "meter", entry)
        yield


def write_meter(path: Path, *, sign: int = 1, **card: Any) -> Path:
    network = Meter()
    with torch.no_grad():
        network.linear.weight.copy_(torch.tensor([[0.0] * 3, [sign * 80 / 3] * 3]))
        network.linear.bias.copy_(torch.tensor([0.0, -sign * 40.0]))
    save_model(path, network, ModelCard(architecture="meter", preprocessing=PREPROCESSING, **card))
    return path


def write_images(folder: Path, labels: np.ndarray, raw: np.ndarray) -> None:
    """Pictures of 16 bits with a grain, whose mean brightness carries the log-odds; equal ones for equal log-odds."""
    for number, (label, odds) in enumerate(zip(labels, raw, strict=True)):
        place = folder / ("affected" if label else "normal")
        place.mkdir(parents=True, exist_ok=True)
        level = round(65535 * (odds / 80 + 0.5))
        half = np.random.default_rng(level).integers(-16_000, 16_000, (SIZE, SIZE // 2))
        picture = level + np.concatenate([half, -half[:, ::-1]], axis=1)
        Image.fromarray(picture.astype(np.uint16)).save(place / f"{number:04d}.png")


@pytest.fixture(scope="module")
def simulated() -> tuple[np.ndarray, np.ndarray]:
    """Labels, 200 of each class, and log-odds that are too sure by the temperature; their own share is one half."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 200)
    right = 1.5 * (rng.normal(size=400) * 1 + 1.5 * labels - 0.75)  # two normal classes: log-odds 1.5 (x - 0.75)
    return labels, TEMPERATURE * right


@pytest.fixture(scope="module")
def site(simulated: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "hospital_a"
    write_images(folder / "test", *simulated)
    return folder


@pytest.fixture(scope="module")
def meter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_meter(tmp_path_factory.mktemp("meter") / "meter.safetensors")


@pytest.fixture(scope="module")
def calibrated(site: Path, meter: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("calibrated") / "new" / "cal.safetensors"
    given = ("--prevalence", "12%", "--specificity", "0.9", "--workers", 0, "--json")
    before = meter.read_bytes()
    finished = cxrlens("calibrate", site, "-m", meter, "-o", out, *given)
    assert finished.code == 0, finished.err
    assert meter.read_bytes() == before
    return out, finished.json


@pytest.fixture(scope="module")
def familiar(calibrated: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network before a calibration, which has seen the site's images: no distance is fitted anew."""
    distance = load_model(calibrated[0])[1].distance
    assert distance is not None
    return write_meter(tmp_path_factory.mktemp("familiar") / "meter.safetensors", distance=distance)


def test_calibrate_writes_a_copy_and_all_that_belongs_to_it(calibrated: tuple[Path, dict[str, Any]]) -> None:
    out, found = calibrated
    written = {path for path in out.parent.iterdir() if path.name != LOCK}
    assert {path.name.removeprefix("cal") for path in written} == ENDINGS
    assert set(map(Path, found["files"])) == written
    record = json.loads((out.parent / "cal.calibration.json").read_text())
    assert {**record, "model": str(out)} == {key: value for key, value in found.items() if key != "files"}
    assert all(len((out.parent / f"cal.{name}.png").read_bytes()) > 5000 for name in ("reliability", "operating-point"))


def test_the_model_file_keeps_the_scores_of_each_class(
    calibrated: tuple[Path, dict[str, Any]], simulated: tuple[np.ndarray, np.ndarray]
) -> None:
    """As calibrated log-odds, which later images are compared with."""
    out, found = calibrated
    calibration = load_model(out)[1].calibration
    assert calibration is not None
    assert calibration.scores is not None
    labels, raw = simulated
    site = raw / found["temperature"] + logit(0.12) - logit(0.5)
    for label, kept in enumerate((calibration.scores.normal, calibration.scores.affected)):
        assert len(kept) == 101
        own = site[labels == label]
        assert (kept[0], kept[50], kept[100]) == pytest.approx((own.min(), np.median(own), own.max()), abs=1e-3)


def test_the_known_temperature_and_thresholds_are_found(
    calibrated: tuple[Path, dict[str, Any]], simulated: tuple[np.ndarray, np.ndarray]
) -> None:
    _, found = calibrated
    labels, raw = simulated
    assert found["temperature"] == pytest.approx(TEMPERATURE, rel=0.15)
    normal, affected = (np.sort(raw[labels == label]) for label in (0, 1))
    shift = logit(0.12) - logit(0.5)
    above = np.sort(raw)[np.searchsorted(np.sort(raw), normal[179]) :][:2]  # 180 of 200 are not retaken
    assert found["threshold"] == pytest.approx(expit(above.mean() / found["temperature"] + shift), abs=1e-4)
    below = np.sort(raw)[: np.searchsorted(np.sort(raw), affected[10]) + 1][-2:]  # 190 of 200 are seen
    assert found["review_threshold"] == pytest.approx(expit(below.mean() / found["temperature"] + shift), abs=1e-4)
    interval = found["threshold_interval"]
    assert interval["low"] < found["threshold"] == interval["value"] < interval["high"]
    sensitivity = np.mean(affected > normal[179])
    apparent = {name: each["value"] for name, each in found["apparent"].items()}
    assert (apparent["specificity"], apparent["seen_sensitivity"]) == (0.9, 0.95)
    assert apparent["sensitivity"] == pytest.approx(sensitivity)
    alarms = 0.12 * sensitivity + 0.88 * 0.1
    assert apparent["ppv"] == pytest.approx(0.12 * sensitivity / alarms)
    assert apparent["retakes"] == pytest.approx(1000 * alarms)
    for name, each in found["expected"].items():
        assert each["low"] < each["value"] < each["high"], name
    assert found["expected"]["sensitivity"]["value"] == apparent["sensitivity"]  # affected images chose no threshold
    assert found["after"]["nll"] < found["before"]["nll"]
    assert found["after"]["ece"] < found["before"]["ece"]
    assert found["data"] == {"name": "hospital_a", "split": "test", "images": 400, "affected": 200}


def test_the_copy_gives_the_calibrated_probability_and_triage(
    calibrated: tuple[Path, dict[str, Any]], site: Path, meter: Path
) -> None:
    out, found = calibrated
    model = package.load(out, device="cpu")
    rows = table(out.parent / "cal.calibration.csv")
    assert len(rows) == 400
    for row in rows[::23]:
        check = model.check(site / row["image"], methods=[])
        odds = float(row["log_odds"]) / found["temperature"] + logit(0.12) - logit(0.5)
        assert check.probability == pytest.approx(expit(odds), rel=1e-3)
        assert check.probability == pytest.approx(float(row["probability"]), rel=1e-4)
        assert model.triage(check.probability) == row["triage"]
        assert check.triage == row["triage"]
    assert {row["triage"] for row in rows} == {row["held_out_triage"] for row in rows} == {"pass", "review", "retake"}
    retaken = np.mean([row["triage"] == "retake" for row in rows if row["label"] == "normal"])
    assert retaken == pytest.approx(0.1)
    for name, value in load_file(meter).items():
        assert torch.equal(load_file(out)[name], value)


def test_test_and_explain_print_the_same_probability(
    calibrated: tuple[Path, dict[str, Any]], site: Path, meter: Path, tmp_path: Path
) -> None:
    out, found = calibrated
    finished = cxrlens("test", site, "-m", out, "-o", tmp_path / "t", "--workers", 0, "--json")
    assert finished.code == 0
    assert "calibrated for a share of affected images of 12 %" in finished.err
    assert finished.json["threshold"] == found["threshold"]
    assert finished.json["specificity"] == 0.9
    plain = cxrlens("test", site, "-m", meter, "-o", tmp_path / "p", "--workers", 0, "--json")
    assert finished.json["auc"] == plain.json["auc"] == pytest.approx(found["auc"]["value"])
    listed = {row["image"]: row for row in table(out.parent / "cal.calibration.csv")}
    rows = table(tmp_path / "t" / "predictions.csv")
    assert {row["image"]: (row["probability"], row["triage"]) for row in rows} == {
        name: (row["probability"], row["triage"]) for name, row in listed.items()
    }
    assert all((row["decision"] == "affected") == (row["triage"] == "retake") for row in rows)
    assert {row["triage"] for row in table(tmp_path / "p" / "predictions.csv")} == {""}
    image = site / rows[0]["image"]
    method = ("--method", "gradient", "--workers", 0)
    assert cxrlens("explain", image, "-m", out, "-o", tmp_path / "e", *method).code == 0
    (explained,) = table(tmp_path / "e" / "explanations.csv")
    assert float(explained["probability"]) == pytest.approx(float(rows[0]["probability"]), rel=1e-4)
    assert explained["triage"] == rows[0]["triage"]


@pytest.mark.parametrize("is_calibrated", [True, False])
def test_what_a_screening_does_not_judge_is_told_and_scored_all_the_same(
    calibrated: tuple[Path, dict[str, Any]], meter: Path, tmp_path: Path, is_calibrated: bool
) -> None:
    """One grey by the reader, a slope by its distance from the site's grain, which the model as it was cannot tell."""
    model = calibrated[0] if is_calibrated else meter
    write_images(tmp_path / "site" / "test", np.array([0, 0, 0, 1]), np.array([-7.0, -6.0, -5.0, 8.0]))
    grey = np.full((SIZE, SIZE), 30_000, dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "site" / "test" / "normal" / "0000.png")
    slope = np.tile(np.linspace(10_000, 50_000, SIZE).astype(np.uint16), (SIZE, 1))
    Image.fromarray(slope).save(tmp_path / "site" / "test" / "normal" / "0001.png")
    finished = cxrlens("test", tmp_path / "site", "-m", model, "-o", tmp_path / "t", "--workers", 0)
    assert finished.code == 0
    rows = {Path(row["image"]).stem: row for row in table(tmp_path / "t" / "predictions.csv")}
    away = ["not_assessable", "not_assessable", "pass", "retake"] if is_calibrated else ["not_assessable", "", "", ""]
    assert [rows[f"{number:04d}"]["triage"] for number in range(4)] == away
    assert "All its pixels have the same value" in rows["0000"]["remarks"]
    assert ("laid out otherwise" in rows["0001"]["remarks"]) == is_calibrated
    assert [row["doubts"] for row in rows.values()] == [""] * 4
    count = away.count("not_assessable")
    assert f"not assessable when they are screened: {count} of 4" in " ".join(finished.err.split())
    scores = json.loads((tmp_path / "t" / "scores.json").read_text())
    assert (scores["not_assessable"], scores["n"]) == (count, 4)


def test_calibrating_again_starts_from_the_network(
    calibrated: tuple[Path, dict[str, Any]], site: Path, meter: Path, tmp_path: Path
) -> None:
    out, found = calibrated
    given = ("--prevalence", "12%", "--specificity", "0.9", "--workers", 0, "--json")
    again = cxrlens("calibrate", site, "-m", out, "-o", tmp_path / "again.safetensors", *given)
    for name in ("temperature", "threshold", "review_threshold", "expected", "source_sha256"):
        assert again.json[name] == found[name], name


def test_the_training_share_is_where_the_shift_starts(site: Path, familiar: Path, tmp_path: Path) -> None:
    """Trained on 40 % affected images: the network's log-odds are taken to assume that."""
    model = write_meter(tmp_path / "m.safetensors", training=TRAINED, distance=load_model(familiar)[1].distance)
    given = ("--prevalence", 0.12, "--workers", 0, "--json")
    found = cxrlens("calibrate", site, "-m", model, "-o", tmp_path / "c.safetensors", *given).json
    assert found["source_share"] == pytest.approx(0.4)
    assert not any("does not say" in remark for remark in found["remarks"])
    row = table(tmp_path / "c.calibration.csv")[7]
    odds = float(row["log_odds"]) / found["temperature"] + logit(0.12) - logit(0.4)
    assert float(row["probability"]) == pytest.approx(expit(odds), rel=1e-4)
    balanced = {**TRAINED, "recipe": {"class_weights": "balanced"}}
    shares = [
        trained_share(ModelCard(architecture="meter", preprocessing=PREPROCESSING, training=training))
        for training in (balanced, TRAINED, {}, {**TRAINED, "images": {"train": {"normal": 3}}})
    ]
    assert shares == [0.5, 0.4, None, None]


def test_a_retake_budget_without_review(site: Path, familiar: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.safetensors"
    given = ("--max-retake-rate", "3%", "--prevalence", "0.12", "--review", "none", "--workers", 0)
    finished = cxrlens("calibrate", site, "-m", familiar, "-o", out, *given)
    assert finished.code == 0
    text = "".join(finished.out.split())
    for said in ("retake rate of at most 0.03", "Review: not asked for", "finds at most 25 % of the affected images"):
        assert "".join(said.split()) in text
    _, card = load_model(out)
    assert card.calibration is not None
    assert card.calibration.apparent["retakes"].value <= 30
    assert card.calibration.apparent["reviews"].value == 0
    assert card.calibration.review_threshold == card.threshold
    assert card.calibration.review_target is None


def test_the_page_says_what_the_record_says(calibrated: tuple[Path, dict[str, Any]]) -> None:
    out, found = calibrated
    page = (out.parent / "cal.calibration.md").read_text()
    for heading in SCORES.values():
        assert heading in page
    expected = found["expected"]["ppv"]
    assert f"| {expected['value']:.3f} | {expected['low']:.3f} to {expected['high']:.3f} |" in page
    assert "at a prevalence of 12 %" in page
    assert "not a medical device" in page
    for picture in ("cal.reliability.png", "cal.operating-point.png"):
        assert f"(<{picture}>)" in page
    assert all(remark in page for remark in found["remarks"])


def test_few_images_are_told_what_they_cannot_establish(meter: Path, tmp_path: Path) -> None:
    labels = np.repeat([0, 1], 55)
    write_images(tmp_path / "site" / "dev", labels, np.linspace(-9, 9, 110) + 0.01 * labels)
    given = ("--specificity", 0.99, "--workers", 0, "--json")
    found = cxrlens("calibrate", tmp_path / "site", "-m", meter, "-o", tmp_path / "c.safetensors", *given).json
    together = "\n".join(found["remarks"])
    assert "55 normal images cannot establish a specificity of at least 0.99" in together
    assert "might still be 0.947 (95 %); it takes 299 without a mistake" in together
    assert "No prevalence was given" in together
    assert "best epoch was chosen on these images of 'dev'" in together
    assert "takes the right side for every image" in together  # separated at 0
    shown = json.dumps(found)
    assert f'"specificity": {{"value": 1.0, "low": {0.025 ** (1 / 55):.9f}'[:-2] in shown  # Clopper-Pearson, by hand


def test_an_unreadable_image_is_left_out_and_listed(
    simulated: tuple[np.ndarray, np.ndarray], familiar: Path, tmp_path: Path
) -> None:
    labels, raw = simulated
    write_images(tmp_path / "site" / "test", labels[150:250], raw[150:250])
    (tmp_path / "site" / "test" / "normal" / "0000.png").write_bytes(b"no picture")
    (tmp_path / "unreadable.txt").write_text("another command's")
    out = tmp_path / "c.safetensors"
    finished = cxrlens("calibrate", tmp_path / "site", "-m", familiar, "-o", out, "--workers", 0, "--json")
    assert finished.code == 3
    assert finished.json["data"]["images"] == 99
    assert "0000.png" in finished.json["unreadable"][0]
    assert "0000.png" in (tmp_path / "c.unreadable.txt").read_text()
    assert (tmp_path / "unreadable.txt").read_text() == "another command's"


def test_what_cannot_be_calibrated_is_refused(site: Path, meter: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "out" / "c.safetensors", "--workers", 0)
    one = tmp_path / "one"
    write_images(one / "test", np.array([0, 0, 0, 1]), np.array([-1.0, 0.0, 1.0, 2.0]))
    refused(cxrlens("calibrate", one, "-m", meter, *out), 2, one, "3 normal and 1 affected", "at least two of each")
    none = tmp_path / "none"
    write_images(none / "test", np.zeros(3), np.arange(3.0))
    (none / "test.csv").write_text("image_name,annotation\n" + "".join(f"{n:04d}.png,\n" for n in range(3)))
    for picture in (none / "test" / "normal").iterdir():
        picture.rename(none / "test" / picture.name)
    (none / "test" / "normal").rmdir()
    refused(cxrlens("calibrate", none, "-m", meter, *out), 2, none, "3 normal and 0 affected")
    inverted = write_meter(tmp_path / "inverted.safetensors", sign=-1)
    refused(cxrlens("calibrate", site, "-m", inverted, *out), 2, site, "does not rank", "AUC 0.1", "check the labels")
    tied = tmp_path / "tied"  # the highest and the lowest images of both classes are alike
    write_images(tied / "test", np.repeat([0, 1], 4), np.array([0.0, 1.0, 1.0, 3.0, 0.0, 2.0, 2.0, 3.0]))
    refused(cxrlens("calibrate", tied, "-m", meter, *out), 2, tied, "retakes nothing", "specificity of at least 0.95")
    finished = cxrlens("calibrate", tied, "-m", meter, *out, "--sensitivity", "0.9")
    refused(finished, 2, tied, "retakes every image", "sensitivity of at least 0.9")
    assert not (tmp_path / "out").exists()


def test_the_model_and_other_files_are_never_overwritten(site: Path, familiar: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "best.safetensors").write_bytes(familiar.read_bytes())
    (run / "model.safetensors").symlink_to("best.safetensors")
    for out in (run / "best.safetensors", run / "model.safetensors"):
        finished = cxrlens("calibrate", site, "-m", run, "-o", out, "--force")
        refused(finished, 2, out, "is the model itself", "never changed")
    other = tmp_path / "other.safetensors"
    other.write_text("mine")
    refused(cxrlens("calibrate", site, "-m", run, "-o", other), 2, other, "already exists", "--force")
    assert other.read_text() == "mine"
    assert (run / "best.safetensors").read_bytes() == familiar.read_bytes()
    finished = cxrlens("calibrate", site, "-m", run, "-o", tmp_path / "folder")
    refused(finished, 2, "ends in .safetensors")
    finished = cxrlens("calibrate", site, "-m", run, "-o", other, "--force", "--workers", 0)
    refused(finished, 2, other, "was not written by cxrlens")
    assert other.read_text() == "mine"
    other.unlink()
    beside = tmp_path / "other.calibration.csv"
    beside.write_text("mine")
    for more, said in (((), "already exists"), (("--force",), "was not written by cxrlens")):
        refused(cxrlens("calibrate", site, "-m", run, "-o", other, *more, "--workers", 0), 2, beside, said)
    assert (beside.read_text(), other.exists()) == ("mine", False)
    beside.unlink()
    for more in ((), ("--force",)):
        assert cxrlens("calibrate", site, "-m", run, "-o", other, *more, "--workers", 0).code == 0
        assert load_model(other)[1].calibration is not None


@pytest.mark.parametrize("more", [(), ("--force",)])
def test_a_second_writer_is_refused(site: Path, familiar: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    """Two at once would mix their files: the tables of the one beside the model of the other."""
    out = tmp_path / "cal.safetensors"
    given = ("-m", familiar, "-o", out, "--workers", 0, *more)
    second: list[Finished] = []

    def predict_beside_another(*arguments: Any, **named: Any) -> Any:
        second.append(cxrlens("calibrate", site, *given))
        return predict(*arguments, **named)

    with mock.patch("cxrlens.calibration.run.predict", side_effect=predict_beside_another):
        assert cxrlens("calibrate", site, *given).code == 0
    (other,) = second
    refused(other, 2, tmp_path, "another process is writing into this folder; wait for it, or give another")
    assert load_model(out)[1].calibration is not None


def test_who_waited_finds_what_the_first_has_written(site: Path, meter: Path, tmp_path: Path) -> None:
    """The file that was not there when it was looked for, and is when the lock is had, is not replaced unasked."""
    out = tmp_path / "cal.safetensors"

    @contextmanager
    def written_meanwhile(*_: object, **__: object) -> Iterator[None]:
        out.write_bytes(meter.read_bytes())
        yield

    with mock.patch("cxrlens.calibration.run.claimed", written_meanwhile):
        refused(cxrlens("calibrate", site, "-m", meter, "-o", out, "--workers", 0), 2, out, "already exists")
    assert out.read_bytes() == meter.read_bytes()


def test_a_prepared_set_whose_images_lie_elsewhere(site: Path, familiar: Path, tmp_path: Path) -> None:
    """`data prepare` of a CSV leaves the images where they are; they are named as the manifest names them."""
    listed = tmp_path / "labels.csv"
    rows = [(path, path.parent.name) for path in sorted((site / "test").glob("*/*.png"))]
    listed.write_text("path,label\n" + "".join(f"{path},{label}\n" for path, label in rows))
    prepared = cxrlens(
        "data", "prepare", listed, tmp_path / "set", "--test-share", "0.8", "--dev-share", "0", "--workers", 0
    )
    assert prepared.code == 0, prepared.err
    out = tmp_path / "cal.safetensors"
    finished = cxrlens("calibrate", tmp_path / "set", "-m", familiar, "-o", out, "--split", "test", "--workers", 0)
    assert finished.code == 0, finished.err
    written = {row["image"]: row["label"] for row in table(tmp_path / "cal.calibration.csv")}
    manifest = {row["name"]: row["label"] for row in table(tmp_path / "set" / "manifest.csv") if row["split"] == "test"}
    assert written == manifest
    assert len(written) > 300


@pytest.mark.parametrize("place", ["save_model", "write_json", "write_csv", "save_figure", "write_text"])
def test_what_fails_while_it_writes_leaves_nothing_new(
    calibrated: tuple[Path, dict[str, Any]],
    site: Path,
    familiar: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    folder = Path(shutil.copytree(calibrated[0].parent, tmp_path / "calibrated"))
    out = folder / calibrated[0].name
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(out))

    monkeypatch.setattr(f"cxrlens.calibration.run.{place}", full)
    given = ("-m", familiar, "-o", out, "--force", "--specificity", "0.8", "--workers", 0)
    refused(cxrlens("calibrate", site, *given), 1, out, "No space left on device")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--specificity", "1"), "--specificity takes a share between 0 and 1"),
        (("--sensitivity", "-0.2"), "--sensitivity takes a share between 0 and 1"),
        (("--max-retake-rate", "3 percent"), "--max-retake-rate takes a share such as 0.12 or 12%, not '3 percent'"),
        (("--prevalence", "0%"), "--prevalence takes a share between 0 and 1"),
        (("--prevalence", "nan"), "--prevalence takes a share between 0 and 1"),
        (("--review", "0.9"), "--review takes sensitivity=0.95, npv=0.99 or none, not '0.9'"),
        (("--review", "npv=2"), "--review takes a share between 0 and 1"),
        (("--specificity", "0.9", "--sensitivity", "0.9"), "give one of them"),
    ],
)
def test_options_that_make_no_sense(site: Path, meter: Path, tmp_path: Path, given: tuple[str, ...], told: str) -> None:
    refused(cxrlens("calibrate", site, "-m", meter, "-o", tmp_path / "c.safetensors", *given), 2, told)
    assert list(tmp_path.iterdir()) == []


def test_phantoms_from_end_to_end(phantoms: Path, model: Path, tmp_path: Path) -> None:
    """An untrained network, turned so that it ranks the images: all steps on real layouts, networks and maps."""
    network, card = load_model(model)
    scores = cxrlens("test", phantoms, "-m", model, "-o", tmp_path / "t", "--split", "train", "--json").json
    if scores["auc"] < 0.5:
        head = network.get_submodule("fc")
        for parameter in head.parameters():
            parameter.data = parameter.data.flip(0)
    save_model(tmp_path / "m.safetensors", network, card)
    out = tmp_path / "c.safetensors"
    given = ("--split", "train", "--sensitivity", "0.7", "--workers", 0)
    finished = cxrlens("calibrate", phantoms, "-m", tmp_path / "m.safetensors", "-o", out, *given)
    assert finished.code == 0, finished.err
    assert "the network was trained on these images of 'train'" in finished.out
    image = min((phantoms / "dev" / "affected").iterdir())
    check = package.load(out, device="cpu").check(image)
    plain = package.load(model, device="cpu").check(image)
    assert check.triage in ("pass", "review", "retake")
    assert (check.triage == "retake") == (check.decision == "affected")
    if scores["auc"] >= 0.5:
        np.testing.assert_allclose(check.maps["normgrad_conv1x1"], plain.maps["normgrad_conv1x1"], atol=1e-4)


# -- card -------------------------------------------------------------------------------------------------------------


def test_a_card_of_a_calibrated_model(calibrated: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, found = calibrated
    file = tmp_path / "card.md"
    finished = cxrlens("card", "-m", out, "-o", file, "--json", "--data-licence", "CC0-1.0")
    assert finished.code == 0
    values, page = finished.json, file.read_text()
    assert values["card"]["calibration"]["temperature"] == found["temperature"]
    assert values["data"]["licence"] == "CC0-1.0"
    assert values["randomisation"] == "not done"
    assert values["files"] == [str(file)]
    for part in (
        *("# Model card: meter, cal.safetensors", "**CC0-1.0**", "Not recorded.", "## Limits", "Not a medical device"),
        *("Retake: calibrated probability", "Expected at a prevalence of 12 %", "Not done: no study"),
    ):
        assert part in page
    assert "Not calibrated" not in page
    assert page.count("\n## ") == 8
    refused(cxrlens("card", "-m", out, "-o", file), 2, file, "already exists", "--force")


def test_a_card_of_an_uncalibrated_model_with_scores(tmp_path: Path) -> None:
    scores = {"dev_loss": 0.4, "dev_auc": 0.9, "dev_accuracy": 0.83, "dev_sensitivity": 0.84, "dev_specificity": 0.82}
    model = write_meter(tmp_path / "m.safetensors", training=TRAINED, dev_scores=scores)
    page = cxrlens("card", "-m", model).out
    values = cxrlens("card", "-m", model, "--json").json
    assert "/secret" not in page
    assert "/secret" not in json.dumps(values)
    assert "Training data: object-CXR (digest abc123)" in page
    assert "**not known**: the folder is called object-CXR, but does not hold the numbers of images" in page
    assert "Not done (`cxrlens calibrate`)" in page
    assert '- name: "paper"' in page
    found = {score["name"]: score for score in values["dev_scores"]}
    assert found["loss"]["interval"] == {"low": None, "high": None}
    # Clopper and Pearson's interval of 83 of 100, and Hanley and McNeil's standard error for 50 and 50 images
    z = 1.959964
    ends = found["accuracy"]["interval"]
    assert binom.sf(82, 100, ends["low"]) == pytest.approx(0.025)
    assert binom.cdf(83, 100, ends["high"]) == pytest.approx(0.025)
    q1, q2 = 0.9 / 1.1, 2 * 0.81 / 1.9
    error = math.sqrt((0.09 + 49 * (q1 - 0.81) + 49 * (q2 - 0.81)) / 2500)
    assert found["auc"]["interval"] == pytest.approx({"low": 0.9 - z * error, "high": 0.9 + z * error}, rel=1e-5)
    assert (found["sensitivity"]["n"], found["accuracy"]["n"]) == (50, 100)


def test_object_cxr_is_known_by_its_numbers_of_images(tmp_path: Path) -> None:
    images = {"train": {"normal": 3999, "affected": 4000}, "dev": {"normal": 500, "affected": 500}}
    model = write_meter(tmp_path / "m.safetensors", training={**TRAINED, "images": images})
    page = cxrlens("card", "-m", model).out
    assert "Licence of the data: **CC-BY-NC-4.0** (Object-CXR, recognised by its numbers of images" in page
    assert (
        "In Object-CXR, support devices (tubes, lines, pacemakers) are not annotated, nor are objects outside" in page
    )
    other = {**images, "dev": {"normal": 500, "affected": 400}}
    model = write_meter(tmp_path / "o.safetensors", training={**TRAINED, "images": other})
    assert "not known" in cxrlens("card", "-m", model).out


def test_cards_that_cannot_be_made(meter: Path, tmp_path: Path) -> None:
    refused(cxrlens("card", "-m", tmp_path / "no.safetensors"), 2, "no such model file")
    refused(cxrlens("card", "-m", meter, "--study", tmp_path), 2, tmp_path, "no finished study")


def test_a_card_of_which_parts_are_unknown(calibrated: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """A model file from elsewhere need not hold all scores, nor numbers of images that are numbers."""
    network, card = load_model(calibrated[0])
    assert card.calibration is not None
    some = {name: value for name, value in card.calibration.expected.items() if name != "sensitivity"}
    training = {**card.training, "images": {"train": {"normal": "many"}, "dev": [1, 2]}}
    calibration = card.calibration.model_copy(update={"expected": some, "apparent": {}})
    odd = tmp_path / "odd.safetensors"
    save_model(odd, network, card.model_copy(update={"calibration": calibration, "training": training}))
    finished = cxrlens("card", "-m", odd)
    assert finished.code == 0, finished.err
    row = next(line for line in finished.out.splitlines() if SCORES["sensitivity"] in line)
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["n/a"] * 3
    assert cxrlens("card", "-m", odd, "--json").code == 0


def test_a_card_replaces_cards_alone(calibrated: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    file = tmp_path / "card.md"
    assert cxrlens("card", "-m", calibrated[0], "-o", file).code == 0
    assert cxrlens("card", "-m", calibrated[0], "-o", file, "--force").code == 0
    file.write_text("# My notes\n")
    refused(cxrlens("card", "-m", calibrated[0], "-o", file, "--force"), 2, file, "was not written by cxrlens")
    assert file.read_text() == "# My notes\n"
