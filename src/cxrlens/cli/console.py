"""Output of all commands: results on stdout, everything else on stderr."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cxrlens.cli.progress_lines import progress_lines
from cxrlens.errors import EXIT_SOME_UNREADABLE
from cxrlens.files import printable, to_json

stderr = Console(stderr=True)
stdout = Console()

_ARGUMENT = re.compile(r"`(?P<name>[a-z][a-z_]*)(=(?P<value>[^`\n]+))?`")
_OBEYED = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_OTHERWISE_NAMED = {"methods": "method", "run_dir": "name"}


class _Lines(logging.Handler):
    """Each message is one line on stderr, never wrapped, so that paths stay whole."""

    def emit(self, record: logging.LogRecord) -> None:
        label = "[yellow]warning:[/] " if record.levelno >= logging.WARNING else ""
        stderr.print(f"{label}{_shown(as_options(record.getMessage()))}", soft_wrap=True, highlight=False)


def set_up_logging(*, quiet: bool = False) -> None:
    """Send the package's messages to stderr, when ``quiet`` its warnings alone, and silence Lightning's own."""
    log = logging.getLogger("cxrlens")
    log.handlers[:] = [_Lines()]
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    log.propagate = False
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)


def show_error(message: str) -> None:
    """One error sentence."""
    stderr.print(f"[bold red]error:[/] {_shown(as_options(message))}", soft_wrap=True, highlight=False)


def _shown(text: str) -> str:
    """A text on one line that any terminal can show, and that is no markup: names of files hold anything."""
    return escape(printable(text).encode(errors="backslashreplace").decode())


def as_options(message: str) -> str:
    """A library's sentence with its arguments written as options: `device=cpu` becomes --device cpu."""

    def option(found: re.Match[str]) -> str:
        name = _OTHERWISE_NAMED.get(found["name"], found["name"])
        value = "" if found["value"] is None else f" {found['value']}"
        return f"--{name.replace('_', '-')}{value}"

    return _ARGUMENT.sub(option, message)


def show_json(value: Any) -> None:
    """The result as JSON on stdout; what a terminal would obey is escaped as JSON has it."""
    text = to_json(value).encode(errors="backslashreplace").decode()
    typer.echo(_OBEYED.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text))


def show_lines(lines: Iterable[str]) -> None:
    """Plain result lines on stdout."""
    for line in lines:
        stdout.print(_shown(line), highlight=False, soft_wrap=True)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table on stdout, as wide as it needs to be in a file or pipe; numbers get three decimals."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*(_shown(f"{v:.3f}" if isinstance(v, float) else "" if v is None else str(v)) for v in row))
    (stdout if stdout.is_terminal else Console(width=200)).print(table)


def say_line(text: str) -> None:
    """One line on stderr, never wrapped."""
    stderr.print(_shown(text), soft_wrap=True, highlight=False)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr, or lines where that is no terminal, see `progress_lines`.

    Gives the function that moves it to (done, total), and may say what is being done. The bar appears with the first
    call and goes when all is done, so that it never stands beside another one.
    """
    if not stderr.is_terminal:
        with progress_lines(title, say_line) as moved:
            yield moved
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=stderr, transient=True)
    task = progress.add_task(title, total=None)

    def move(done: int, total: int, what: str = "") -> None:
        if not progress.live.is_started and done < total:
            progress.reset(task, total=total)
            progress.start()
        progress.update(task, completed=done, total=total, description=_shown(what or title))
        if done >= total:
            progress.stop()

    try:
        yield move
    finally:
        progress.stop()


@contextmanager
def stoppable(out: Path | None, *, goes_on: str | None = None) -> Iterator[None]:
    """On Ctrl-C, say what is kept and how to go on; the command then ends with exit code 130.

    Args:
        out: the folder that finished work is kept in; None for a command that writes all of its files at its end.
        goes_on: how the command is to be given again where the folder is there, such as "with --resume" or "";
            None where it begins anew.
    """
    try:
        yield
    except KeyboardInterrupt:
        if out is None or not out.is_dir():
            said = "nothing was written, and the same command begins anew"
        elif goes_on is None:
            said = f"what was finished is in {out}, and the same command with --force begins anew"
        else:
            said = f"what was finished is kept in {out}, and the same command {goes_on}".rstrip() + " goes on"
        stderr.print(_shown(f"stopped: {said}"), soft_wrap=True, highlight=False)
        raise


def finish(unreadable: Sequence[str]) -> None:
    """End the command with exit code 3 when some inputs could not be read."""
    if unreadable:
        raise typer.Exit(EXIT_SOME_UNREADABLE)
