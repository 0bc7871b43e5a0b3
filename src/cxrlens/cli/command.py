"""What commands do with their words before they become values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from cxrlens.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])

_NotUnderstood: type[Exception] = typer.BadParameter.__bases__[0]  # click's UsageError, wherever Typer has click


class Commands(typer.Typer):
    """A group of subcommands, each of which is a `Command`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=_Group, no_args_is_help=True, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """Register a function, as `typer.Typer.command` does."""
        return super().command(name, cls=Command, **options)


class Command(TyperCommand):
    """A subcommand that refuses empty text, which a shell makes of a variable that is not set.

    Otherwise it would be taken for an option that is left out, or, as a path, for the folder that the user is in.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the words of a command line apart.

        Raises:
            UsageError: when one of them is empty, is no option or no value that its option takes, or is missing.
        """
        with _in_a_sentence(ctx):
            given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
            self._refuse_empty(ctx, given)
            return super().parse_args(ctx, args)

    def _refuse_empty(self, ctx: Any, given: dict[str, Any]) -> None:
        for parameter in self.get_params(ctx):
            if _is_empty(given.get(parameter.name or "")):
                is_argument = isinstance(parameter, TyperArgument)
                what = f"the argument {parameter.name}" if is_argument else max(parameter.opts, key=len)
                remedy = "give it" if is_argument else "give it a value, or leave it out"
                raise UsageError(f"{what} is empty, as where a variable of the shell is not set; {remedy}")


class _Group(TyperGroup):
    """A group whose unknown subcommands and options are a sentence too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args:  # which shows the help
            return super().parse_args(ctx, args)
        with _in_a_sentence(ctx):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        with _in_a_sentence(ctx):
            return super().resolve_command(ctx, args)


@contextmanager
def _in_a_sentence(ctx: Any) -> Iterator[None]:
    try:
        yield
    except _NotUnderstood as error:
        raise UsageError(_sentence(ctx, error)) from error


def _is_empty(given: object) -> bool:
    """True for text of nothing but spaces, and where there is such text among several."""
    if isinstance(given, list | tuple):
        return any(map(_is_empty, given))
    return isinstance(given, str) and not given.strip()


def _sentence(ctx: Any, error: Any) -> str:
    """What is wrong with the words of a command, and what says more."""
    if isinstance(error, typer.BadParameter) and error.param is not None:
        _, known, choices = error.message.removesuffix(".").partition(" is not one of ")
        if known:
            name, value = max(error.param.opts, key=len), error.message.partition(known)[0].partition("'")[2]
            return f"{name} takes one of {choices}, not '{value}"
    text = " ".join(error.format_message().split()).removesuffix(".")
    end = "" if text.endswith("?") else ";"
    return f"{text[:1].lower()}{text[1:]}{end} `{ctx.command_path} --help` lists what it takes"
