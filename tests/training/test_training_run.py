"""Training runs through the real entry point: resuming, weights of the classes, what is saved."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from cxrlens.cli.training_progress import StderrProgressBar
from cxrlens.dataset.phantom.dataset import write_phantom_dataset
from cxrlens.errors import NothingToDoError, UsageError
from cxrlens.inputs.cache.store import ArrayStore
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import read
from cxrlens.inspection.quality_model import load
from cxrlens.models.architecture import Normalisation
from cxrlens.models.model_file import load_model
from cxrlens.models.pretrained import pretrained_normalisation
from cxrlens.models.registry import find_architecture
from cxrlens.testing.run import score_model
from cxrlens.training.data_module import QualityData
from cxrlens.training.fitting import Hardware, TrainingResult, training_precision
from cxrlens.training.lightning_module import QualityClassifier, balanced_weights, dev_scores
from cxrlens.training.recipe import resolve_recipe
from cxrlens.training.run import train_model
from few_figures import few_figures_drawn

CPU = torch.device("cpu")
SMALL = {"image_size": 48, "epochs": 2, "batch_size": 4, "precision": "32-true"}  # "auto" asks the processor

pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture(autouse=True)
def _few_figures_are_drawn() -> Iterator[None]:
    with few_figures_drawn():
        yield


def run(data: Path, run_dir: Path, **options: Any) -> TrainingResult:
    given = {"architecture": "resnet18", "recipe": "small", "overrides": SMALL, "hardware": Hardware(CPU)} | options
    result = train_model(Dataset(data), run_dir, **given)
    assert result is not None
    return result


class Kill(Callback):
    """Stops the process's run in the middle of an epoch, as a kill would."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.current_epoch == self.epoch:
            raise RuntimeError("killed")


@pytest.mark.parametrize("architecture", ["resnet18", "efficientnet_b0"])
def test_a_killed_run_goes_on_to_the_same_weights_as_an_uninterrupted_one(
    phantoms: Path, tmp_path: Path, architecture: str
) -> None:
    whole = run(phantoms, tmp_path / "whole", architecture=architecture)
    with pytest.raises(RuntimeError, match="killed"):
        run(phantoms, tmp_path / "cut", architecture=architecture, callbacks=[Kill(epoch=1)])
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    assert ArrayStore.default().clear().entries > 0  # what is decoded anew is the same
    resumed = run(phantoms, tmp_path / "cut", architecture=None, recipe=None, overrides={}, resume=True)
    assert resumed.dev_scores == whole.dev_scores
    assert (tmp_path / "cut/metrics.csv").read_text() == (tmp_path / "whole/metrics.csv").read_text()
    expected, got = load_model(whole.model)[0].state_dict(), load_model(resumed.model)[0].state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=0, atol=0, msg=name)


