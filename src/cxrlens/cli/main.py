"""The ``cxrlens`` command: its subcommands, and what an error looks like to a user."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

import cxrlens
from cxrlens.cli import (
    analyse,
    calibrate,
    card,
    compare,
    data,
    demo,
    doctor,
    explain,
    export,
    model,
    node,
    pointing_game,
    screen,
    serve,
    share,
    study,
    test,
    train,
    verdicts,
)
from cxrlens.cli.command import Commands
from cxrlens.cli.console import show_error
from cxrlens.cli.interrupts import end_at_interrupts, take_interrupts
from cxrlens.errors import EXIT_INTERRUPTED, EXIT_UNEXPECTED, ArgumentError, CxrlensError
from cxrlens.plugins import at_fault
from cxrlens.process import ignore_local_figure_settings, isolate_children, keep_freed_memory

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

app = Commands(
    name="cxrlens",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Explainable quality control of chest radiographs. For research; not a medical device.",
    epilog="Exit codes: 0 ok, 1 unexpected, 2 usage, 3 finished but some inputs were unreadable, 4 nothing to do, "
    "5 a server was lost on the way (the same command goes on), 10 a condition that was asked for (--fail-if-worse, "
    "--fail-on) holds.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(cxrlens.__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


app.add_typer(data.app, name="data")
app.add_typer(model.app, name="model")
app.command("train")(train.command)
app.command("test")(test.command)
app.command("explain")(explain.command)
app.command("pointing-game")(pointing_game.command)
app.command("screen")(screen.command)
app.command("share")(share.command)
app.command("analyse")(analyse.command)
app.command("study")(study.command)
app.command("compare")(compare.command)
app.command("calibrate")(calibrate.command)
app.command("serve")(serve.command)
app.command("node")(node.command)
app.command("verdicts")(verdicts.command)
app.command("card")(card.command)
app.command("export")(export.command)
app.command("demo")(demo.command)
app.command("doctor")(doctor.command)


def main() -> None:
    """Entry point: runs the command and turns a user's mistake into one sentence and an exit code."""
    take_interrupts()
    isolate_children()
    ignore_local_figure_settings()
    keep_freed_memory()
    try:
        _run()
    except ArgumentError:  # never a user's mistake here
        raise
    except CxrlensError as error:
        show_error(str(error))
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, a folder that may not be read
        if error.filename is None:
            raise
        show_error(f"{error.filename}: {error.strerror or error}; check the space and the rights there")
        sys.exit(EXIT_UNEXPECTED)
    except KeyboardInterrupt:  # the command itself has ended
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        fault = at_fault(error)
        if fault is None:
            raise
        show_error(str(fault))
        sys.exit(fault.exit_code)
    finally:
        end_at_interrupts()


def _run() -> None:
    """Run the command; what it prints is written before it ends, so that a full disk is not passed over."""
    try:
        try:
            app(prog_name="cxrlens")  # however it was started
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has seen enough
        _leave_stdout()
    except OSError as error:
        if error.filename is None and error.errno in _FULL:  # all other files are named
            _leave_stdout()
            error.filename = "the standard output, or a temporary file"
        raise


def _leave_stdout() -> None:
    """Nothing more is written there, also not when Python ends."""
    with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    main()
