"""The end of a training: its curves and page, the loggers' files, and what replaces them."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from sklearn.metrics import roc_auc_score
from test_training_run import run

from browsing import Page
from cxrlens.cli.training_progress import Steps
from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.evaluation.dev_scores import scored
from cxrlens.models.model_file import load_model
from cxrlens.training import fitting, loggers
from cxrlens.training.curves import curves_figure
from cxrlens.training.fitting import TrainingResult
from cxrlens.training.lightning_module import QualityClassifier
from cxrlens.training.recipe import resolve_recipe
from few_figures import few_figures_drawn

pytestmark = pytest.mark.usefixtures("small")


class Seen(Callback):
    """Keeps what the network said of each training image, and how far the steps were told to be."""

    def __init__(self) -> None:
        self.epochs: list[list[tuple[float, int]]] = []
        self.told: list[tuple[int, int, str]] = []
        self.steps = Steps(lambda *far: self.told.append(far))

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.epochs.append([])

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, i: int) -> None:
        logits, labels = pl_module._train[-1]
        self.epochs[-1] += zip((logits[:, 1] - logits[:, 0]).tolist(), labels.tolist(), strict=True)
        self.steps.on_train_batch_end(trainer, pl_module, outputs, batch, i)


@pytest.fixture(scope="module")
def trained(small: None, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingResult, Seen]:
    seen = Seen()
    folder = tmp_path_factory.mktemp("trained")
    return run(phantoms, folder / "a run", callbacks=[seen], loggers=["csv", "tensorboard"]), seen


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open()))


def test_the_training_auc_is_that_of_the_images_as_they_were_learnt(trained: tuple[TrainingResult, Seen]) -> None:
    result, seen = trained
    rows = table(result.run_dir / "metrics.csv")
    for row, epoch in zip(rows, seen.epochs, strict=True):
        odds, labels = zip(*epoch, strict=True)
        assert len(odds) == 12
        assert float(row["train_auc"]) == pytest.approx(roc_auc_score(labels, odds), abs=1e-5)


def test_the_learning_rate_of_an_epoch_is_its_highest(trained: tuple[TrainingResult, Seen]) -> None:
    """Of one cycle, the last step of the last epoch learns next to nothing."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)
    highest = resolve_recipe("small", {}).learning_rate
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, highest, total_steps=6)
    rates = []
    for _ in range(6):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step() if len(rates) < 6 else None
    expected = [max(rates[:3]), max(rates[3:])]
    assert expected[1] > 100 * rates[-1]
    rows = table(trained[0].run_dir / "metrics.csv")
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx(expected, rel=1e-5)


def test_an_epoch_of_one_class_has_no_training_auc() -> None:
    recipe = resolve_recipe("small", {})
    module = QualityClassifier(torch.nn.Identity(), recipe, recipe.preprocessing())
    assert module._train_auc().isnan()
    module._train = [(torch.zeros(3, 2), torch.ones(3, dtype=torch.long))]
    assert module._train_auc().isnan()
    assert module._train == []


def test_steps_are_told_over_all_epochs(trained: tuple[TrainingResult, Seen]) -> None:
    _, seen = trained
    assert seen.told == [(n, 6, f"epoch {1 + (n > 3)} of 2") for n in range(1, 7)]