def test_a_finished_run_and_a_changed_recipe_are_not_resumed(phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        run(phantoms, tmp_path / "r", callbacks=[Kill(epoch=0)])
    with pytest.raises(UsageError, match=r"another batch_size.*new `run_dir`"):
        run(phantoms, tmp_path / "r", recipe=None, overrides={"batch_size": 2}, resume=True)
    with pytest.raises(UsageError, match="another architecture"):
        run(phantoms, tmp_path / "r", architecture="resnet34", recipe=None, overrides={}, resume=True)
    run(phantoms, tmp_path / "r", architecture=None, recipe=None, overrides={}, resume=True)
    with pytest.raises(NothingToDoError, match="finished"):
        run(phantoms, tmp_path / "r", recipe=None, overrides={}, resume=True)


def test_a_moved_run_still_knows_its_best_epoch(phantoms: Path, tmp_path: Path) -> None:
    overrides = SMALL | {"epochs": 3}
    whole = run(phantoms, tmp_path / "whole", overrides=overrides)
    with pytest.raises(RuntimeError, match="killed"):
        run(phantoms, tmp_path / "before", overrides=overrides, callbacks=[Kill(epoch=2)])
    (tmp_path / "before").rename(tmp_path / "after")
    moved = run(phantoms, tmp_path / "after", architecture=None, recipe=None, overrides={}, resume=True)
    assert (moved.best_epoch, moved.dev_scores) == (whole.best_epoch, whole.dev_scores)
    names = {path.name for path in (tmp_path / "after/checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt"}


def test_a_run_is_not_resumed_with_other_data(phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        run(phantoms, tmp_path / "r", callbacks=[Kill(epoch=0)])
    for split in ("train", "dev"):
        for name in ("affected", "normal"):
            target = tmp_path / "other" / split / name
            target.mkdir(parents=True)
            for image in sorted((phantoms / split / name).iterdir())[:2]:
                (target / image.name).symlink_to(image)
    with pytest.raises(UsageError, match="other images or labels"):
        run(tmp_path / "other", tmp_path / "r", architecture=None, recipe=None, overrides={}, resume=True)


def test_the_terminal_bar_and_a_large_seed_train(phantoms: Path, tmp_path: Path) -> None:
    overrides = SMALL | {"epochs": 1, "seed": 20261122}
    assert run(phantoms, tmp_path / "r", overrides=overrides, callbacks=[StderrProgressBar()]).model.exists()


def test_ctrl_c_stops_the_run_as_an_interrupt(phantoms: Path, tmp_path: Path) -> None:
    class Interrupt(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(phantoms, tmp_path / "r", callbacks=[Interrupt()])


def test_the_saved_model_gives_the_scores_of_its_epoch(phantoms: Path, tmp_path: Path) -> None:
    result = run(phantoms, tmp_path / "run")
    scores = score_model(Dataset(phantoms), load(result.model, device="cpu"), tmp_path / "test", split="dev").scores
    assert scores.auc == pytest.approx(result.dev_scores["dev_auc"])
    assert scores.accuracy == pytest.approx(result.dev_scores["dev_accuracy"])
    assert scores.sensitivity == pytest.approx(result.dev_scores["dev_sensitivity"])
    assert scores.specificity == pytest.approx(result.dev_scores["dev_specificity"])
    with (tmp_path / "run/metrics.csv").open() as stream:
        aucs = [float(row["dev_auc"]) for row in csv.DictReader(stream)]
    assert max(aucs) == pytest.approx(result.dev_scores["dev_auc"], abs=1e-5)
    assert aucs.index(max(aucs)) == result.best_epoch


def test_dev_images_are_never_augmented_and_training_images_are(phantoms: Path, tmp_path: Path) -> None:
    recipe = resolve_recipe("paper", {"image_size": 48, "batch_size": 4, "weights": "none"})
    splits = [Dataset(phantoms).split(name) for name in ("train", "dev")]
    store = ArrayStore(tmp_path, 10**9)
    data = QualityData(splits[0], splits[1], recipe, Preprocessing(height=48, width=48), store, workers=0)
    data.prepare_data()
    data.setup()

    def pictures(name: str, epoch: int) -> Tensor:
        return torch.stack([data._images[name][epoch, index][0] for index in range(len(data._images[name]))])

    torch.testing.assert_close(pictures("dev", 0), pictures("dev", 1), rtol=0, atol=0)
    torch.testing.assert_close(pictures("train", 0), pictures("train", 0), rtol=0, atol=0)
    assert not torch.equal(pictures("train", 0), pictures("train", 1))
    plain = data._images["dev"].cached.image(0)
    torch.testing.assert_close(pictures("dev", 0)[0], plain, rtol=0, atol=0)


def test_who_begins_with_a_checkpoint_normalises_as_it_was_trained(tmp_path: Path) -> None:
    """The weights of a run may have begun with others whose images are not normalised as ImageNet's."""
    half = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.25))
    preprocessing = Preprocessing(height=64, width=64, mean=half.mean, std=half.std)
    classifier = QualityClassifier(nn.Conv2d(3, 2, 1), resolve_recipe("small", {}), preprocessing)
    checkpoint: dict[str, Any] = {"state_dict": classifier.state_dict()}
    classifier.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "best.ckpt")
    architecture = find_architecture("resnet18")
    assert pretrained_normalisation(str(tmp_path / "best.ckpt"), architecture) == half
    torch.save({"state_dict": classifier.state_dict()}, tmp_path / "of-another-program.ckpt")
    assert pretrained_normalisation(str(tmp_path / "of-another-program.ckpt"), architecture) == Normalisation()


def test_balanced_weights_undo_the_imbalance(phantoms: Path, tmp_path: Path) -> None:
    weights = balanced_weights({"normal": 30, "affected": 10})
    torch.testing.assert_close(weights, torch.tensor([40 / 60, 40 / 20]))
    for image in sorted((phantoms / "train/affected").iterdir())[:2]:
        target = tmp_path / "data/train/affected" / image.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(image)
    (tmp_path / "data/train/normal").symlink_to(phantoms / "train/normal")
    (tmp_path / "data/dev").symlink_to(phantoms / "dev")
    result = run(tmp_path / "data", tmp_path / "run", overrides=SMALL | {"epochs": 1})
    assert result.counts["train"] == {"normal": 6, "affected": 2}
    assert result.class_weights == pytest.approx({"normal": 8 / 12, "affected": 8 / 4})


def test_dev_scores_of_a_hand_computed_table() -> None:
    probabilities = torch.tensor([0.9, 0.6, 0.4, 0.7, 0.2, 0.1])
    labels = torch.tensor([1, 1, 1, 0, 0, 0])
    scores = {name: float(value) for name, value in dev_scores(probabilities, labels).items()}
    # Ordered pairs (affected, normal): 0.9 beats 3, 0.6 and 0.4 beat 2 each -> 7 of 9.
    assert scores["dev_auc"] == pytest.approx(7 / 9)
    assert scores["dev_accuracy"] == pytest.approx(4 / 6)
    assert scores["dev_sensitivity"] == pytest.approx(2 / 3)
    assert scores["dev_specificity"] == pytest.approx(2 / 3)


def test_precision_auto_takes_bfloat16_only_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = resolve_recipe("small", {})
    monkeypatch.setattr("cxrlens.training.fitting.is_faster_in_bfloat16", lambda _device: True)
    assert training_precision(recipe, "resnet34", CPU) == "bf16-mixed"
    assert training_precision(recipe, "efficientnet_b0", CPU) == "32-true"
    monkeypatch.setattr("cxrlens.training.fitting.is_faster_in_bfloat16", lambda _device: False)
    assert training_precision(recipe, "resnet34", CPU) == "32-true"
    half = resolve_recipe("small", {"precision": "16-mixed"})
    assert training_precision(half, "resnet34", torch.device("cuda")) == "16-mixed"
    with pytest.raises(UsageError, match="needs a GPU"):  # Lightning would take bfloat16 and not say so
        training_precision(half, "resnet34", CPU)


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_a_model_knows_its_training_images_where_there_are_enough(tmp_path: Path, resize: str) -> None:
    write_phantom_dataset(tmp_path / "data", train=40, dev=32, size=64, seed=3)
    overrides = {**SMALL, "epochs": 1, "resize": resize}
    result = run(tmp_path / "data", tmp_path / "run", overrides=overrides)
    model = load(result.model)
    distance = model.card.distance
    assert distance is not None
    assert result.distance == str(distance)
    assert (distance.fitted.data, distance.fitted.images, distance.held_out.images) == ("data", 40, 32)
    decoded = [read(path).pixels for path in sorted((tmp_path / "data" / "dev").rglob("*.jpg"))]
    away = [distance.of(model.preprocessing.shown(model.preprocessing.resized(pixels)[0])).value for pixels in decoded]
    assert sum(value > 1 for value in away) == distance.held_out.beyond == 0
    turned = [distance.of(model.preprocessing.shown(model.preprocessing.resized(1 - pixels)[0])) for pixels in decoded]
    assert min(each.value for each in turned) > 1


def test_of_few_training_images_a_model_says_that_it_knows_too_little(phantoms: Path, tmp_path: Path) -> None:
    result = run(phantoms, tmp_path / "run", overrides={**SMALL, "epochs": 1})
    assert load(result.model).card.distance is None
    assert result.distance.startswith("not known")
