"""Recipes: the presets' published values, and what overrides and YAML files may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrlens.errors import UsageError
from cxrlens.training.lightning_module import step_factor
from cxrlens.training.recipe import PRESETS, resolve_recipe


def test_the_paper_recipe_has_the_published_values() -> None:
    paper = PRESETS["paper"]
    assert (paper.image_size, paper.batch_size, paper.epochs, paper.weights) == (600, 16, 20, "imagenet")
    assert (paper.optimizer, paper.learning_rate, paper.momentum, paper.weight_decay) == ("sgd", 0.005, 0.9, 5e-4)
    assert (paper.augmentation.degrees, paper.augmentation.translate) == (30, 0.1)
    assert (paper.augmentation.scale, paper.augmentation.shear, paper.augmentation.flip) == ((0.95, 1.05), 0.1, 0.5)
    assert (paper.augmentation.brightness, paper.augmentation.contrast) == (0.4, 0.4)


@pytest.mark.parametrize(
    ("step", "share"),
    [(0, 0.001), (50, 0.5005), (100, 1.0), (499, 1.0), (500, 0.1), (1999, 0.1)],
)
def test_the_paper_schedule_warms_up_over_one_epoch_and_drops_after_the_fifth(step: int, share: float) -> None:
    assert step_factor(step, steps_per_epoch=100, recipe=PRESETS["paper"]) == pytest.approx(share)


def test_overrides_win_over_yaml_and_yaml_over_its_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: small\nepochs: 3\nbatch_size: 4\naugmentation:\n  degrees: 5\n", encoding="utf-8")
    recipe = resolve_recipe(str(path), {"batch_size": 8, "augmentation.flip": 0.0})
    assert (recipe.name, recipe.epochs, recipe.batch_size) == ("mine", 3, 8)
    assert (recipe.augmentation.degrees, recipe.augmentation.flip) == (5, 0.0)
    assert recipe.augmentation.brightness == PRESETS["small"].augmentation.brightness
    assert recipe.optimizer == PRESETS["small"].optimizer


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"epoch": 3}, "epochs"),
        ({"augmentation.rotation": 3}, "augmentation"),
        ({"epochs": 0}, "epochs should be above 0, not 0"),
        ({"epochs": "many"}, "epochs should be a whole number, not 'many'"),
        ({"optimizer": "adam"}, "optimizer should be 'sgd' or 'adamw', not 'adam'"),
        ({"augmentation.scale": [1.1, 0.9]}, "augmentation.scale"),
        ({"augmentation.scale": [0, 1]}, "augmentation.scale"),
    ],
)
def test_wrong_values_are_refused_with_the_name(overrides: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        resolve_recipe("small", overrides)


@pytest.mark.parametrize("text", ["epoch: 3", "base: huge", "- a list", "epochs: [", "augmentation: {rotation: 1}"])
def test_a_wrong_yaml_file_is_refused_with_its_name_or_the_near_match(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"mine\.yaml|near matches"):
        resolve_recipe(str(path), {})


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="paper, small"):
        resolve_recipe("papre", {})
