"""The names of the Python API: where they are, what they take, and that commands take the same."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import cxrlens
from cxrlens import api
from cxrlens.cli import analyse, calibrate, compare, explain, export, pointing_game, screen, study, test, train

COMMANDS: dict[str, tuple[Callable[..., Any], Callable[..., None]]] = {
    "train": (api.train, train.command),
    "test": (api.test, test.command),
    "screen": (api.screen, screen.command),
    "calibrate": (api.calibrate, calibrate.command),
    "study": (api.study, study.command),
    "export": (api.export, export.command),
    "explain": (api.explain_images, explain.command),
    "pointing-game": (api.play_pointing_game, pointing_game.command),
    "pointing-game of an image": (api.play_on_image, pointing_game.command),
    "compare": (api.compare, compare.command),
    "analyse": (api.analyse, analyse.command),
}

OF_THE_TERMINAL = {"json", "list_methods", "published_grid", "fail_on", "fail_if_worse", "to", "interval"}
"""Options that say what is printed, by which code a command ends, or what two others say together."""

OTHERWISE_NAMED = {
    "method": "methods",
    "row": "rows",
    "set_": "settings",
    "source": "data",
    "screened": "screened",
    "logger": "loggers",
}
OF_PLACES = {"name": "run_dir", "runs": "run_dir"}
OF_PROGRAMS = {"callbacks", "progress", "training_progress", "stop", "needs_triage", "needs_drift", "needs_charts"}
"""Arguments that a command line cannot give, or gives by another option."""

DEFAULTS_OF_THEIR_OWN = {
    ("export", "methods"), ("screen", "watch"), ("train", "settings"), ("train", "devices"),
}  # fmt: skip


def argument_of(name: str, option: str) -> str:
    """The argument that an option of a command becomes."""
    if name == "screen" and option == "method":
        return "method"
    if option == "model" and name in ("study", "analyse"):
        return "models"
    if option == "source" and name.endswith("image"):
        return "image"
    return OF_PLACES.get(option, OTHERWISE_NAMED.get(option, option))


def plain(value: Any) -> Any:
    """A default as the function has it."""
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def test_every_name_is_where_it_is_said_to_be() -> None:
    assert sorted(api.__all__) == api.__all__ == list(api.HOMES)
    for name, home in api.HOMES.items():
        assert getattr(api, name).__module__ == home
        assert name in dir(api)
    with pytest.raises(AttributeError, match="nothing"):
        api.nothing  # noqa: B018


def test_the_package_has_them_but_for_two_that_are_called_like_rooms() -> None:
    functions = {name for name in api.__all__ if inspect.isfunction(getattr(api, name))}
    assert functions - set(cxrlens.__all__) == {"study", "export"}
    for name in {*cxrlens.__all__} - {"__version__"}:
        assert getattr(cxrlens, name) is getattr(api, name)
    for name in ("study", "export"):
        assert inspect.isfunction(getattr(api, name))


def test_importing_the_names_imports_nothing_else() -> None:
    code = "import sys, cxrlens.api; print(sorted({'torch', 'numpy', 'pydantic', 'typer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_takes_what_its_function_takes_with_the_same_defaults(name: str) -> None:
    function, command = COMMANDS[name]
    arguments = inspect.signature(function).parameters
    options = {
        argument_of(name, option.name): option
        for option in inspect.signature(command).parameters.values()
        if option.name not in OF_THE_TERMINAL
    }
    if name == "pointing-game":
        assert options.keys() - arguments.keys() == {"annotation", "mask"}
    elif name.endswith("image"):
        assert options.keys() - arguments.keys() == {"train_annotations", "split", "batch_size", "workers"}
    else:
        assert options.keys() <= arguments.keys()
    assert arguments.keys() - options.keys() <= OF_PROGRAMS
    for argument in arguments.keys() & options.keys():
        if argument == "run_dir" or (name, argument) in DEFAULTS_OF_THEIR_OWN:
            continue
        given, expected = arguments[argument].default, plain(options[argument].default)
        if expected is inspect.Parameter.empty:
            assert given is inspect.Parameter.empty, argument
        else:
            assert (given or None) == (expected or None), argument


@pytest.mark.parametrize("name", COMMANDS)
def test_functions_are_typed_and_say_what_each_argument_is(name: str) -> None:
    function, _ = COMMANDS[name]
    hints = inspect.get_annotations(function)
    parameters = inspect.signature(function).parameters
    assert hints.keys() == {*parameters, "return"}
    documentation = inspect.getdoc(function) or ""
    assert "Raises:" in documentation
    shared = {"train_annotations"} if name.endswith("image") else set[str]()
    for argument in parameters.keys() - shared:
        if name.endswith("image") and argument not in ("image", "model", "out", "annotation", "annotations", "mask"):
            continue
        assert f"    {argument}: " in documentation or f"``{argument}``" in documentation, argument


def test_results_are_documented_dataclasses() -> None:
    for name in api.__all__:
        if name.endswith("Result") and name != "PointingResult":
            class_ = getattr(api, name)
            assert is_dataclass(class_)
            assert class_.__doc__
            assert not class_.__doc__.startswith(f"{name}(")
            assert get_type_hints(class_)
