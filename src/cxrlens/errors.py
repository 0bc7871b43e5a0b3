"""Errors that are a user's to mend, and the exit code each one ends the command with."""

from __future__ import annotations

EXIT_OK = 0
EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_SOME_UNREADABLE = 3
EXIT_NOTHING_TO_DO = 4
EXIT_GATE = 10


class CxrlensError(Exception):
    """One sentence that names the file and the remedy; the command line prints it without a traceback."""

    exit_code = EXIT_UNEXPECTED


class UsageError(CxrlensError):
    """Wrong input: a missing folder, an unknown name, a file that is not what it should be."""

    exit_code = EXIT_USAGE


class NothingToDoError(CxrlensError):
    """The input is valid but holds nothing to work on."""

    exit_code = EXIT_NOTHING_TO_DO


class UnreadableImageError(CxrlensError):
    """One image file that cannot be read; a batch lists it and goes on."""

    exit_code = EXIT_SOME_UNREADABLE
