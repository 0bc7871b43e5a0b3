"""What is said of values that do not fit, whatever model of the project they are meant for."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

import cxrlens
from cxrlens.models.card import ModelCard
from cxrlens.study.plan import StudyPlan
from cxrlens.training.recipe import PRESETS, Recipe
from cxrlens.validation import fault_of, first_fault

RECIPE = PRESETS["small"].model_dump()
WRONG: list[Any] = [
    *(None, True, -1, 0, 2.5, 1e99, 10**30, math.nan, math.inf, "", "many", [], {}, [[]], [None], ["many"], [-1]),
    *([1, 2, 3, 4, 5, 6], {"a": 1}, {1: 2}, {"a": {"b": []}}, {1: {2: 3}}, date(2026, 1, 1)),
]


def fault(model: type[BaseModel], values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(values)
    return first_fault(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epochs": "many"}, "epochs should be a whole number, not 'many'"),
        ({"epochs": 2.5}, "epochs should be a whole number, not 2.5"),
        ({"epochs": None}, "epochs should be a whole number, not nothing"),
        ({"epochs": [3]}, "epochs should be a whole number, not a list"),
        ({"epochs": 0}, "epochs should be above 0, not 0"),
        ({"image_size": 99_999}, "image_size should be at most 16384, not 99999"),
        ({"learning_rate": {"low": 1}}, "learning_rate should be a number, not names with values"),
        ({"learning_rate": math.inf}, "learning_rate should be a finite number, not inf"),
        ({"optimizer": "adam"}, "optimizer should be 'sgd' or 'adamw', not 'adam'"),
        ({"name": date(2026, 1, 2)}, "name should be text, not '2026-01-02'"),
        ({"name": 5}, "name should be text, not 5"),
        ({"milestones": 5}, "milestones should be a list, not 5"),
        ({"milestones": [5, "x" * 200]}, f"milestones[1] should be a whole number, not '{'x' * 27}...{'x' * 28}'"),
        ({"augmentation": 5}, "augmentation should be names with values, not 5"),
        ({"augmentation": {"flip": 2}}, "augmentation.flip should be at most 1, not 2"),
        ({"augmentation": {"scale": [1.1, 0.9]}}, "augmentation.scale: the smaller number comes first"),
        ({"augmentation": {"scale": [1]}}, "augmentation.scale[1] is missing"),
        ({"augmentation": {"scale": [1, 1, 1]}}, "augmentation.scale should have 2 or fewer values, not 3"),
        ({"epohcs": 3}, "epohcs is not known"),
    ],
)
def test_a_fault_names_the_key_what_is_expected_and_what_was_found(values: dict[str, Any], said: str) -> None:
    assert fault(Recipe, RECIPE | values) == said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "rows is missing"),
        ({"rows": []}, "rows should have 1 or more values, not 0"),
        ({"rows": ["grad_cam"]}, "rows: a row is 'METHOD LAYERS', not 'grad_cam'"),
        ({"rows": ["a b"], "flip": "perhaps"}, "flip should be true or false, not 'perhaps'"),
        ({"rows": ["a b"], "models": {"resnet34": [5]}}, "models.resnet34[0] should be a path, not 5"),
        ({"rows": ["a b"], "models": {5: []}}, "a name in models should be text, not 5"),
        ({"rows": ["a b"], "kinds": {"table": "a", "column": "b", "separator": ""}},
         "kinds.separator should be text of 1 or more characters, not ''"),
        ({"rows": ["a b"], 5: 6}, "a name in it should be text, not 5"),
        ([], "it should be names with values, not a list"),
    ],
)  # fmt: skip
def test_faults_of_a_plan(values: Any, said: str) -> None:
    assert fault(StudyPlan, values) == said


def test_text_that_is_no_json_is_called_that() -> None:
    with pytest.raises(ValidationError) as caught:
        ModelCard.model_validate_json("{")
    assert first_fault(caught.value).startswith("it is no JSON (EOF while parsing")


def test_a_value_that_must_not_be_repeated_is_not() -> None:
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate(RECIPE | {"epochs": "secret"})
    (detail,) = caught.value.errors()
    assert fault_of(detail, ("a", 0), shown=False) == "a[0] should be a whole number"


def models_of(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        if model.__module__.startswith("cxrlens."):
            yield model
        yield from models_of(model)


def test_no_fault_of_any_model_is_told_in_pydantics_words() -> None:
    for module in pkgutil.walk_packages(cxrlens.__path__, "cxrlens."):
        if not module.name.endswith(("__main__", "revisions.env")):  # which alembic alone can run
            importlib.import_module(module.name)
    models = set(models_of(BaseModel))
    assert {Recipe, StudyPlan, ModelCard} < models
    kinds: set[str] = set()
    for model in models:
        for values in [*WRONG, *({name: wrong} for name in model.model_fields for wrong in WRONG)]:
            try:
                model.model_validate(values)
            except ValidationError as error:
                for detail in error.errors():
                    kinds.add(detail["type"])
                    said = fault_of(detail, detail["loc"])
                    assert detail["type"] == "value_error" or detail["msg"] not in said, (model, detail)
                    assert "\n" not in said
                    assert len(said) < 200, (model, detail)
    assert len(kinds) > 15
