"""The examples of docs/training.md name what is there."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import cxrlens
from cxrlens.training.loggers import LOGGERS
from cxrlens.training.recipe import resolve_recipe

TEXT = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_there_are_examples_of_both() -> None:
    assert ["optuna" in EXAMPLES[0], "ray" in EXAMPLES[1], len(EXAMPLES)] == [True, True, 2]


@pytest.mark.parametrize("number", [0, 1])
def test_an_example_imports_and_calls_what_there_is(number: int) -> None:
    tree = ast.parse(EXAMPLES[number])
    assert [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names][
        -1
    ] == "cxrlens"
    (call,) = (
        node for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "cxrlens.train"
    )  # fmt: skip
    inspect.signature(cxrlens.train).bind(*call.args, **{str(each.arg): None for each in call.keywords})
    values = [key.value for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys
              if isinstance(key, ast.Constant)]  # fmt: skip
    recipe = resolve_recipe("small", {})
    for name in (str(value) for value in values if value in ("learning_rate", "weight_decay", "batch_size")):
        assert hasattr(recipe, name)


def test_every_logger_has_its_line() -> None:
    assert re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE) == list(LOGGERS)