def test_the_page_tells_what_was_trained_and_how_good_it_is(trained: tuple[TrainingResult, Seen]) -> None:
    result, _ = trained
    assert result.page == result.run_dir / "report.html"
    page = Page(result.page.read_text("utf-8"))
    text = " ".join(page.text.split())
    card = load_model(result.model)[1]
    assert f"Epoch {result.best_epoch + 1} of 2 was kept" in text
    auc = next(s for s in scored(card.dev_scores, {"normal": 3, "affected": 3}) if s.name == "auc")
    assert f"{auc.value:.3f} ({auc.interval.low:.3f} to {auc.interval.high:.3f})" in text
    assert "resnet18, 48 x 48 px" in text
    assert "6 normal, 6 affected" in text
    assert "Precision" in text
    assert "chosen by these images" in text
    assert str(result.distance) in text
    model = f"'{result.run_dir / 'model.safetensors'}'"  # quoted, as its folder has a blank
    for command in ("test DATA", "calibrate DATA", "screen FOLDER"):
        assert f"cxrlens {command} --model {model}" in text
    for row in table(result.run_dir / "metrics.csv"):
        assert f"{float(row['dev_loss']):.4f}" in text
    assert len(page.named("img")) == 1
    assert str(page.named("img")[0]["src"]).startswith("data:image/svg+xml")
    assert (result.run_dir / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_curves_draw_every_epoch_and_leave_out_what_is_no_number() -> None:
    history = [
        {"epoch": 0, "train_loss": 0.9, "dev_loss": 0.8, "dev_auc": 0.5},
        {"epoch": 1, "train_loss": 0.7, "dev_loss": 0.6, "dev_auc": 0.75, "train_auc": float("nan")},
        {"epoch": 2, "train_loss": 0.6, "dev_loss": 0.65, "dev_auc": 0.7, "train_auc": 0.9},
    ]
    loss, auc = curves_figure(history, 1, title="resnet18").axes
    drawn = [[[*map(float, part)] for part in line.get_data()] for line in loss.lines]
    assert drawn[0] == [[1, 2, 3], [0.9, 0.7, 0.6]]
    assert drawn[1] == [[1, 2, 3], [0.8, 0.6, 0.65]]
    assert drawn[2][0] == [2, 2]  # the epoch that was kept
    assert [[*map(float, part)] for part in auc.lines[0].get_data()] == [[3], [0.9]]
    assert [[*map(float, part)] for part in auc.lines[1].get_data()] == [[1, 2, 3], [0.5, 0.75, 0.7]]


@pytest.mark.parametrize("epochs", [1, 2, 9, 40])
def test_epochs_are_whole(epochs: int) -> None:
    history = [{"epoch": epoch, "train_loss": 0.9, "dev_loss": 0.8} for epoch in range(epochs)]
    for axes in curves_figure(history, 0, title="resnet18").axes:
        low, high = axes.get_xlim()
        assert low < 1
        assert high > epochs
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert ticks
        assert all(tick == int(tick) for tick in ticks)


def test_loggers_get_the_same_scores(trained: tuple[TrainingResult, Seen]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_dir = trained[0].run_dir
    own = table(run_dir / "metrics.csv")
    logged = table(run_dir / "logs/csv/version_0/metrics.csv")
    for score in ("train_loss", "dev_loss", "dev_auc"):
        values = [float(row[score]) for row in own]
        assert [float(row[score]) for row in logged if row[score]] == pytest.approx(values, rel=1e-5)
        events = EventAccumulator(str(run_dir / "logs/tensorboard/version_0"))
        events.Reload()
        assert [event.value for event in events.Scalars(score)] == pytest.approx(values, rel=1e-5)
    settings = (run_dir / "logs/csv/version_0/hparams.yaml").read_text()
    assert re.search("^architecture: resnet18$", settings, re.MULTILINE)
    assert "augmentation.brightness: 0.2" in settings


def test_a_run_with_logs_is_replaced_but_not_what_somebody_put_there(phantoms: Path, tmp_path: Path) -> None:
    with few_figures_drawn():
        first = run(phantoms, tmp_path / "r", loggers=["csv", "tensorboard"])
        mine = first.run_dir / "logs" / "csv" / "notes.txt"
        mine.write_text("mine")
        with pytest.raises(UsageError, match=r"notes\.txt: was not written by cxrlens"):
            run(phantoms, first.run_dir, force=True)
        assert (first.run_dir / "logs/csv/version_0/metrics.csv").is_file()
        mine.unlink()
        second = run(phantoms, first.run_dir, force=True)
    assert not (second.run_dir / "logs").exists()
    assert second.page.is_file()


def test_files_of_mlflow_and_wandb_are_known_as_theirs() -> None:
    ours = [
        "logs/mlflow/mlflow.db",
        "logs/mlflow/mlflow.db-wal",
        "logs/wandb/offline-run-20261130_070000-abc123/run-abc123.wandb",
        "logs/wandb/offline-run-20261130_070000-abc123/files/config.yaml",
        "logs/wandb/offline-run-20261130_070000-abc123/logs/debug-internal.log",
        "logs/wandb/latest-run",
        "logs/wandb/debug.log",
    ]
    others = [
        "logs/notes.txt",
        "logs/mlflow/notes.txt",
        "logs/wandb/notes.txt",
        "wandb/debug.log",
        "logs/mlflow/mine.db",
    ]
    known = [name for name in (*ours, *others) if any(re.fullmatch(pattern, name) for pattern in loggers.OWN_FILES)]
    assert known == ours


def test_a_logger_that_cannot_be_imported_is_one_sentence(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'xxhash'")

    monkeypatch.setattr(loggers, "find_spec", lambda module: object())
    monkeypatch.setattr(loggers, "WandbLogger", broken)
    with pytest.raises(UsageError, match=r"`logger=wandb` cannot be used \(No module named 'xxhash'\): pip install"):
        run(phantoms, tmp_path / "r", loggers=["wandb"])


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_logger_that_is_not_installed_is_refused_before_a_run_is_replaced(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    kept = tmp_path / "r" / "config.yaml"
    kept.parent.mkdir()
    kept.write_text("architecture: a\ndata: b\nrecipe: c\n")
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(loggers, "find_spec", lambda module: None if module == name else object())
    with pytest.raises(UsageError, match=rf"`logger={name}` needs {name}: pip install {name}"):
        run(phantoms, tmp_path / "r", force=True, loggers=[name])
    assert kept.read_text().startswith("architecture: a")
    with pytest.raises(UsageError, match="unknown `logger=paper`: use csv, tensorboard"):
        loggers.check_loggers(["paper"])


def test_a_run_that_was_killed_before_its_page_gets_it_when_it_is_resumed(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with few_figures_drawn():
        with monkeypatch.context() as patch:
            patch.setattr(fitting, "write_training_page", killed)
            with pytest.raises(RuntimeError, match="killed"):
                run(phantoms, tmp_path / "r")
        assert not (tmp_path / "r" / "model.safetensors").exists()
        resumed = run(phantoms, tmp_path / "r", architecture=None, recipe=None, overrides={}, resume=True)
    assert resumed.page.is_file()
    assert "minutes on cpu" not in resumed.page.read_text("utf-8")  # a part of the time is not known
    with pytest.raises(NothingToDoError):
        run(phantoms, tmp_path / "r", architecture=None, recipe=None, overrides={}, resume=True)


def test_scores_that_are_not_known_have_no_line() -> None:
    found = scored({"dev_auc": None, "dev_accuracy": 0.75, "dev_loss": 0.3}, {"normal": 4, "affected": 4})
    assert [(score.name, score.n) for score in found] == [("accuracy", 8), ("loss", 8)]
    assert found[0].interval.low < 0.75 < found[0].interval.high
    assert np.isnan(found[1].interval.low)
