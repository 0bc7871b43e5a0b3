"""Code that must raise no warning."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def no_warnings() -> Iterator[None]:
    """Every warning is an error inside; but not one of a file or connection that another test left unclosed, which is
    heard whenever it happens to be collected.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)
        yield


def heard(recorded: Iterable[warnings.WarningMessage]) -> list[str]:
    """What was warned of while pytest's `recwarn` listened, without the same warnings."""
    return [str(warning.message) for warning in recorded if not issubclass(warning.category, ResourceWarning)]
