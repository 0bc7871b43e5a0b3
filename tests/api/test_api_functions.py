"""Each function of the Python API from end to end on tiny data, with paths as text."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import cxrlens
from cxrlens import api
from cxrlens.errors import UsageError

FAST = {"device": "cpu", "workers": 0}


@pytest.fixture(scope="module")
def model(trained: api.TrainingResult) -> str:
    return str(trained.model)


@pytest.fixture(scope="module")
def calibrated(data: Path, model: str, tmp_path_factory: pytest.TempPathFactory) -> api.CalibrateResult:
    out = tmp_path_factory.mktemp("calibrated") / "site.safetensors"
    return cxrlens.calibrate(data, model, out, sensitivity="75%", prevalence=0.25, split="train", **FAST)


@pytest.fixture(scope="module")
def screened(data: Path, calibrated: api.CalibrateResult, tmp_path_factory: pytest.TempPathFactory) -> api.ScreenResult:
    out = tmp_path_factory.mktemp("screened") / "out"
    return cxrlens.screen(str(data / "dev"), calibrated.files[0], str(out), maps="all", needs_triage=True, **FAST)


def test_train(trained: api.TrainingResult, data: Path) -> None:
    assert trained.model.is_file()
    assert trained.counts["train"] == {"normal": 16, "affected": 16}
    config = (trained.run_dir / "config.yaml").read_text(encoding="utf-8")
    assert "brightness: 0.1" in config
    with pytest.raises(UsageError, match="`force`"):
        api.train(data, run_dir=trained.run_dir, arch="resnet18", recipe="small", device="cpu")


def test_test(data: Path, model: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = cxrlens.test(
        str(data),
        model,
        tmp_path / "out",
        batch_size=8,
        progress=lambda done, total: seen.append((done, total)),
        **FAST,
    )
    assert result.split == "dev"
    assert result.scores.n == len(result.per_image) == 16
    assert seen[-1] == (16, 16)
    assert all(file.is_file() for file in result.files)
    loaded = cxrlens.load(model, device="cpu")
    again = cxrlens.test(data, loaded, str(tmp_path / "again"), batch_size=8, **FAST)
    assert again.scores == result.scores
    with pytest.raises(UsageError, match="`force`"):
        cxrlens.test(data, loaded, tmp_path / "out", **FAST)


def test_calibrate(calibrated: api.CalibrateResult, model: str) -> None:
    assert calibrated.calibration.prevalence == 0.25
    assert calibrated.calibration.retake_target == "sensitivity of at least 0.75"
    assert calibrated.calibration.review_target == "sensitivity of at least 0.875"
    assert cxrlens.load(calibrated.files[0], device="cpu").card.calibration is not None
    assert cxrlens.load(model, device="cpu").card.calibration is None


def test_screen(screened: api.ScreenResult, data: Path, calibrated: api.CalibrateResult) -> None:
    assert screened.counts["images"] == screened.computed == 16
    assert {"worklist", "page", "results"} <= screened.files().keys()
    again = cxrlens.screen(data / "dev", calibrated.files[0], screened.folder.path, maps="all", **FAST)
    assert (again.counts, again.computed) == (screened.counts, 0)


def test_screen_takes_several_files(data: Path, model: str, tmp_path: Path) -> None:
    files = sorted((data / "dev").rglob("*.jpg"))[:3]
    result = cxrlens.screen([files[0], str(files[1]), files[2]], model, tmp_path / "out", maps="none", **FAST)
    assert result.counts["images"] == 3


def test_analyse(screened: api.ScreenResult, tmp_path: Path) -> None:
    result = cxrlens.analyse(str(screened.folder.path), tmp_path / "analysis", period="month")
    assert result.models[0].rates.images == 16
    assert result.files[0].is_file()
    with pytest.raises(UsageError, match="`until=2026-01-01` lies before `since=2026-02-01`"):
        cxrlens.analyse(screened.folder.path, tmp_path / "never", since="2026-02-01", until="2026-01-01")


def test_explain_images(data: Path, model: str, tmp_path: Path) -> None:
    image = sorted((data / "dev" / "affected").iterdir())[0]
    result = cxrlens.explain_images(
        str(image), model, tmp_path / "out", methods="grad_cam", layers="last", interpolation="bilinear", **FAST
    )
    (row,) = result.rows
    assert (row["method"], row["layers"], row["interpolation"]) == ("grad_cam", "last", "bilinear")
    assert (tmp_path / "out" / row["overlay"]).is_file()


def test_play_pointing_game_and_compare_rows(data: Path, model: str, tmp_path: Path) -> None:
    loaded = cxrlens.load(model, device="cpu")
    rows = ["grad_cam", "normgrad_conv1x1"]
    game = cxrlens.play_pointing_game(
        data, loaded, tmp_path / "game", methods=rows, layers="last", tolerance=0.1, **FAST
    )
    found = {row["method"]: row for row in game.table}
    assert {"grad_cam", "normgrad_conv1x1", "centre", "random"} <= found.keys()
    assert found["grad_cam"]["n"] == 8
    assert found["grad_cam"]["tolerance"] == pytest.approx(6.4)
    compared = cxrlens.compare(
        "grad_cam last", "normgrad_conv1x1 last", data, tmp_path / "rows", model=loaded, tolerance=0.1, **FAST
    )
    (score,) = compared.scores
    assert (score.a, score.b) == (found["grad_cam"]["accuracy"], found["normgrad_conv1x1"]["accuracy"])


def test_play_on_image(data: Path, model: str, tmp_path: Path) -> None:
    with (data / "dev.csv").open(encoding="utf-8", newline="") as stream:
        row = next(row for row in csv.DictReader(stream) if row["annotation"])
    image = next((data / "dev" / "affected").glob(row["image_name"]))
    given = {"methods": "gradient", "tolerance": 0.1, "device": "cpu"}
    by_text = cxrlens.play_on_image(image, model, tmp_path / "text", annotation=row["annotation"], **given)
    by_table = cxrlens.play_on_image(str(image), model, tmp_path / "table", annotations=data / "dev.csv", **given)
    assert by_text.per_image[0]["distance"] == by_table.per_image[0]["distance"]
    assert by_text.tolerance == pytest.approx(6.4)
    assert by_text.overlay.is_file()
    with pytest.raises(UsageError, match="one of `annotation=TEXT`"):
        cxrlens.play_on_image(image, model, tmp_path / "none")


def test_compare_models(data: Path, model: str, calibrated: api.CalibrateResult, tmp_path: Path) -> None:
    result = cxrlens.compare(model, calibrated.files[0], str(data), tmp_path / "out", layers="last", **FAST)
    scores = {score.score: score for score in result.scores}
    assert scores["auc"].difference == 0
    assert "pointing game, normgrad_conv1x1 last" in scores


def test_export(model: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    result = api.export(model, str(tmp_path / "model.onnx"), layers="last", workers=0)
    assert result.file.is_file()
    assert result.info.methods == ("normgrad_conv1x1",)
    assert result.parity.probability < 1e-5


def test_study(data: Path, model: str, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    few = {"images": 2}
    values = {
        "architectures": ["resnet18"],
        "random": {"seeds": [0], "image_size": 64},
        "rows": ["grad_cam last"],
        "faithfulness": {"images": 2, "steps": 2},
        **dict.fromkeys(("randomisation", "consistency", "perturbation"), few),
        "repeats": 100,
        "batch_size": 8,
    }
    plan.write_text(json.dumps(values), encoding="utf-8")
    given = {"plan": plan, "models": model, "rows": "layer_cam last", "interpolation": "bilinear", **FAST}
    result = api.study(str(data), tmp_path / "study", **given)
    assert result.page.is_file()
    assert result.findings
    assert result.maps["interpolation"] == "bilinear"
    assert "layer_cam last" in (tmp_path / "study" / "study.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda d, m, o: api.test(d, m, o, batch_size=0), "`batch_size` should be at least 1, not 0"),
        (lambda d, m, o: api.test(d, m, o, workers=-1), "`workers` should be at least 0, not -1"),
        (lambda d, m, o: api.test(d / "nobody", m, o), "nobody"),
        (lambda d, m, o: api.test(d, d / "no.safetensors", o, device="cpu"), "no.safetensors"),
        (lambda d, m, o: api.test(d, m, o, device="abacus"), "device 'abacus'"),
        (lambda d, m, o: api.screen(d, m, o, maps="some"), "`maps` should be flagged, all or none, not 'some'"),
        (lambda d, m, o: api.screen(d, m, o, watch=0), "`watch` should be a number of seconds above 0"),
        (lambda d, m, o: api.screen(d, m, o, credentials="c"), "`credentials` and `ca_file` are for"),
        (lambda d, m, o: api.screen(d, m, o, work_folder="w"), "an address as `out` needs a `work_folder`"),
        (lambda d, m, o: api.explain_images(d, m, o, target="true"), "`target` should be affected or predicted"),
        (lambda d, m, o: api.explain_images(d, m, o, methods="grad_cm", device="cpu"), "grad_cam"),
        (lambda d, m, o: api.play_pointing_game(d, m, o, tolerance=2), "`tolerance` should be between 0.0001 and 1"),
        (lambda d, m, o: api.play_pointing_game(d, m, o, grid="cells", device="cpu"), "unknown grid 'cells'"),
        (lambda d, m, o: api.calibrate(d, m, o, specificity=1.5), "`specificity` takes a share between 0 and 1"),
        (lambda d, m, o: api.calibrate(d, m, o, review="most"), "`review` takes sensitivity=0.95"),
        (lambda d, m, o: api.calibrate(d, m, o, specificity=0.9, sensitivity=0.9), "each set the threshold"),
        (lambda d, m, o: api.compare(m, "grad_cam last", d, o, device="cpu"), "no such model"),
        (lambda d, m, o: api.compare("a last", "a  last", d, o, model=m), "are the same row"),
        (lambda d, m, o: api.compare("a", "b", d, o, model=m, methods="x"), "`methods` is for two models"),
        (lambda d, m, o: api.analyse(d, o, period="year"), "`period` should be day, week or month, not 'year'"),
        (lambda d, m, o: api.analyse(d, o, since="yesterday"), "`since` takes a day such as 2026-01-31"),
        (lambda d, m, o: api.study(d, o, engine="cloud"), "`engine` should be local or ray, not 'cloud'"),
        (lambda d, m, o: api.study(d, o, ray_workers=2), "give `engine=ray` with them"),
        (lambda d, m, o: api.study(d, o, plan="slow", device="cpu"), "unknown plan 'slow'"),
        (lambda d, m, o: api.study(d, o, grid="cells", device="cpu"), "grid should be"),
        (lambda d, m, o: api.train(d, run_dir=o, arch="resnet19"), "unknown architecture 'resnet19'"),
        (lambda d, m, o: api.train(d, run_dir=o, settings={"epoch": 3}), "near matches: epochs"),
        (lambda d, m, o: api.train(d, run_dir=o, cache_size="much"), "much"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(
    call: object, sentence: str, data: Path, model: str, tmp_path: Path
) -> None:
    assert callable(call)
    with pytest.raises(UsageError) as refused:
        call(data, model, tmp_path / "out")
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()
