"""What every subcommand does with its words before they become values."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand

from cxrlens.errors import UsageError


class Command(TyperCommand):
    """A subcommand that refuses empty text, which a shell makes of a variable that is not set.

    Otherwise it would be taken for an option that is left out, or, as a path, for the folder that the user is in.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the words of a command line apart.

        Raises:
            UsageError: when one of them is empty, or no choice of its option.
        """
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in self.get_params(ctx):
            if _is_empty(given.get(parameter.name or "")):
                is_argument = isinstance(parameter, TyperArgument)
                what = f"the argument {parameter.name}" if is_argument else max(parameter.opts, key=len)
                remedy = "give it" if is_argument else "give it a value, or leave it out"
                raise UsageError(f"{what} is empty, as where a variable of the shell is not set; {remedy}")
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            _, known, choices = error.message.removesuffix(".").partition(" is not one of ")
            if not known or error.param is None:
                raise
            name, value = max(error.param.opts, key=len), error.message.partition(known)[0].partition("'")[2]
            raise UsageError(f"{name} takes one of {choices}, not '{value}") from error


def _is_empty(given: object) -> bool:
    """True for text of nothing but spaces, and where there is such text among several."""
    if isinstance(given, list | tuple):
        return any(map(_is_empty, given))
    return isinstance(given, str) and not given.strip()
