"""Runs the command line in this process, and checks what all its commands have in common."""

from __future__ import annotations

import csv
import io
import json
import logging
import signal
import sys
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from cxrlens.cli.main import main


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, which must be one JSON value and nothing else."""
        return json.loads(self.out)

    @property
    def errors(self) -> list[str]:
        """The error sentences on stderr."""
        return [line.removeprefix("error: ") for line in self.err.splitlines() if line.startswith("error: ")]


def cxrlens(*arguments: object) -> Finished:
    """Runs the entry point with some arguments."""
    log = logging.getLogger("cxrlens")
    before = log.handlers[:], log.level, log.propagate
    interrupted = signal.getsignal(signal.SIGINT)
    out, err = io.StringIO(), io.StringIO()
    code = 0
    try:
        with (
            redirect_stdout(out),
            redirect_stderr(err),
            mock.patch.object(sys, "argv", ["cxrlens", *map(str, arguments)]),
        ):
            main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        log.handlers[:], log.propagate = before[0], before[2]
        log.setLevel(before[1])
        signal.signal(signal.SIGINT, interrupted)
    return Finished(code, out.getvalue(), err.getvalue())


def refused(finished: Finished, code: int, *parts: object) -> None:
    """Checks that a command ended with a code and one sentence that holds all the parts, and printed no result."""
    assert finished.code == code, finished.err
    assert finished.out == ""
    assert "Traceback" not in finished.err
    assert len(finished.errors) == 1, finished.err
    for part in parts:
        assert str(part) in finished.errors[0]


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, in which names may be no text."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return list(csv.DictReader(stream))


def agree(some: Iterable[dict[str, str]], others: Iterable[dict[str, str]]) -> None:
    """The rows are the same but for the last digits of numbers."""
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        for key, text in one.items():
            try:
                assert float(text) == pytest.approx(float(other[key]), rel=1e-3, abs=1e-5)
            except ValueError:
                assert text == other[key]
