"""Words of a command line that are not understood are one sentence; empty text is never taken for a default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.core import TyperArgument

from command_line import cxrlens, refused
from cxrlens.cli.main import app
from cxrlens.errors import UsageError


def commands(group: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All subcommands, with the words that call them."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *names, name)
        else:
            yield (*names, name), command


EVERY = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("names", EVERY, ids=" ".join)
def test_no_option_and_no_argument_takes_empty_text(names: tuple[str, ...]) -> None:
    command = EVERY[names]
    for parameter in command.params:
        if getattr(parameter, "is_flag", False) or parameter.name == "help":
            continue
        if isinstance(parameter, TyperArgument):
            before = command.params[: command.params.index(parameter)]
            given = [*("x" for each in before if isinstance(each, TyperArgument)), ""]
            sentence = f"the argument {parameter.name} is empty"
        else:
            name = max(parameter.opts, key=len)
            given, sentence = [name, "  "], f"{name} is empty"
        with pytest.raises(UsageError, match=sentence):
            command.make_context(names[-1], given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("train", "x", "--arch", "", "--recipe", "small"), "--arch is empty"),
        (("test", "", "-m", "x"), "the argument data is empty"),
        (("model", "add", "x", "--name", ""), "--name is empty"),
        (("data", "cache", "x", "--cache-dir", ""), "--cache-dir is empty"),
    ],
)
def test_the_sentence(given: tuple[str, ...], said: str) -> None:
    refused(cxrlens(*given), 2, said, "variable of the shell is not set", "give it")


def test_methods_that_are_commas_are_none() -> None:
    refused(cxrlens("explain", "x", "-m", "y", "--method", " , "), 2, "--method", "names none")


@pytest.mark.parametrize(("words", "option"), [(("train", "x"), "--logger"), (("explain", "x"), "--grid")])
def test_what_is_no_choice_is_one_sentence(words: tuple[str, ...], option: str) -> None:
    choice = "'csv'" if option == "--logger" else "'centres'"
    refused(cxrlens(*words, option, "bogus"), 2, f"{option} takes one of {choice}", "not 'bogus'")


@pytest.mark.parametrize(
    ("words", "command", "said"),
    [
        (("compare", "a", "b", "--tolerance", "0"), " compare", "invalid value for '--tolerance': "),
        (("train", "x", "--epochs", "many"), " train", "invalid value for '--epochs': "),
        (("train", "x", "--epochs"), " train", "option '--epochs' requires an argument"),
        (("train", "x", "--epoch", "3"), " train", "no such option: --epoch (possible options: --arch, --epochs)"),
        (("train",), " train", "missing argument 'data"),
        (("train", "x", "y"), " train", "unexpected extra argument(s) (y)"),
        (("model", "info"), " model info", "missing argument 'name"),
        (("model", "lst"), " model", "no such command 'lst'"),
        (("trian", "x"), "", "no such command 'trian'. did you mean 'train'?"),
        (("--foo", "train"), "", "no such option: --foo"),
    ],
)
def test_words_that_are_not_understood_are_one_sentence(words: tuple[str, ...], command: str, said: str) -> None:
    finished = cxrlens(*words)
    refused(finished, 2, f"`cxrlens{command} --help` lists what it takes")
    assert said in finished.errors[0].lower()


@pytest.mark.parametrize("words", [(), ("model",), ("data",)])
def test_a_group_alone_shows_its_help(words: tuple[str, ...]) -> None:
    finished = cxrlens(*words)
    assert finished.code in (0, 2)
    assert "Usage: cxrlens" in finished.out + finished.err
