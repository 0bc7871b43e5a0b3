"""Errors that are a user's to mend, and the exit code each one ends the command with."""

from __future__ import annotations

EXIT_OK = 0
EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_SOME_UNREADABLE = 3
EXIT_NOTHING_TO_DO = 4
EXIT_LOST = 5
EXIT_GATE = 10
EXIT_INTERRUPTED = 130


class CxrlensError(Exception):
    """Whatever is raised on purpose: one sentence that names the file and the remedy.

    It speaks of arguments, in backticks: `force`, `device=cpu`. The command line makes options of them.
    """

    exit_code = EXIT_UNEXPECTED


class UsageError(CxrlensError):
    """Wrong input: a missing folder, an unknown name, a file that is not what it should be."""

    exit_code = EXIT_USAGE


class ArgumentError(CxrlensError, ValueError):
    """An argument that cannot be meant: arrays that do not fit each other, a number out of its range.

    Options are checked before they become arguments, so that behind the command line it is a defect of the program.
    """


class NothingToDoError(CxrlensError):
    """The input is valid but holds nothing to work on."""

    exit_code = EXIT_NOTHING_TO_DO


class ServerLostError(CxrlensError):
    """A server or bucket failed in the middle; what was finished is kept, and the same command goes on."""

    exit_code = EXIT_LOST


class UnreadableImageError(CxrlensError):
    """One image file that cannot be read; a batch lists it and goes on."""

    exit_code = EXIT_SOME_UNREADABLE


class NotAssessedError(UnreadableImageError):
    """One image for which a model gives no number; it is neither normal nor affected, and listed as if unreadable."""
